"""The network's pair form is the T-frame network; its cost is what the paper counts."""

from collections.abc import Callable

import pytest
import torch

from pipeline.model import Architecture, VideoNetwork, architecture_of, build, cost
from pipeline.spec import PUBLISHED_BLOCKS
from tests.pipeline.model import plain

Make = Callable[..., VideoNetwork]


def clip_of(network: VideoNetwork, height: int, width: int, n: int = 1) -> torch.Tensor:
    a = network.architecture
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, a.frames, a.in_channels, height, width, generator=generator)


def check(network: VideoNetwork, height: int, width: int) -> None:
    """In float64, where another order of sums makes no difference to speak of."""
    network = network.double()
    clip = clip_of(network, height, width, n=2).double()
    a = network.architecture
    with torch.inference_mode():
        found = network(clip)
        low = a.big_input == "low"
        wanted = torch.stack(
            [plain.logits(network.state_dict(), one, a.blocks, low=low) for one in clip]
        )
    assert found.shape == (2, a.classes)
    assert (found - wanted).abs().max() <= 1e-9 * wanted.abs().max()
    assert (wanted[0] - wanted[1]).abs().max() > 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("big_input", ["high", "low"])
@pytest.mark.parametrize("frames", [2, 8])
@pytest.mark.parametrize("taps", [1, 3, 5, 7])
def test_pairs_are_the_network_over_all_frames(
    make_network: Make, taps: int, frames: int, big_input: str
) -> None:
    check(make_network(taps=taps, frames=frames, big_input=big_input), 48, 48)


@pytest.mark.parametrize("big_input", ["high", "low"])
@pytest.mark.parametrize(("height", "width"), [(97, 113), (33, 50), (32, 32), (34, 63)])
def test_any_size_from_32_px_goes_through(
    make_network: Make, height: int, width: int, big_input: str
) -> None:
    check(make_network(big_input=big_input), height, width)


@pytest.mark.parametrize(
    "said",
    [
        {"alpha": 1},
        {"alpha": 3},
        {"alpha": 4, "beta": 1},
        {"blocks": (5, 4, 6, 1), "beta": 2},
        {"in_channels": 10},
        {"in_channels": 1, "classes": 1},
        {"dropout": 0.0},
    ],
)
def test_every_member_of_the_family_is_its_plain_form(
    make_network: Make, said: dict[str, object]
) -> None:
    check(make_network(**said), 40, 40)


def test_clips_of_another_shape_are_errors(make_network: Make) -> None:
    network = make_network()
    for shape in [(1, 6, 3, 32, 32), (1, 4, 4, 32, 32), (1, 4, 3, 31, 40), (4, 3, 32, 32)]:
        with pytest.raises(ValueError, match="want"):
            network(torch.zeros(shape))
    with pytest.raises(ValueError, match="big ones at half size"):
        make_network(big_input="low").forward_pairs(
            torch.zeros(1, 2, 3, 32, 32), torch.zeros(1, 2, 3, 32, 32)
        )


def test_clips_of_a_batch_do_not_mix(make_network: Make) -> None:
    network = make_network(frames=8)
    clip = clip_of(network, 40, 40, n=3)
    with torch.inference_mode():
        together = network(clip)
        alone = torch.cat([network(one[None]) for one in clip])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_it_can_be_trained(make_network: Make) -> None:
    network = make_network(big_input="low").train()
    network(clip_of(network, 32, 32, n=2)).square().mean().backward()
    idle = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert idle == []


@pytest.mark.parametrize(
    ("depth", "pairs", "millions", "gmac"),
    [
        (50, 8, 25.02, 23.85),
        (50, 16, 25.02, 47.70),
        (101, 8, 40.18, 32.15),
        (101, 16, 40.18, 64.30),
        (101, 24, 40.18, 96.45),
        (101, 32, 40.18, 128.60),
    ],
)
def test_cost_is_that_of_the_table(depth: int, pairs: int, millions: float, gmac: float) -> None:
    architecture = Architecture(blocks=PUBLISHED_BLOCKS[depth], frames=2 * pairs, classes=174)
    found = cost(architecture, size_px=224)
    assert found.parameters / 1e6 == pytest.approx(millions, rel=1e-3)
    assert found.macs / 1e9 == pytest.approx(gmac, rel=1e-3)


def test_cost_by_stage_is_that_of_the_table() -> None:
    found = cost(Architecture(frames=16, classes=174), size_px=224).macs_by_stage
    stages = {"stem": 1.89, "layer0": 3.20, "layer1": 3.14, "layer2": 3.63, "layer3": 5.50}
    stages["layer4"] = 6.48
    for stage, gmac in stages.items():
        assert found[stage] / 1e9 == pytest.approx(gmac, abs=0.006), stage
    assert set(found) == {*stages, "classifier"}


def test_a_low_big_input_saves_stem() -> None:
    high, low = (
        cost(Architecture(frames=16, classes=174, big_input=big), size_px=224).macs_by_stage
        for big in ("high", "low")
    )
    assert low["stem"] == pytest.approx(high["stem"] * 5 / 8, rel=1e-3)
    assert all(low[stage] == high[stage] for stage in ("layer1", "layer2", "layer3", "layer4"))


def test_the_largest_network_runs_on_meta_for_free() -> None:
    with torch.device("meta"):
        network = build(Architecture(blocks=PUBLISHED_BLOCKS[152], frames=64, classes=400))
        assert network(torch.zeros(2, 64, 3, 224, 224)).shape == (2, 400)


@pytest.mark.parametrize(
    ("name", "frames", "gmac"),
    [
        ("tsn-blresnet-50", 2, 2 * 2.85),
        ("tsn-blresnet-101", 2, 2 * 3.89),
        ("tsn-resnet-50", 16, 65.7),
        ("tsn-resnet-101", 16, 125.3),
    ],
)
def test_cost_of_the_relatives_is_that_of_the_paper(name: str, frames: int, gmac: float) -> None:
    found = cost(architecture_of(name, classes=174, frames=frames), size_px=224)
    assert found.macs / 1e9 == pytest.approx(gmac, rel=5e-3)
    assert "classifier" in found.macs_by_stage


def test_mixing_is_counted_where_there_is_arithmetic() -> None:
    none, shifted, mixed = (
        cost(architecture_of(name, classes=174, frames=8), size_px=64)
        for name in ("blvnet-50", "blvnet-tsm-50", "blvnet-tam-50")
    )
    assert (none.macs, none.parameters) == (shifted.macs, shifted.parameters)
    assert 1.001 < mixed.macs / none.macs < 1.01
    one, five = (
        cost(architecture_of("i3d-tam-resnet-50", classes=9, frames=4, taps=taps), size_px=64)
        for taps in (1, 5)
    )
    assert (five.macs - one.macs) % 4 == 0


def test_memory_is_what_stands_between_operations() -> None:
    """One convolution of a stem: the clip and what comes of it are alive together."""
    found = cost(architecture_of("tsn-resnet-50", classes=9, frames=2), size_px=64)
    clip, stem = 2 * 3 * 64 * 64 * 4, 2 * 64 * 32 * 32 * 4
    assert found.activation_bytes >= clip + 2 * stem
    assert found.activation_bytes < clip + 4 * stem
    twice = cost(architecture_of("tsn-resnet-50", classes=9, frames=4), size_px=64)
    assert twice.activation_bytes == pytest.approx(2 * found.activation_bytes, rel=0.01)
    assert twice.training_bytes == pytest.approx(2 * found.training_bytes, rel=0.02)


def test_training_takes_half_the_memory_of_a_tsn() -> None:
    tsn, video = (
        cost(architecture_of(name, classes=174), size_px=224).training_bytes
        for name in ("tsn-resnet-50", "blvnet-tam-50")
    )
    assert tsn / video == pytest.approx(2, abs=0.2)
