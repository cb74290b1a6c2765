"""What a published file's name, tensors and the caller say together, and who is believed."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import ModelConfig
from pipeline.errors import CheckpointMismatch, ModelError
from pipeline.model import VideoNetwork, load, load_from

Make = Callable[..., VideoNetwork]


@pytest.fixture
def write(tmp_path: Path, make_network: Make) -> Callable[..., Path]:
    """A file with the given name, of a network of depth 50 with narrow layers."""

    def to(name: str, **said: object) -> Path:
        network = make_network(**({"blocks": (3, 4, 6, 3), "beta": 4, "width": 16} | said))
        path = tmp_path / name
        torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
        return path

    return to


NAME = "st-bLVNet-TAM-50-a2-b4-f2x2.pth.tar"


def test_frames_are_read_off_the_name(write: Callable[..., Path]) -> None:
    recognizer = load(write(NAME), device="cpu")
    a = recognizer.spec.architecture
    assert (a.frames, a.depth, a.alpha, a.beta, a.width) == (4, 50, 2, 4, 16)
    assert recognizer.spec.name == "st-bLVNet-TAM-50-a2-b4-f2x2"
    assert recognizer.spec.labels[3] == "class_3"
    assert not recognizer.network.training


def test_the_name_may_be_longer_than_the_convention(write: Callable[..., Path]) -> None:
    path = write("copy of st-blvnet-tam-50-A2-B4-F24x2-best (1).pth")
    assert load(path, device="cpu").spec.architecture.frames == 48


def test_frames_are_taken_from_the_caller(write: Callable[..., Path]) -> None:
    path = write("x.pth")
    assert load(path, device="cpu", frames=6).spec.architecture.frames == 6
    config = ModelConfig(path=str(path), device="cpu", frames=10, beta=3)
    assert load_from(config).spec.architecture.beta == 3


def test_frames_that_nobody_says_are_an_error_that_says_what_to_do(
    write: Callable[..., Path],
) -> None:
    with pytest.raises(ModelError, match=r"say frames=… \(--frames\)") as info:
        load(write("x.pth"), device="cpu")
    assert not isinstance(info.value, CheckpointMismatch)


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        (NAME, {"frames": 8}, "frames=8 was given, but the file's name says 4"),
        (NAME, {"beta": 2}, "beta=2 was given, but the file's name says 4"),
        ("x.pth", {"frames": 4, "beta": 1}, "beta is said to be 1, but Little has"),
        ("x.pth", {"frames": 5}, "frames must be even"),
        ("x.pth", {"frames": 0}, "greater than or equal to 2"),
        ("a-bLVNet-TAM-101-a2-b4-f2x2.pth", {}, "its name says depth"),
        ("a-bLVNet-TAM-50-a4-b4-f2x2.pth", {}, "its name says alpha 4, its tensors say 2"),
        ("a-bLVNet-TAM-50-a2-b1-f2x2.pth", {}, "beta is said to be 1"),
        ("st2stv2-bLVNet-TAM-50-a2-b4-f2x2.pth", {}, "which has 174 classes, its tensors have 5"),
        ("Kinetics400-bLVNet-TAM-50-a2-b4-f2x2.pth", {}, "which has 400 classes"),
        (NAME, {"labels": ["a", "b"]}, "the network has 5 classes, but 2 labels"),
        (NAME, {"labels": ["a", "b", "c", "d", "a"]}, "'a' is there twice"),
        (NAME, {"labels": "/nowhere/labels.txt"}, "can't read the labels"),
    ],
)
def test_contradictions_are_errors_of_one_line(
    write: Callable[..., Path], name: str, arguments: dict, complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint.replace("(", r"\(")) as info:
        load(write(name), device="cpu", **arguments)
    assert "\n" not in str(info.value)


def test_labels_come_from_a_file_with_one_per_line(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffopening [something]\n  b \r\n\nc\nd\né\n", encoding="utf-8")
    found = load(write(NAME), device="cpu", labels=labels).spec.labels
    assert found == ("opening [something]", "b", "c", "d", "é")
    labels.write_bytes(b"a\n\xff\n")
    with pytest.raises(ModelError, match="not a text file in UTF-8"):
        load(write(NAME), device="cpu", labels=str(labels))


@pytest.mark.parametrize("alpha", [1, 2, 3, 4, 5, 7, 8])
def test_alpha_is_read_off_the_tensors(write: Callable[..., Path], alpha: int) -> None:
    path = write("x.pth", alpha=alpha, width=64, blocks=(2, 2, 2, 1))
    assert load(path, device="cpu", frames=4).spec.architecture.alpha == alpha


@pytest.mark.parametrize(
    "said",
    [
        {"in_channels": 10, "taps": 7},
        {"in_channels": 1, "taps": 1, "dropout": 0.0},
        {"blocks": (5, 12, 7, 3), "beta": 3, "taps": 5},
        {"blocks": (4, 8, 18, 3), "beta": 2, "classes": 1},
    ],
)
def test_the_whole_family_loads_and_computes_the_same(
    write: Callable[..., Path], make_network: Make, said: dict[str, object]
) -> None:
    said = {"blocks": (3, 4, 6, 3), "beta": 4} | said
    loaded = load(write("x.pth", **said), device="cpu", frames=4).network
    original = make_network(**said)
    clip = torch.randn(1, 4, original.architecture.in_channels, 45, 37)
    with torch.inference_mode():
        assert torch.equal(loaded(clip), original(clip))


def test_half_precision_and_missing_counters_are_fine(tmp_path: Path, make_network: Make) -> None:
    state = {
        name: tensor.half()
        for name, tensor in make_network().state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "x.pth")
    network = load(tmp_path / "x.pth", device="cpu", frames=4).network
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert all(int(b) == 0 for n, b in network.named_buffers() if n.endswith("tracked"))


def changed(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    name = "baseline_model.layer2.fusion.0.conv2.weight"
    if how == "missing":
        del state[name]
    elif how == "left over":
        state["baseline_model.layer2.extra"] = torch.zeros(1)
    else:
        state[name] = torch.zeros(3, 1)
    return state


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("missing", "1 missing: baseline_model.layer2.fusion.0.conv2.weight"),
        ("left over", "1 left over: baseline_model.layer2.extra"),
        ("shape", r"1 of another shape: .*conv2.weight \[3, 1\] instead of \[32, 32, 3, 3\]"),
    ],
)
def test_tensors_that_do_not_fit_are_listed(
    tmp_path: Path, make_network: Make, how: str, complaint: str
) -> None:
    torch.save(changed(make_network().state_dict(), how), tmp_path / "x.pth")
    with pytest.raises(CheckpointMismatch, match=complaint) as info:
        load(tmp_path / "x.pth", device="cpu", frames=4)
    assert "\n" not in str(info.value)


def test_a_long_list_is_cut_short(tmp_path: Path, make_network: Make) -> None:
    state = {k: v for k, v in make_network().state_dict().items() if ".bn2." not in k}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointMismatch, match=r"missing: .* and \d+ more") as info:
        load(tmp_path / "x.pth", device="cpu", frames=4)
    assert len(str(info.value)) < 1000


@pytest.mark.parametrize("gone", ["conv1", "l_conv0", "tam.curr", "new_fc", "layer1", "layer4"])
def test_no_part_can_be_missing(tmp_path: Path, make_network: Make, gone: str) -> None:
    state = {k: v for k, v in make_network().state_dict().items() if gone not in k}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointMismatch) as info:
        load(tmp_path / "x.pth", device="cpu", frames=4)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", ["conv1", "l_conv0", "layer3.little_e.0", "tam.curr"])
@pytest.mark.parametrize("shape", [(0, 3, 7, 7), (0,), (), (2, 0)])
def test_no_shape_is_too_odd_for_a_clear_answer(
    tmp_path: Path, make_network: Make, name: str, shape: tuple[int, ...]
) -> None:
    state = make_network().state_dict() | {f"baseline_model.{name}.weight": torch.zeros(shape)}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointMismatch):
        load(tmp_path / "x.pth", device="cpu", frames=4)


def test_what_training_scripts_put_beside_the_weights_does_no_harm(
    tmp_path: Path, make_network: Make
) -> None:
    network = make_network()
    beside = {
        "best_top1": np.float64(46.4),
        "curve": np.arange(3, dtype=np.float32),
        "args": argparse.Namespace(lr=0.01, groups=8),
        "optimizer": torch.optim.SGD(network.parameters(), 0.1, momentum=0.9).state_dict(),
    }
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 49, "arch": "x", **beside}, tmp_path / "x.pth")
    assert load(tmp_path / "x.pth", device="cpu", frames=4).spec.architecture.classes == 5
