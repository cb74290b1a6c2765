"""A run goes on to the same losses, or says in one line why it can't."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.errors import CheckpointRefused, ConfigError, TrainingError
from pipeline.model import load
from pipeline.training.checkpoint import read_checkpoint, write_checkpoint, write_whole
from pipeline.training.config import TrainConfig, parse_training
from pipeline.training.data import Batch
from pipeline.training.listen import silent
from pipeline.training.prepare import Prepared, finish, prepare
from pipeline.training.start import start_network
from pipeline.training.trainer import Trainer

pytestmark = pytest.mark.timeout(180)
LABELS = ("down", "left", "right", "up")


def prepared(recipe: dict[str, Any], out: Path) -> Prepared:
    return prepare(parse_training(recipe, where="test"), out, listener=silent())


def records(out: Path, kind: str) -> list[dict[str, Any]]:
    lines = (out / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def losses(out: Path) -> list[tuple[int, float, float]]:
    return [(line["step"], line["loss"], line["rate"]) for line in records(out, "training")]


def started(recipe: dict[str, Any], folder: Path) -> subprocess.Popen[str]:
    """The command, as a user runs it."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    arguments = ["train", str(path), "--out", str(folder / "out")]
    return subprocess.Popen(
        [sys.executable, "-c", "from actors.cli import main; main()", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(child: subprocess.Popen[str], code: int = 0) -> str:
    _, errors = child.communicate(timeout=150)
    assert child.returncode == code, errors
    assert "Traceback" not in errors
    return errors


@pytest.mark.timeout(400)
def test_a_killed_run_goes_on_to_the_same_losses(
    recipe: dict[str, Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    finished(started(recipe, whole))
    for enough in (3, 7):  # lines of the log: killed twice, the second time after a checkpoint
        child = started(recipe, killed)
        log = killed / "out" / "log.jsonl"
        try:
            wait_until(
                lambda log=log, enough=enough: (
                    log.exists() and log.read_text().count("\n") > enough
                ),
                "some steps",
                timeout_s=100,
            )
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.communicate()
    assert 0 < read_checkpoint(killed / "out" / "checkpoint.pt")["step"] < 12
    assert "goes on after step" in finished(started(recipe, killed))
    assert losses(killed / "out") == losses(whole / "out")
    assert [step for step, _, _ in losses(whole / "out")] == list(range(1, 13))
    models = [folder / "out" / "model.safetensors" for folder in (whole, killed)]
    assert load(models[0], device="cpu").digest == load(models[1], device="cpu").digest


def test_accumulated_batches_make_one_step(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"accumulate": 3, "precision": "fp32", "optimizer": {"kind": "adamw", "lr": 1e-3}}
    trained = prepared(recipe, tmp_path).trainer.run()
    assert (trained.step, trained.finished) == (4, True)
    assert [line["clips"] for line in records(tmp_path, "training")] == [24, 48, 72, 96]


def test_a_run_that_was_told_to_stop_saves_and_goes_on(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    prepared(recipe, whole).trainer.run()
    for limit in (3, 4, 100):
        calls = iter(range(limit))
        trained = prepared(recipe, parts).trainer.run(lambda calls=calls: next(calls, None) is None)
    assert trained.finished
    assert losses(parts) == losses(whole)


def test_what_it_learned_is_a_bundle_with_its_origin(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    ready = prepared(recipe, tmp_path)
    results = finish(ready, ready.trainer.run())
    recognizer = load(tmp_path / "model.safetensors", device="cpu")
    spec = recognizer.spec
    assert (spec.labels, spec.size_px, spec.short_side_px) == (LABELS, 32, 36)
    assert spec.provenance["seed"] == "0"
    assert json.loads(spec.provenance["recipe"])["optimizer"]["lr"] == 0.02
    assert "top-1" in spec.provenance["accuracy"]
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert results["digest"] == recognizer.digest
    assert results["steps"] == 12
    again = prepared(recipe, tmp_path).trainer.run()  # of a finished run: the same, at once
    assert again.history == results["history"]
    steps = [line["step"] for line in records(tmp_path, "validation")]
    assert steps == [line["step"] for line in again.history] == sorted(set(steps))


def test_another_config_is_told_apart_by_its_differences(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    prepared(recipe, tmp_path).trainer.run(lambda: True)
    recipe["optimizer"] = {"lr": 0.5}
    recipe["log_every_steps"] = 5  # which decides nothing
    with pytest.raises(ConfigError, match=r"\(optimizer.lr: 0.02, now 0.5\)"):
        prepared(recipe, tmp_path).trainer.run()


def test_a_file_that_is_no_checkpoint_is_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointRefused, match="train into another --out"):
        prepared(recipe, tmp_path).trainer.run()


MADE_UP: list[Callable[[dict[str, Any]], object]] = [
    lambda state: state["network"].popitem(),
    lambda state: state["average"].update({key: torch.zeros(1) for key in state["average"]}),
    lambda state: state["optimizer"].clear(),
    lambda state: state["optimizer"]["param_groups"].pop(),
    lambda state: state["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(2)),
    lambda state: state["optimizer"]["state"][0].update(momentum_buffer="x"),
    lambda state: state["optimizer"]["state"][0].clear(),
    lambda state: state["meter"].update(wrong=1.0),
    lambda state: state["meter"].update(clips="x"),
    lambda state: state.update(history=[{"loss": 1.0}]),
    lambda state: state.update(history=["line"]),
    lambda state: state.update(step=10_000),
    lambda state: state.update(epoch=-1),
]


def test_a_checkpoint_whose_state_is_of_something_else_is_refused(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    path, calls = tmp_path / "checkpoint.pt", iter(range(2))
    prepared(recipe, tmp_path).trainer.run(lambda: next(calls, None) is None)
    written = path.read_bytes()
    for change in MADE_UP:
        path.write_bytes(written)
        state: Any = read_checkpoint(path)
        change(state)
        write_checkpoint(path, state)
        refused = r"doesn't fit this run\); train into another --out$"
        with pytest.raises(CheckpointRefused, match=refused):
            prepared(recipe, tmp_path).trainer.run()


class Poisoned:
    """Clips of noise, of which one batch is not numbers."""

    def __init__(self, bad: int) -> None:
        self._bad = bad

    def __len__(self) -> int:
        return 64

    def batches(self, *, batch_size: int, first_batch: int, **_: object) -> Iterator[Batch]:
        for number in range(first_batch, 8):
            clips = torch.randint(0, 256, (batch_size, 4, 32, 32, 3), dtype=torch.uint8)
            if number == self._bad:
                clips = torch.full(clips.shape, float("nan"))
            keys = tuple(f"clip-{number}-{place}" for place in range(batch_size))
            yield Batch(clips, torch.arange(batch_size) % 4, keys)


def test_a_loss_that_is_no_number_stops_names_the_batch_and_keeps_the_checkpoint(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    config = TrainConfig.model_validate(recipe)
    trainer = Trainer(
        config,
        start_network(config, LABELS),
        labels=LABELS,
        clips=Poisoned(bad=5),
        views=None,
        out=tmp_path,
        listener=silent(),
    )
    with pytest.raises(TrainingError, match=r"step 6: the loss is nan .* clip-5-0, clip-5-1") as e:
        trainer.run()
    assert "\n" not in str(e.value)
    state = read_checkpoint(tmp_path / "checkpoint.pt")
    assert state["step"] == 4
    assert all(tensor.isfinite().all() for tensor in state["network"].values())


def test_gradients_beyond_all_numbers_stop_it_too(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["optimizer"] = {"lr": 1e9, "clip_norm": None}
    said = r"is (nan|inf) for the batch train/|are not numbers; nothing was saved yet"
    with pytest.raises(TrainingError, match=said):
        prepared(recipe, tmp_path).trainer.run()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_whole(path, b"good")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(TrainingError, match=r"can't be written: .*the one before it is still"):
            write_whole(path, b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_fp16_wants_a_gpu(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        prepared(recipe | {"precision": "fp16", "device": "cpu"}, tmp_path)


def test_a_clip_that_no_bundle_may_have_is_refused_before_the_run(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"size_px: .* gigabytes for each clip"):
        prepared(recipe | {"size_px": 16384}, tmp_path)
