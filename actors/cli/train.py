"""``actionstream train``: a network's weights from labelled clips."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.cli.show import complain
from actors.cli.show_training import TrainingBar
from actors.cli.signals import stopped_by_signals
from pipeline.errors import ConfigError
from pipeline.training.config import TrainConfig, load_training, parse_training
from pipeline.training.listen import Listeners, TensorBoard
from pipeline.training.prepare import finish, prepare

WARMUP_CLIPS = 160
FINE_TUNING: dict[str, object] = {
    "name": "fine-tuned",
    "epochs": 30,
    "batch_size": 16,
    "ema_decay": 0.99,
    "optimizer": {"lr": 0.01},
    "schedule": {"warmup_clips": WARMUP_CLIPS},
}
"""For a few dozen to a few thousand clips of a user's own."""


def train(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file with the recipe.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, such as a folder per label.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Weights to start from: a file, or default."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for checkpoint and results.", show_default="runs/NAME"),
    ] = None,
    clips: Annotated[
        int | None, typer.Option(help="Length of the run, instead of what the config says.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write scalars for TensorBoard into --out.")
    ] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Train on Ray.")] = False,
    workers: Annotated[
        int,
        typer.Option(help="Processes that share each batch; more than one are run by Ray.", min=1),
    ] = 1,
    address: Annotated[
        str | None, typer.Option(help="Join the Ray cluster at this address.")
    ] = None,
) -> int:
    """Train a network, or fine-tune one on classes of your own.

    A run whose --out holds its checkpoint goes on from there, to the same losses. With --data and
    --from, and no config, the weights get a new classifier for the labels found in the data.
    """
    settings = settings_of(config, data=data, start=start, clips=clips)
    where = out or Path("runs") / settings.name
    if ray or address is not None or workers > 1:
        from actors.training import train_on_ray

        with TrainingBar() as bar:
            results: dict[str, object] | None = train_on_ray(
                settings, where, workers=workers, address=address, listener=bar
            )
    else:
        results = _here(settings, where, tensorboard=tensorboard)
    if results is None:
        complain(f"stopped; the same command goes on from {where / 'checkpoint.pt'}")
        return 1
    _tell(results, where)
    return 0


def settings_of(
    config: Path | None, *, data: Path | None, start: str | None, clips: int | None
) -> TrainConfig:
    """The config in a file, or that of fine-tuning, with what the options say.

    Raises:
        ConfigError: neither a config nor data, or something impossible in them.
    """
    if config is None:
        if data is None:
            raise ConfigError("want a config, or --data with a folder per label")
        document: dict[str, Any] = {**FINE_TUNING, "data": {"root": str(data)}}
        if start is not None:
            document["from"] = {"weights": start, "classifier": "new"}
        if clips is not None:
            document["schedule"] = {"warmup_clips": min(WARMUP_CLIPS, clips // 10)}
        where = "options"
    else:
        document = load_training(config).model_dump(by_alias=True, exclude_unset=True)
        if data is not None:
            document["data"] = {**document["data"], "root": str(data)}
        if start is not None:
            document["from"] = {**(document.get("from") or {}), "weights": start}
        where = f"{config} with options"
    if clips is not None:
        document = {**document, "clips": clips, "epochs": None}
    return parse_training(document, where=where)


def _here(settings: TrainConfig, out: Path, *, tensorboard: bool) -> dict[str, object] | None:
    with ExitStack() as stack:
        bar = stack.enter_context(TrainingBar())
        listener: Listeners = Listeners(bar)
        if tensorboard:
            board = TensorBoard(out / "tensorboard", clips_per_step=settings.clips_per_step)
            stack.callback(board.close)
            listener = Listeners(bar, board)
        stop = stack.enter_context(stopped_by_signals())
        prepared = prepare(settings, out, listener=listener, decoded=bar.decoded)
        trained = prepared.trainer.run(stop.is_set)
        return finish(prepared, trained) if trained.finished else None


def _tell(results: dict[str, object], out: Path) -> None:
    figures = results["validation"]
    if isinstance(figures, dict):
        complain(
            f"top-1 {figures['top1']:.1%}, top-5 {figures['top5']:.1%} on "
            f"{figures['examples']:.0f} clips of the validation split"
        )
    complain(f"{out / 'model.safetensors'}: digest {results['digest']}; see {out / 'results.json'}")
