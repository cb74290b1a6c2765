"""``actionstream evaluate``: how good weights are on labelled clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.cli.show import complain
from actors.cli.show_training import TrainingBar
from pipeline.config import describe
from pipeline.errors import ConfigError
from pipeline.model import ModelSpec, load
from pipeline.model.engine import fold_batch_norms
from pipeline.training.data import Clips, DataConfig, DataSet, open_dataset
from pipeline.training.evaluate import FLIPPED_AXIS, Evaluation, Flip, evaluate, evaluate_flip
from pipeline.training.feed import PRECISIONS, classifier
from pipeline.training.report import prepare_report, write_report
from pipeline.training.start import places_of


def evaluate_command(
    model: Annotated[str, typer.Argument(help="A bundle, a published checkpoint, or default.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    split: Annotated[str, typer.Option(help="Which part of it.")] = "test",
    layout: Annotated[
        str, typer.Option("--format", help="Layout of the data set; auto tells by its files.")
    ] = "auto",
    crops: Annotated[int, typer.Option(help="1, or 3 along the longer side.")] = 1,
    clips: Annotated[int, typer.Option(help="Clips spread over each video.", min=1)] = 1,
    flips: Annotated[
        bool, typer.Option("--flips", help="Also in a mirror, and played backwards.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for figures, confusion matrix and scores.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Videos at once.", min=1)] = 32,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded clips.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="T, where the checkpoint's name doesn't tell.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Text file, a label per line, for a checkpoint without.")
    ] = None,
) -> int:
    """Score labelled clips: top-1, top-5, per class, calibration, what is taken for what."""
    if precision not in PRECISIONS or precision == "fp16":
        raise ConfigError(f"precision must be fp32 or bf16, got {precision!r}")
    if out is not None:
        prepare_report(out)
    config = _data_config(data, layout, cache)
    dataset = open_dataset(config, split)
    recognizer = load(model, device=device, frames=frames, labels=labels)
    spec = recognizer.spec
    places = places_of(dataset.labels, spec.labels, what=model)
    network = fold_batch_norms(recognizer.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    classify = classifier(network, spec.mean, spec.std, precision)
    with TrainingBar() as bar:
        source = _clips(config, dataset, spec, bar)
        views = bar.counted(source.views(batch_size, crops=crops, clips=clips), len(source))
        evaluation = evaluate(classify, views, spec.labels, place_of=places)
        turned: dict[str, Flip] = {}
        for kind in FLIPPED_AXIS if flips else ():
            views = bar.counted(source.views(batch_size), len(source), kind)
            turned[kind] = evaluate_flip(
                classify, views, kind, getattr(dataset, kind), place_of=places
            )
    _show(evaluation, turned)
    if source.broken:
        complain(f"{len(source.broken)} clips can't be used, such as {source.broken[0].reason}")
    if out is not None:
        about = {"model": spec.name, "digest": recognizer.digest, "data": dataset.name}
        write_report(out, evaluation, turned, {**about, "crops": crops, "clips": clips})
        complain(f"figures, confusion matrix and scores are in {out}")
    return 0


def _data_config(root: Path, layout: str, cache: Path | None) -> DataConfig:
    try:
        return DataConfig.model_validate({"root": root, "format": layout, "cache": cache})
    except ValidationError as error:
        raise ConfigError(f"options: {describe(error)}") from None


def _clips(config: DataConfig, dataset: DataSet, spec: ModelSpec, bar: TrainingBar) -> Clips:
    sized = config.model_copy(update={"short_side_px": spec.short_side_px})
    return Clips.of(
        sized,
        dataset,
        frames=spec.architecture.frames,
        size_px=spec.size_px,
        train=False,
        progress=bar.decoded,
    )


def _show(evaluation: Evaluation, flips: dict[str, Flip]) -> None:
    console = Console(highlight=False)
    figures = Table(box=None, show_header=False, pad_edge=False)
    figures.add_row("clips", str(len(evaluation.keys)))
    figures.add_row("top-1", f"{evaluation.top1:.2%}")
    figures.add_row("top-5", f"{evaluation.top5:.2%}")
    figures.add_row("loss", f"{evaluation.loss:.4f} nats")
    figures.add_row("calibration error", f"{evaluation.calibration_error:.2%}")
    for kind, flip in flips.items():
        figures.add_row(kind, _flip(flip))
    console.print(figures)
    classes = Table("class", "top-1", "most often taken for", box=None, pad_edge=False)
    for label, share in sorted(evaluation.per_class.items(), key=lambda item: item[1]):
        classes.add_row(Text(label), f"{share:.1%}", Text(_rival(evaluation, label)))
    console.print(classes)


def _flip(flip: Flip) -> str:
    if not flip.examples:
        return "no clip has a label for its flip"
    return (
        f"{flip.flipped:.2%} get the flip's label, {flip.own:.2%} their own as they are "
        f"({flip.relative:.1%} as often; {flip.examples} clips)"
    )


def _rival(evaluation: Evaluation, label: str) -> str:
    """The class that takes most of a class's clips, with how many."""
    row = evaluation.labels.index(label)
    counts: Sequence[int] = evaluation.confusion[row].tolist()
    others = [(count, place) for place, count in enumerate(counts) if place != row and count]
    if not others:
        return ""
    count, place = max(others)
    return f"{evaluation.labels[place]} ({count})"
