"""What went wrong with real files: half of a network, two of a kind, names that say too much."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.errors import CheckpointMismatch, CheckpointRefused, ConfigError, ModelError
from pipeline.model import VideoNetwork, build, load
from pipeline.model.device import exact, pick

Make = Callable[..., VideoNetwork]
State = dict[str, torch.Tensor]
PREFIX = "baseline_model."


def complaint(path: Path, kind: type[ModelError], frames: int | None = 4) -> str:
    with pytest.raises(kind) as info:
        load(path, device="cpu", frames=frames)
    assert "\n" not in str(info.value)
    return str(info.value)


@pytest.fixture(scope="module")
def published() -> State:
    """The tensors of a network of depth 50 and full width, zeros all."""
    from pipeline.model import Architecture

    architecture = Architecture(frames=4, classes=3, alpha=8)
    with torch.device("meta"):
        names = build(architecture).state_dict()
    return {name: torch.zeros(tensor.shape) for name, tensor in names.items()}


@pytest.mark.parametrize("name", ["x.pth", "x-bLVNet-TAM-50-a8-b4-f2x2.pth.tar"])
@pytest.mark.parametrize("block", ["layer1.big.1", "layer3.big.4", "layer4.2", "layer2.little.0"])
def test_a_lost_block_is_listed_and_not_taken_for_a_smaller_network(
    tmp_path: Path, published: State, name: str, block: str
) -> None:
    kept = {k: v for k, v in published.items() if not k.startswith(f"{PREFIX}{block}.")}
    torch.save(kept, tmp_path / name)
    text = complaint(tmp_path / name, CheckpointMismatch)
    assert f"missing: {PREFIX}{block}.bn1.bias" in text


def test_blocks_too_many_are_no_other_network(tmp_path: Path, published: State) -> None:
    path = tmp_path / "x-bLVNet-TAM-50-a8-b4-f2x2.pth"
    more = published | {f"{PREFIX}layer3.big.{n}.conv1.weight": torch.zeros(1) for n in (5, 6)}
    torch.save(more, path)
    assert "its name says depth 50" in complaint(path, ModelError)


def test_a_depth_that_the_tensors_do_not_have_is_an_error(tmp_path: Path, published: State) -> None:
    path = tmp_path / "x-bLVNet-TAM-77-a8-b4-f2x2.pth"
    torch.save(published, path)
    assert "its name says depth 77" in complaint(path, ModelError)


def test_two_tensors_of_one_name_are_refused(tmp_path: Path, make_network: Make) -> None:
    state = make_network().state_dict()
    state["module.new_fc.bias"] = state["new_fc.bias"] + 1
    torch.save(state, tmp_path / "x.pth")
    text = complaint(tmp_path / "x.pth", CheckpointRefused)
    assert "holds both new_fc.bias and module.new_fc.bias" in text


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("new_fc.bias", torch.full((5,), 1e300, dtype=torch.float64), "not finite numbers"),
        (f"{PREFIX}bn1.running_var", -torch.ones(16), "variances below zero"),
        (
            f"{PREFIX}bn1.running_var",
            torch.full((16,), -1.0).to(torch.float8_e5m2),
            "variances below zero",
        ),
        ("new_fc.bias", torch.zeros(5, dtype=torch.uint8).view(torch.bits8), "other things than"),
        ("new_fc.weight", torch.zeros(1, 1).expand(10**9, 512), "other things than named tensors"),
    ],
)
def test_values_that_would_give_no_scores_are_refused(
    tmp_path: Path, make_network: Make, name: str, tensor: torch.Tensor, said: str
) -> None:
    torch.save(make_network().state_dict() | {name: tensor}, tmp_path / "x.pth")
    assert said in complaint(tmp_path / "x.pth", CheckpointRefused)


@pytest.mark.parametrize(
    "content",
    [
        b"Not Found",
        b'{"error": "rate limit"}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b"\x1f\x8b\x08" + bytes(60),
        bytes(range(128, 256)) * 8,
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_what_is_no_checkpoint_is_not_accused_of_running_code(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    assert "not a checkpoint at all" in complaint(tmp_path / "x.pth", CheckpointRefused)


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n" * 20])
def test_a_web_page_is_known_behind_what_comes_before_it(tmp_path: Path, before: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(before + b"<!DOCTYPE html><title>Sign in</title>")
    assert "web page" in complaint(tmp_path / "x.pth", CheckpointRefused)


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_pickle_that_can_not_be_checked_says_how_to_save_it(
    tmp_path: Path, protocol: int
) -> None:
    path = tmp_path / "x.pth"
    tensors = {"a": torch.zeros(2)}
    path.write_bytes(pickle.dumps(tensors, protocol=protocol))
    assert "default protocol of torch.save" in complaint(path, CheckpointRefused)
    torch.save(tensors, path, pickle_protocol=protocol)
    assert "default protocol of torch.save" in complaint(path, CheckpointRefused)


@pytest.mark.parametrize("device", ["tpu", "meta", "mps", "", "cpu:x"])
def test_other_devices_are_an_error_of_the_call(device: str) -> None:
    with pytest.raises(ConfigError, match="want auto, cpu or cuda"):
        pick(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there_is_an_error_of_the_call(device: str) -> None:
    with pytest.raises(ConfigError, match="torch finds no GPU"):
        pick(device)
    assert pick("auto").type == "cpu"


def test_a_gpu_computes_in_float32_to_the_last_bit() -> None:
    exact(torch.device("cuda"))
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cuda.matmul.allow_tf32 is False
