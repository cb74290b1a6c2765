"""What a ResNet's file name, tensors and the caller say together, and who is believed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.errors import CheckpointMismatch, ModelError
from pipeline.model import I3DArchitecture, ResNetArchitecture, VideoNetwork, load
from pipeline.model.published_resnet import ResNetName, read_resnet_name

Make = Callable[..., VideoNetwork]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("K400-TAM-ResNet-50-f32.pth.tar", ("k400", "tam", 50, 32, None)),
        ("SSV2-I3D-ResNet-101-f32.pth.tar", ("ssv2", "i3d", 101, 32, None)),
        ("x-TAM-ResNet-50-tp-f8.pth", ("x", "tam", 50, 8, "max")),
        ("x-TSN-ResNet-18-f16-tp-avg.pth", ("x", "tsn", 18, 16, "avg")),
        ("kinetics400-rgb-TAM-b3-sum-resnet-50-ts-max-f8-cosine-bs64-e50",
         ("kinetics400", "tam", 50, 8, "max")),
        ("st2stv2-rgb-resnet-18-f8-cosine", ("st2stv2", None, 18, 8, None)),
        ("resnet18-f37072fd.pth", (None, None, 18, None, None)),
        ("resnet50-19c8e357.pth", (None, None, 50, None, None)),
        ("weights-f8.pth", None),
    ],
)  # fmt: skip
def test_names_are_read_as_their_authors_write_them(name: str, wanted: tuple | None) -> None:
    assert read_resnet_name(Path(name)) == (wanted and ResNetName(*wanted))


@pytest.fixture
def write(tmp_path: Path, make_network: Make) -> Callable[..., Path]:
    """A narrow ResNet in a file with the given name, its TAMs named as published."""

    def to(name: str, **said: object) -> Path:
        usual = {"family": "tam-resnet", "block": "basic", "blocks": (2, 2, 2, 2), "classes": 5}
        state = make_network(**(usual | said)).state_dict()
        published = {
            re.sub(r"\.tam\.(\w+)\.weight", r".tam.\1_se.fc1.weight", n)
            if "blending" not in n
            else n.replace(".weight", ".fc1.weight"): t
            for n, t in state.items()
        }
        assert any("fc1.weight" in n for n in published) == any(".tam." in n for n in state)
        torch.save({"state_dict": published}, tmp_path / name)
        return tmp_path / name

    return to


NAME = "mine-TAM-ResNet-18-f8.pth"


@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("pooling", ["none", "max", "avg"])
def test_a_released_resnet_computes_what_it_did(
    write: Callable[..., Path], make_network: Make, taps: int, pooling: str
) -> None:
    path = write("x.pth", taps=taps)
    loaded = load(path, device="cpu", frames=8, temporal_pooling=pooling)
    a = loaded.spec.architecture
    assert isinstance(a, ResNetArchitecture)
    assert (a.depth, a.taps, a.width, a.temporal_pooling) == (18, taps, 8, pooling)
    said = a.model_dump(exclude={"dropout"})
    clip = torch.randn(1, 8, 3, 33, 40)
    with torch.inference_mode():
        assert torch.equal(loaded.network(clip), make_network(**said)(clip))


def test_pooling_comes_from_the_name_or_the_caller(write: Callable[..., Path]) -> None:
    named = load(write("mine-TAM-ResNet-18-tp-f8.pth"), device="cpu").spec.architecture
    said = load(write(NAME), device="cpu", temporal_pooling="avg").spec.architecture
    assert isinstance(named, ResNetArchitecture)
    assert isinstance(said, ResNetArchitecture)
    assert (named.temporal_pooling, said.temporal_pooling) == ("max", "avg")


def test_an_inflated_resnet_is_told_by_its_kernels(write: Callable[..., Path]) -> None:
    parts = {"family": "i3d-resnet", "block": "bottleneck", "blocks": (3, 4, 6, 3)}
    a = load(write("K4-I3D-ResNet-50-f32.pth", **parts), device="cpu").spec.architecture
    assert isinstance(a, I3DArchitecture)
    assert (a.depth, a.frames, a.temporal_stride) == (50, 32, 1)
    a = load(write("K4-rgb-i3d-resnet-50-ts-f8.pth", **parts), device="cpu").spec.architecture
    assert isinstance(a, I3DArchitecture)
    assert a.temporal_stride == 2


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("x.pth", {}, r"say frames=… \(--frames\)"),
        (NAME, {"frames": 16}, "frames=16 was given, but the file's name says 8"),
        (NAME, {"beta": 2}, "a plain ResNet has none"),
        ("a-TAM-ResNet-18-tp-f8.pth", {"temporal_pooling": "none"}, "but its name says max"),
        (NAME, {"temporal_pooling": "sum"}, "must be none, max or avg"),
        ("a-TSN-ResNet-18-f8.pth", {}, "its name says tsn, its tensors say tam"),
        ("a-TAM-ResNet-50-f8.pth", {}, "its name says depth 50, its tensors have blocks"),
        ("K400-TAM-ResNet-18-f8.pth", {}, "which has 400 classes, its tensors have 5"),
        ("a-TAM-ResNet-18-f7.pth", {}, "frames must be even"),
    ],
)
def test_contradictions_are_errors_of_one_line(
    write: Callable[..., Path], name: str, arguments: dict, complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint) as info:
        load(write(name), device="cpu", **arguments)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "gone", ["conv1", "layer2.1.", "layer4.1.", "layer1.0.tam", "tam.prev", "fc.", "downsample"]
)
def test_no_part_can_be_missing(write: Callable[..., Path], tmp_path: Path, gone: str) -> None:
    state = torch.load(write(NAME))["state_dict"]
    left = {name: tensor for name, tensor in state.items() if gone not in name}
    assert len(left) < len(state)
    torch.save(left, tmp_path / NAME)
    with pytest.raises(CheckpointMismatch, match="missing") as info:
        load(tmp_path / NAME, device="cpu")
    assert "\n" not in str(info.value)


def test_a_blvnet_pools_no_frames(make_network: Make, tmp_path: Path) -> None:
    torch.save(make_network().state_dict(), tmp_path / "x.pth")
    with pytest.raises(ModelError, match="pools no frames"):
        load(tmp_path / "x.pth", device="cpu", frames=4, temporal_pooling="max")
