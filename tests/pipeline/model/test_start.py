"""A network that starts from another's weights: what fits is loaded, what doesn't is listed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import CheckpointMismatch, CheckpointRefused
from pipeline.model import Recognizer, VideoNetwork, from_image_weights, save_bundle
from pipeline.model.tensors import significant

Make = Callable[..., VideoNetwork]


def image_weights(network: VideoNetwork, path: Path, classes: int = 10) -> dict[str, Tensor]:
    """A file as image classifiers are released: no video in it, another classifier."""
    bare = {n.removeprefix("baseline_model."): t for n, t in network.state_dict().items()}
    state = {n: t for n, t in bare.items() if ".tam." not in f".{n}" and "new_fc" not in n}
    features = network.classifier.in_features
    state |= {"fc.weight": torch.randn(classes, features), "fc.bias": torch.randn(classes)}
    torch.save({"state_dict": {f"module.{n}": t for n, t in state.items()}, "epoch": 3}, path)
    return significant(state)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("family", ["tsn-resnet", "tam-resnet"])
def test_a_resnet_of_images_starts_a_resnet_of_video(
    make_network: Make, tmp_path: Path, family: str, block: str
) -> None:
    said = {"blocks": (1, 1, 2, 1), "block": block}
    state = image_weights(make_network(family="tsn-resnet", **said), tmp_path / "x.pth")
    wanted = make_network(family=family, seed=2, **said)
    network, report = from_image_weights(wanted.architecture, tmp_path / "x.pth")
    found = network.state_dict()
    assert set(report.loaded) == {n for n in state if not n.startswith("fc.")}
    assert all(torch.equal(found[name], state[name]) for name in report.loaded)
    assert report.of_another_shape == (
        f"fc.weight {[10, 256 if block == 'bottleneck' else 64]} instead of "
        f"{[5, 256 if block == 'bottleneck' else 64]}",
        "fc.bias [10] instead of [5]",
    )
    assert report.missing == tuple(n for n in found if ".tam." in n)
    assert report.left_over == ()
    assert not report.complete


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(
    "family", ["tsn-blresnet", "tam-blresnet", "blvnet", "blvnet-tsm", "blvnet-tam"]
)
def test_a_blresnet_of_images_starts_big_little_networks(
    make_network: Make, tmp_path: Path, family: str, dropout: float
) -> None:
    image = make_network(family="tsn-blresnet")
    state = image_weights(image, tmp_path / "ImageNet-bLResNet-50-a2-b4.pth.tar")
    wanted = make_network(family=family, dropout=dropout).architecture
    network, report = from_image_weights(wanted, tmp_path / "ImageNet-bLResNet-50-a2-b4.pth.tar")
    found = network.state_dict()
    backbone = {n for n in state if not n.startswith("fc.")}
    assert set(report.loaded) == {f"baseline_model.{n}" for n in backbone}
    assert all(torch.equal(found[f"baseline_model.{n}"], state[n]) for n in backbone)
    classifier = "new_fc" if dropout else "baseline_model.fc"
    assert [text.split()[0] for text in report.of_another_shape] == [
        f"{classifier}.weight",
        f"{classifier}.bias",
    ]
    assert all("tam." in name for name in report.missing)
    assert bool(report.missing) == ("tam" in family)
    assert report.left_over == ()


def test_kernels_are_inflated_so_that_a_still_picture_gives_the_same(
    make_network: Make, tmp_path: Path
) -> None:
    flat = make_network(family="tsn-resnet", block="bottleneck")
    said = flat.architecture.model_dump(exclude={"family", "temporal_pooling", "frames"})
    wanted = make_network(family="i3d-resnet", frames=32, **said).architecture
    torch.save(flat.state_dict(), tmp_path / "x.pth")
    network, report = from_image_weights(wanted, tmp_path / "x.pth")
    assert report.complete
    assert "conv1.weight inflated to 3 frames" in report.adapted
    assert all("conv1.weight" in text or "conv2.weight" in text for text in report.adapted)
    frame = torch.randn(1, 1, 3, 32, 32)
    inner: list[Tensor] = []
    network.classifier.register_forward_hook(lambda _, __, out: inner.append(out))
    with torch.inference_mode():
        network.eval()(frame.expand(1, 32, 3, 32, 32))
        wanted_K = flat(frame.expand(1, 4, 3, 32, 32))[0]
    middle_K = inner[0][0, 16]  # 7 convolutions of 3 frames: zeros beyond the ends don't reach it
    torch.testing.assert_close(middle_K, wanted_K, rtol=1e-4, atol=1e-5)


def test_more_frames_start_from_fewer(
    make_recognizer: Callable[..., Recognizer], tmp_path: Path
) -> None:
    short = make_recognizer(frames=4, dropout=0.5)
    save_bundle(short, tmp_path / "x.safetensors")
    for dropout in (0.5, 0.0):  # the classifier stands elsewhere
        wanted = short.spec.architecture.model_copy(update={"frames": 8, "dropout": dropout})
        network, report = from_image_weights(wanted, tmp_path / "x.safetensors")
        assert report.complete
        assert report.left_over == report.adapted == ()
        assert torch.equal(network.classifier.weight, short.network.classifier.weight)
        assert network.architecture.frames == 8


def test_other_colours_start_from_the_mean_of_three(make_network: Make, tmp_path: Path) -> None:
    rgb = make_network()
    torch.save(rgb.state_dict(), tmp_path / "x.pth")
    wanted = make_network(in_channels=10).architecture
    network, report = from_image_weights(wanted, tmp_path / "x.pth")
    assert report.adapted == ("baseline_model.conv1.weight averaged for 10 channels",)
    found = network.state_dict()["baseline_model.conv1.weight"]
    mean = rgb.state_dict()["baseline_model.conv1.weight"].mean(dim=1)
    assert all(torch.equal(found[:, n], mean) for n in range(10))


def test_the_default_and_any_safetensors_file_start_a_network(
    make_network: Make, tmp_path: Path
) -> None:
    resnet = make_network(family="tsn-resnet")
    save_file(significant(resnet.state_dict()), tmp_path / "x.safetensors", {"format": "pt"})
    _, report = from_image_weights(resnet.architecture, tmp_path / "x.safetensors")
    assert report.complete
    small = make_network(blocks=(2, 2, 3, 2), width=16, beta=2).architecture
    _, report = from_image_weights(small, "default")
    assert [text.split()[0] for text in report.of_another_shape] == ["new_fc.weight", "new_fc.bias"]


def test_tam_may_start_as_the_image_network(make_network: Make, tmp_path: Path) -> None:
    flat = make_network(family="tsn-resnet")
    torch.save(flat.state_dict(), tmp_path / "x.pth")
    said = flat.architecture.model_dump(exclude={"family"})
    wanted = make_network(family="tam-resnet", **said).architecture
    network, _ = from_image_weights(wanted, tmp_path / "x.pth", tam_start="identity")
    clip = torch.randn(1, 4, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(clip), flat(clip), rtol=1e-4, atol=1e-5)


def test_the_report_says_everything_in_one_line(make_network: Make, tmp_path: Path) -> None:
    image_weights(make_network(family="tsn-resnet"), tmp_path / "x.pth")
    wanted = make_network(family="tam-resnet", blocks=(1, 1, 1, 1), block="basic").architecture
    _, report = from_image_weights(wanted, tmp_path / "x.pth")
    text = str(report)
    assert "\n" not in text
    for part in (
        f"{tmp_path / 'x.pth'}: {len(report.loaded)} loaded",
        "12 missing (start as initialised): layer1.0.tam.curr.weight",
        "2 of another shape (start as initialised): fc.bias [10] instead of [5]",
        "10 left over: layer3.1.bn1.bias",
    ):
        assert part in text


def test_a_file_of_which_nothing_fits_is_an_error(make_network: Make, tmp_path: Path) -> None:
    torch.save({"encoder.0": torch.zeros(3)}, tmp_path / "x.pth")
    torch.save(make_network().state_dict(), tmp_path / "blvnet.pth")
    image_weights(make_network(family="tsn-resnet"), tmp_path / "resnet.pth")
    resnet = make_network(family="tsn-resnet").architecture
    for wanted, path in (
        (resnet, "x.pth"),
        (resnet, "blvnet.pth"),
        (make_network(width=32).architecture, "blvnet.pth"),
        (make_network().architecture, "x.pth"),
    ):
        with pytest.raises(CheckpointMismatch, match=r"no weights of a .* to start from") as info:
            from_image_weights(wanted, tmp_path / path)
        assert "\n" not in str(info.value)


def test_weights_that_are_no_numbers_start_nothing(make_network: Make, tmp_path: Path) -> None:
    network = make_network(family="tsn-resnet")
    state = network.state_dict()
    state["layer2.0.conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointRefused, match=r"layer2\.0\.conv1\.weight holds values"):
        from_image_weights(network.architecture, tmp_path / "x.pth")
