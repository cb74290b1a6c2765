"""Two workers on Ray train one network: same config, one set of weights, one checkpoint."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.model import load
from tests.squares import make_squares

pytestmark = pytest.mark.timeout(300)
RECIPE: dict[str, Any] = {
    "name": "together",
    "network": {
        "name": "blvnet-tam-small",
        "parts": {"blocks": [2, 2, 2, 1], "width": 8, "frames": 4},
    },
    "size_px": 32,
    "clips": 96,
    "batch_size": 8,
    "schedule": {"warmup_clips": 16},
    "checkpoint_every_clips": 32,
    "log_every_steps": 2,
}


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_squares(tmp_path_factory.mktemp("squares"))


def command(*arguments: str, code: int = 0) -> str:
    """Run it as a user does; returns what it says on standard error."""
    child = subprocess.run(
        [sys.executable, "-c", "from actors.cli import main; main()", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
    )
    assert child.returncode == code, child.stderr
    assert "Traceback" not in child.stderr
    return child.stderr


def trained(folder: Path, recipe: dict[str, Any], *options: str, code: int = 0) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return command("train", str(path), "--out", str(folder / "out"), *options, code=code)


def test_two_workers_share_each_batch_and_end_with_one_model(squares: Path, tmp_path: Path) -> None:
    recipe = RECIPE | {"data": {"root": str(squares), "workers": 1}}
    told = trained(tmp_path, recipe, "--ray", "--workers", "2")
    assert "squares" in told
    assert "validation top-1" in told
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text())
    assert (results["steps"], results["clips"]) == (12, 96)
    assert results["digest"] == load(out / "model.safetensors", device="cpu").digest
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "training"] == [2, 4, 6, 8, 10, 12]
    alone = trained(tmp_path, recipe, code=2)
    assert "workers: 2, now 1" in alone


def test_what_a_worker_complains_of_is_one_line_here(tmp_path: Path) -> None:
    told = trained(tmp_path, RECIPE | {"data": {"root": "nowhere"}}, "--workers", "2", code=2)
    assert "nowhere: no such folder" in told


def test_workers_that_cannot_be_are_refused_before_they_start(
    squares: Path, tmp_path: Path
) -> None:
    recipe = RECIPE | {"data": {"root": str(squares)}, "batch_size": 512}
    assert "multiple of the workers (3)" in trained(tmp_path, recipe, "--workers", "3", code=2)
    told = trained(tmp_path, recipe, "--workers", "512", code=2)
    assert "512 workers want a CPU each" in told


def test_the_default_is_fine_tuned_on_folders_and_evaluated(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = command(
        "train", "--data", str(squares), "--from", "default", "--out", str(out), "--clips", "48"
    )
    assert "the classifier is new, for 4 classes" in told
    model = out / "model.safetensors"
    assert load(model, device="cpu").spec.labels == ("down", "left", "right", "up")
    report = tmp_path / "report"
    command(
        *("evaluate", str(model), "--data", str(squares), "--split", "validation"),
        *("--crops", "3", "--clips", "2", "--flips", "--out", str(report)),
    )
    figures = json.loads((report / "evaluation.json").read_text())
    assert figures["examples"] == 12
    assert figures["flips"]["mirror"]["examples"] == 12
    assert (report / "confusion.png").exists()
    assert (report / "scores.parquet").exists()


def test_classes_that_the_weights_do_not_have_are_an_error(squares: Path, tmp_path: Path) -> None:
    recipe = RECIPE | {"data": {"root": str(squares)}, "network": None}
    told = trained(tmp_path, recipe, "--from", "default", code=2)
    assert "classifier: new" in told
    told = command("evaluate", "default", "--data", str(squares), "--split", "train", code=2)
    assert "doesn't know" in told
    assert "want a config, or --data" in command("train", code=2)
