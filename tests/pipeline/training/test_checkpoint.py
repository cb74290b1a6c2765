"""Checkpoints of a run that are none: each is refused with one line that says what to do."""

import os
from pathlib import Path

import pytest
import torch

from pipeline.errors import CheckpointRefused, ModelError
from pipeline.training.checkpoint import VERSION, Checkpoint, read_checkpoint, write_checkpoint


def checkpoint() -> Checkpoint:
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return Checkpoint(
        version=VERSION,
        config={"optimizer": {"betas": [0.9, 0.99]}, "data": {"root": None}},
        labels=["a", "b"],
        examples=10,
        workers=1,
        step=4,
        epoch=0,
        batch=4,
        network=network.state_dict(),
        average=network.state_dict(),
        optimizer=optimizer.state_dict(),
        scaler={"scale": 2.0, "_growth_tracker": 3},
        meter={"loss": 0.5},
        history=[{"step": 2, "loss": 0.7}],
        elapsed_s=1.5,
    )


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointRefused, match=r"train into another --out|of version") as info:
        read_checkpoint(path)
    assert "\n" not in str(info.value)
    return str(info.value)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, written = tmp_path / "checkpoint.pt", checkpoint()
    write_checkpoint(path, written)
    read = read_checkpoint(path)
    assert read["config"] == written["config"]
    assert (read["history"], read["scaler"]) == (written["history"], written["scaler"])
    assert list(read) == list(written)
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network.load_state_dict(read["network"])
    assert all(torch.equal(network.state_dict()[k], v) for k, v in written["network"].items())
    optimizer.load_state_dict(read["optimizer"])
    assert str(optimizer.state_dict()) == str(written["optimizer"])


def test_one_of_another_version_is_told(tmp_path: Path) -> None:
    torch.save({"version": 99}, tmp_path / "x.pt")
    assert "of version 99" in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize("content", [{}, [1], {"state_dict": {}}, torch.zeros(2), 3])
def test_what_is_none_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pt")
    assert "no checkpoint of a training run" in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["step", "network", "history"])
def test_one_that_lacks_something_is_refused(tmp_path: Path, name: str) -> None:
    torch.save({**checkpoint(), name: None}, tmp_path / "x.pt")
    assert f"its {name} is missing" in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_one_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.pt"
    write_checkpoint(path, checkpoint())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "damaged" in refusal(path)


def test_one_too_deep_to_be_copied_is_refused(tmp_path: Path) -> None:
    deep: list[object] = []
    deep.append(deep)
    for bottom in (deep, [[[[[[[[0]]]]]]]]):
        torch.save({**checkpoint(), "scaler": {"a": bottom}}, tmp_path / "x.pt")
        assert "holds something else" in refusal(tmp_path / "x.pt")


def test_code_in_one_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    assert "wants to run code" in refusal(tmp_path / "x.pt")


def test_a_pipe_in_its_place_is_waited_for_by_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match=r"checkpoint\.pt: a pipe or a device"):
        read_checkpoint(tmp_path / "checkpoint.pt")
