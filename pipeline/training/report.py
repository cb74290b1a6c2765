"""An evaluation as files: figures as JSON, the confusion matrix as PNG, scores as Parquet."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import ConfigError, TrainingError
from pipeline.training.checkpoint import write_whole
from pipeline.training.evaluate import Evaluation, Flip

LETTER_PX, LINE_PX = 7, 12  # of Pillow's own font, about
PICTURE_PX = 1_200  # the matrix is about this large, whatever the number of classes
BLUE, ORANGE = (33, 102, 172), (217, 95, 2)
NEEDED = {"PIL": "Pillow", "pyarrow": "pyarrow"}
"""Modules, and what they are installed as."""


def prepare_report(out: Path) -> None:
    """Make the folder; for before the scoring, which may take hours.

    Raises:
        ConfigError: Pillow or pyarrow aren't installed, or ``out`` can't be made a folder.
    """
    for module, name in NEEDED.items():
        if find_spec(module) is None:
            raise ConfigError(f"{name} isn't installed; run: pip install 'actionstream[train]'")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: can't be made a folder: {error.strerror}") from None


def write_report(
    out: Path,
    evaluation: Evaluation,
    flips: Mapping[str, Flip],
    about: Mapping[str, object],
) -> dict[str, object]:
    """``evaluation.json``, ``confusion.png`` and ``scores.parquet``; returns the first.

    Raises:
        ConfigError: as ``prepare_report`` does.
        TrainingError: a file can't be written.
    """
    prepare_report(out)
    figures: dict[str, object] = {
        **about,
        **evaluation.summary(),
        "flips": {
            kind: {**asdict(flip), "relative": flip.relative} for kind, flip in flips.items()
        },
        "per_class": evaluation.per_class,
    }
    write_whole(out / "evaluation.json", json.dumps(figures, indent=2).encode() + b"\n")
    try:
        draw_confusion(out / "confusion.png", evaluation)
        write_scores(out / "scores.parquet", evaluation)
    except OSError as error:
        raise TrainingError(f"{out}: can't be written: {error.strerror or error}") from None
    return figures


def draw_confusion(path: Path, evaluation: Evaluation) -> None:
    """Rows are the right classes, columns the best ones, by number; the diagonal is blue."""
    from PIL import Image, ImageDraw

    counts_KK = evaluation.confusion
    names = [f"{label} {n}" for n, label in enumerate(evaluation.labels)]
    cell = max(4, min(36, PICTURE_PX // len(names)))
    readable = cell >= LINE_PX
    left = (max(map(len, names)) * LETTER_PX if readable else 0) + 8
    top = LINE_PX + 8
    picture = Image.new("RGB", (left + cell * len(names) + 8, top + cell * len(names) + 8), "white")
    draw = ImageDraw.Draw(picture)
    for row, counts_K in enumerate(counts_KK):
        y = top + row * cell
        if readable:
            draw.text((left - 4, y + cell / 2), names[row], fill="black", anchor="rm")
            draw.text((left + row * cell + cell / 2, top - 4), str(row), fill="black", anchor="mb")
        for column in range(len(names)):
            share = float(counts_K[column] / max(1, counts_K.sum()))
            x = left + column * cell
            colour = _shade(BLUE if row == column else ORANGE, share)
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=colour)
            if readable and cell >= 2 * LINE_PX and share >= 0.005:
                ink = "white" if share > 0.5 else "black"
                text = f"{100 * share:.0f}"
                draw.text((x + cell / 2 - 1, y + cell / 2), text, fill=ink, anchor="mm")
    picture.save(path)


def write_scores(path: Path, evaluation: Evaluation) -> None:
    """A row per clip: key, right class, best class, the scores in the order of the labels."""
    import pyarrow as pa
    from pyarrow import parquet

    labels = evaluation.labels
    table = pa.table(
        {
            "key": list(evaluation.keys),
            "label": [labels[place] for place in evaluation.truth_N],
            "guess": [labels[place] for place in evaluation.guesses],
            "scores": list(evaluation.scores_NK),
        }
    ).replace_schema_metadata({"labels": json.dumps(labels)})
    temporary = path.with_name(f".{path.name}")
    parquet.write_table(table, temporary)
    temporary.replace(path)


def _shade(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """From nearly white to the colour."""
    red, green, blue = (round(246 + (value - 246) * share) for value in colour)
    return red, green, blue
