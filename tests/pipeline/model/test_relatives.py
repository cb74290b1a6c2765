"""Every member of the family takes the same calls, and says what its relatives let one expect."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.model import (
    NAMES,
    Recognizer,
    VideoNetwork,
    architecture_of,
    build,
    load,
    save_bundle,
)
from pipeline.model.engine import fold_batch_norms
from pipeline.model.tam import TAM, TAM3d
from pipeline.model.tsm import TSM
from pipeline.records import Window

Make = Callable[..., VideoNetwork]


def clip_of(network: VideoNetwork, n: int = 2, size_px: int = 40) -> Tensor:
    a = network.architecture
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, a.frames, a.in_channels, size_px, size_px, generator=generator)


def close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-4 * other.abs().max())


@torch.inference_mode()
def logits(network: VideoNetwork, clip_NTCHW: Tensor) -> Tensor:
    found: Tensor = network.eval()(clip_NTCHW)
    return found


def test_frames_dealt_out_are_put_back_in_order(make_network: Make, family: str) -> None:
    network = make_network(family=family, frames=6)
    clip_NTCHW = clip_of(network)
    little, big = clip_NTCHW[:, 0::2], clip_NTCHW[:, 1::2]
    if network.architecture.big_input == "low":
        big = nn.functional.avg_pool2d(big.flatten(0, 1), 2).reshape(2, 3, 3, 20, 20)
    with torch.inference_mode():
        dealt = network.forward_pairs(little, big)
    assert dealt.shape == (2, 5)
    assert torch.equal(dealt, logits(network, clip_NTCHW))
    assert close(torch.cat([logits(network, one[None]) for one in clip_NTCHW]), dealt)
    assert not close(logits(network, clip_NTCHW.roll(1, dims=4)), dealt)


def test_order_matters_only_where_frames_are_mixed(make_network: Make, family: str) -> None:
    network = make_network(family=family)
    clip_NTCHW = clip_of(network)
    same = close(logits(network, clip_NTCHW.flip(1)), logits(network, clip_NTCHW))
    assert same == family.startswith("tsn-")


def test_clips_of_another_shape_are_errors(make_network: Make, family: str) -> None:
    network = make_network(family=family)
    for shape in [(1, 6, 3, 32, 32), (1, 4, 4, 32, 32), (1, 4, 3, 31, 40), (4, 3, 32, 32)]:
        with pytest.raises(ValueError, match="want"):
            network(torch.zeros(shape))


def test_every_part_is_trained(make_network: Make, family: str) -> None:
    network = make_network(family=family).train()
    network(clip_of(network, size_px=32)).square().mean().backward()
    gradients = {n: p.grad for n, p in network.named_parameters()}
    assert [n for n, g in gradients.items() if g is None or not g.abs().sum() > 0] == []
    assert network.classifier.out_features == 5
    assert network.classifier.weight.grad is not None


def test_folding_leaves_no_batch_norm_and_no_difference(make_network: Make, family: str) -> None:
    network = make_network(family=family)
    folded = fold_batch_norms(network)
    norms = (nn.BatchNorm2d, nn.BatchNorm3d)
    assert any(isinstance(m, norms) for m in network.modules())
    assert not any(isinstance(m, norms) for m in folded.modules())
    assert close(logits(folded, clip_of(network)), logits(network, clip_of(network)))


def test_a_bundle_brings_any_member_back(
    make_recognizer: Callable[..., Recognizer],
    make_window: Callable[..., Window],
    tmp_path: Path,
    family: str,
) -> None:
    made, path = make_recognizer(family=family), tmp_path / "x.safetensors"
    save_bundle(made, path)
    loaded = load(path, device="cpu")
    assert (loaded.spec, loaded.digest) == (made.spec, made.digest)
    window = make_window(made.spec)
    (answer,) = loaded.scores([window])
    with torch.inference_mode():
        plainly = made.network.forward_pairs(*made.inputs([window])).softmax(1)[0]
    assert np.abs(answer.scores_K - plainly.numpy()).max() < 1e-4
    with pytest.raises(ModelError, match="frames=8 was given, but the bundle says 4"):
        load(path, device="cpu", frames=8)


def test_the_digest_tells_members_with_the_same_tensors_apart(
    make_recognizer: Callable[..., Recognizer],
) -> None:
    said = [
        {"family": "blvnet"},
        {"family": "blvnet-tsm"},
        {"family": "tsn-blresnet"},
        {"family": "tsm-blresnet"},
        {"family": "tsn-resnet"},
        {"family": "tsn-resnet", "temporal_pooling": "max"},
        {"family": "tsn-resnet", "temporal_pooling": "avg"},
        {"family": "i3d-resnet"},
        {"family": "i3d-resnet", "temporal_stride": 2},
    ]
    assert len({make_recognizer(**one).digest for one in said}) == len(said)


RELATED = {
    "blvnet": "blvnet-tam",
    "tsn-blresnet": "tam-blresnet",
    "tsn-resnet": "tam-resnet",
    "i3d-resnet": "i3d-tam-resnet",
    "blvnet-tsm": "blvnet-tam",
    "tsm-blresnet": "tam-blresnet",
    "tsm-resnet": "tam-resnet",
}


@pytest.mark.parametrize("family", RELATED)
def test_nothing_and_tsm_are_tam_with_weights_of_zero_and_one(
    make_network: Make, family: str
) -> None:
    """What is mixed is never below zero, so that TAM's relu changes nothing."""
    network = make_network(family=family, frames=8)
    parts = network.architecture.model_dump(exclude={"family"})
    relative = make_network(family=RELATED[family], **parts)
    relative.load_state_dict(network.state_dict(), strict=False)
    for module in relative.modules():
        if isinstance(module, TAM):
            module.start("identity")
            if "tsm" in family:
                as_shift(module)
    clip_NTCHW = clip_of(network)
    assert close(logits(network, clip_NTCHW), logits(relative, clip_NTCHW))


def as_shift(tam: TAM) -> None:
    """An eighth of the channels is the next frame, an eighth the one before."""
    fold = max(1, len(tam.curr.weight) // 8)
    with torch.no_grad():
        tam.curr.weight[: 2 * fold] = 0
        tam.next.weight[:fold] = 1
        tam.prev.weight[fold : 2 * fold] = 1


def test_every_frame_through_both_branches_is_a_clip_of_frames_standing_twice(
    make_network: Make,
) -> None:
    video = make_network(family="blvnet", big_input="high", frames=8)
    image = make_network(family="tsn-blresnet", frames=4)
    clip_NTCHW = clip_of(image)
    twice = clip_NTCHW.repeat_interleave(2, dim=1)
    assert close(logits(image, clip_NTCHW), logits(video, twice))


def test_an_i3d_that_looks_at_one_frame_is_a_tsn(make_network: Make) -> None:
    for block in ("basic", "bottleneck"):
        flat = make_network(family="tsn-resnet", block=block)
        said = flat.architecture.model_dump(exclude={"family", "temporal_pooling"})
        inflated = make_network(family="i3d-resnet", **said)
        state = inflated.state_dict()
        for name, tensor in flat.state_dict().items():
            if tensor.ndim == 4:
                state[name].zero_()[:, :, state[name].shape[2] // 2] = tensor
            else:
                state[name].copy_(tensor)
        assert close(logits(inflated, clip_of(flat)), logits(flat, clip_of(flat)))


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_pooling_over_time_takes_three_neighbours_of_every_second_frame(
    make_network: Make, pooling: str
) -> None:
    pooled = make_network(family="tsn-resnet", frames=4, temporal_pooling=pooling)
    found = logits(pooled, clip_of(pooled))
    x = clip_of(pooled).flatten(0, 1)
    with torch.inference_mode():
        x = nn.functional.max_pool2d(pooled.bn1(pooled.conv1(x)).relu(), 3, 2, 1)
        for n in (1, 2, 3, 4):
            for block in pooled.get_submodule(f"layer{n}").children():
                x = block(x, 1)
            if n == 4:
                break
            clip = x.reshape(2, -1, *x.shape[1:])
            kept = []
            for t in range(0, clip.shape[1], 2):
                near = clip[:, max(0, t - 1) : t + 2]
                kept.append(near.amax(dim=1) if pooling == "max" else near.sum(dim=1) / 3)
            x = torch.stack(kept, dim=1).flatten(0, 1)
        wanted = pooled.classifier(x.mean(dim=(2, 3)))  # one frame is left of four
    assert close(found, wanted)


def test_tsm_shifts_an_eighth_of_the_channels_each_way() -> None:
    x = torch.arange(1.0, 1 + 3 * 16).reshape(1, 3, 16, 1, 1)
    found = TSM()(x)[0, :, :, 0, 0]
    frames = x[0, :, :, 0, 0]
    zero = torch.zeros(2)
    for t, (before, after) in enumerate([(None, 1), (0, 2), (1, None)]):
        assert torch.equal(found[t, :2], zero if after is None else frames[after, :2])
        assert torch.equal(found[t, 2:4], zero if before is None else frames[before, 2:4])
        assert torch.equal(found[t, 4:], frames[t, 4:])
    narrow = torch.ones(1, 2, 4, 1, 1)
    assert TSM()(narrow)[0, :, :, 0, 0].tolist() == [[1, 0, 1, 1], [0, 1, 1, 1]]


def test_tam_takes_clips_with_channels_first_too() -> None:
    flat, deep = TAM(4, 5), TAM3d(4, 5)
    deep.load_state_dict(flat.state_dict())
    x = torch.randn(2, 6, 4, 3, 5)
    assert torch.equal(deep(x.transpose(1, 2)), flat(x).transpose(1, 2))


def test_tam_starts_as_asked() -> None:
    x = torch.rand(1, 3, 8, 1, 1)
    network = build(architecture_of("tam-resnet-small", classes=3), tam_start="identity")
    tam = next(module for module in network.modules() if isinstance(module, TAM))
    assert [tap.weight.sum().item() for tap in (tam.prev, tam.curr, tam.next)] == [0, 16, 0]
    tam = TAM(8, 3)
    tam.start("difference")
    found = tam(x)[0, 1, :, 0, 0]
    before, own, after = x[0, :, :, 0, 0]
    wanted = torch.cat([(own - before)[:2], (own - after)[2:4], own[4:]]).relu()
    assert torch.allclose(found, wanted)
    tam.start("published")
    assert tam.prev.weight.abs().sum() > 0


def test_every_name_is_a_network_that_takes_a_clip() -> None:
    for name in NAMES:
        with torch.device("meta"):
            architecture = architecture_of(name, classes=7, frames=4)
            assert build(architecture)(torch.zeros(1, 4, 3, 64, 64)).shape == (1, 7), name
        assert architecture.frames == 4


@pytest.mark.parametrize(
    ("name", "said", "complaint"),
    [
        ("resnet", {}, "no network is called 'resnet'; the known are tsn-resnet-18, "),
        ("blvnet-tam-50", {"frames": 5}, "blvnet-tam-50: .*frames must be even"),
        ("tsn-resnet-50", {"alpha": 2}, "alpha: no such setting"),
        ("tsn-resnet-50", {"blocks": (1, 0, 1, 1)}, "blocks must be at least 1"),
        ("tsn-blresnet-50", {"big_input": "low"}, "takes every frame at full size"),
        ("tsn-resnet-50", {"big_input": "low"}, "big_input"),
        ("i3d-resnet-50", {"temporal_stride": 3}, "temporal_stride"),
    ],
)
def test_names_and_parts_that_do_not_exist_are_errors(
    name: str, said: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint) as info:
        architecture_of(name, classes=3, **said)
    assert "\n" not in str(info.value)


def test_tam_keeps_to_the_precision_of_its_input() -> None:
    tam, x = TAM(4, 3), torch.rand(1, 4, 4, 2, 2)
    halved = tam(x.bfloat16())
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), tam(x), rtol=0.05, atol=0.05)
