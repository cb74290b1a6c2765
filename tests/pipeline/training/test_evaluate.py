"""Figures of an evaluation against arithmetic done by hand, and as files."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from PIL import Image
from pyarrow import parquet
from torch import Tensor

from pipeline.errors import ConfigError, DataError, ModelError
from pipeline.training.data import Views
from pipeline.training.evaluate import Evaluation, evaluate, evaluate_flip
from pipeline.training.report import prepare_report, write_report

LABELS = ("left", "right", "still")


def evaluation(scores: list[list[float]], truth: list[int]) -> Evaluation:
    return Evaluation(
        labels=LABELS,
        keys=tuple(map(str, range(len(truth)))),
        truth_N=np.array(truth),
        scores_NK=np.array(scores, np.float32),
    )


SOME = evaluation(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.4, 0.5, 0.1]],
    [0, 1, 1, 0],
)


def test_accuracy_is_the_share_of_right_clips_overall_and_by_class() -> None:
    assert SOME.top1 == 0.5
    assert SOME.top5 == 1.0
    assert SOME.per_class == {"left": 0.5, "right": 0.5}  # nothing stood still
    assert SOME.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_calibration_is_the_distance_of_confidence_from_accuracy() -> None:
    # bins of 1/15: 0.8 (right), 0.7 (right), 0.6 (wrong), 0.5 (wrong) each have their own
    assert SOME.calibration_error == pytest.approx((0.2 + 0.3 + 0.6 + 0.5) / 4)
    sure = evaluation([[1.0, 0.0, 0.0]] * 4, [0, 0, 0, 1])
    assert sure.calibration_error == pytest.approx(0.25)


@given(
    stn.arrays(np.float32, (12, 3), elements=st.floats(0.0, 1.0, width=32)),
    stn.arrays(np.int64, 12, elements=st.integers(0, 2)),
)
def test_figures_are_shares(scores: np.ndarray, truth: np.ndarray) -> None:
    found = evaluation(scores.tolist(), truth.tolist())
    assert 0 <= found.top1 <= found.top5 <= 1 or found.top1 == 1
    assert 0 <= found.calibration_error <= 1
    assert found.confusion.sum() == 12


def moving(direction: int) -> Tensor:
    """[T=4, 8, 8, 3]: a bright column that goes one way."""
    clip = torch.zeros(4, 8, 8, 3, dtype=torch.uint8)
    for t in range(4):
        clip[t, :, 2 + t if direction else 5 - t] = 255
    return clip


def by_sight(clips_NTHWC: Tensor) -> Tensor:
    """A classifier that is always right about them: 0 left, 1 right."""
    column_NT = clips_NTHWC[:, :, 0, :, 0].float().argmax(dim=2)
    goes_right_N = (column_NT[:, -1] > column_NT[:, 0]).long()
    return 9.0 * torch.nn.functional.one_hot(goes_right_N, 3).float()


def views() -> Iterator[Views]:
    for n in range(2):
        clips = torch.stack([moving(0), moving(1)])[:, None].repeat(1, 3, 1, 1, 1, 1)
        yield Views(clips, torch.tensor([0, 1]), (f"{n}-left", f"{n}-right"))


def test_every_view_counts_and_labels_are_the_networks_own() -> None:
    found = evaluate(by_sight, views(), LABELS)
    assert found.keys == ("0-left", "0-right", "1-left", "1-right")
    assert found.top1 == 1.0
    swapped = evaluate(by_sight, views(), LABELS, place_of=[1, 0])
    assert swapped.top1 == 0.0


def test_nothing_to_evaluate_on_is_an_error() -> None:
    with pytest.raises(DataError, match="not one clip"):
        evaluate(by_sight, iter(()), LABELS)


def test_scores_that_are_not_numbers_are_an_error() -> None:
    with pytest.raises(ModelError, match="scores of 0-left and others are not numbers"):
        evaluate(lambda clips: torch.full((len(clips), 3), float("nan")), views(), LABELS)


def test_a_flipped_clip_should_get_the_flipped_label() -> None:
    mirror = evaluate_flip(by_sight, views(), "mirror", [1, 0, 2])
    assert (mirror.examples, mirror.own, mirror.flipped, mirror.relative) == (4, 1.0, 1.0, 1.0)
    backwards = evaluate_flip(by_sight, views(), "reverse", [1, None, 2])
    assert (backwards.examples, backwards.flipped) == (2, 1.0)
    wrong = evaluate_flip(by_sight, views(), "mirror", [0, 1, 2])
    assert wrong.flipped == 0.0
    assert evaluate_flip(by_sight, views(), "mirror", [None] * 3).examples == 0


def test_a_report_holds_figures_a_picture_and_scores(tmp_path: Path) -> None:
    flip = evaluate_flip(by_sight, views(), "mirror", [1, 0, 2])
    out = tmp_path / "new" / "folder"
    figures = write_report(out, SOME, {"mirror": flip}, {"model": "m"})
    assert json.loads((out / "evaluation.json").read_text()) == figures
    assert figures["top1"] == 0.5
    table = parquet.read_table(out / "scores.parquet")
    assert table.column_names == ["key", "label", "guess", "scores"]
    assert table["guess"].to_pylist() == ["left", "left", "right", "right"]
    np.testing.assert_allclose(table["scores"].to_pylist(), SOME.scores_NK, rtol=1e-6)
    assert json.loads(table.schema.metadata[b"labels"]) == list(LABELS)
    with Image.open(out / "confusion.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert (246, 246, 246) in colours  # nothing there
    assert {"left", "right"} == set(figures["per_class"])  # type: ignore[call-overload]


def test_a_matrix_of_many_classes_still_is_a_picture(tmp_path: Path) -> None:
    classes = 400
    many = Evaluation(
        labels=tuple(f"class {n}" for n in range(classes)),
        keys=tuple(map(str, range(classes))),
        truth_N=np.arange(classes),
        scores_NK=np.eye(classes, dtype=np.float32),
    )
    write_report(tmp_path, many, {}, {})
    with Image.open(tmp_path / "confusion.png") as picture:
        assert max(picture.size) < 2_000


def test_what_a_report_needs_is_looked_for_before_anything_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "taken"
    file.touch()
    with pytest.raises(ConfigError, match="taken: can't be made a folder"):
        prepare_report(file)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pyarrow isn't installed; run: pip install"):
        prepare_report(tmp_path / "out")
