"""``actionstream ablate``: the paper's claims, measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from actors.cli.data import EXTRA, PICTURES
from actors.cli.show import complain
from actors.cli.signals import stopped_by_signals
from pipeline.cpus import usable_cpus
from pipeline.errors import ConfigError
from pipeline.training.ablation import STUDIES, ablate
from pipeline.training.ablation.spec import load_ablation
from pipeline.training.listen import Progress as Report

LINES = 10  # of making and decoding, where standard error is no terminal


def ablate_command(
    data: Annotated[
        Path, typer.Option(help="Folder of motion clips; made if it isn't there.")
    ] = Path("ablation/motions"),
    work: Annotated[
        Path, typer.Option(help="Folder for results and checkpoints, from which it goes on.")
    ] = Path("ablation/work"),
    out: Annotated[Path, typer.Option(help="File with the section that is written.")] = Path(
        "docs/results.md"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="Costs and four networks once: 15 minutes, not 3 hours.")
    ] = False,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Train nothing; write about the runs that are done.")
    ] = False,
    study: Annotated[
        str | None,
        typer.Option(
            help=f"Some of {','.join(STUDIES)}; the section then tells of these only.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with other sizes.", show_default=False)
    ] = None,
    pictures: Annotated[
        Path, typer.Option(help="Where make pictures put what clips are made of.")
    ] = PICTURES,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that make clips; one per CPU.")
    ] = None,
) -> int:
    """Measure what the paper claims: cost, local fusion and TAM, frames, taps.

    Every number is made here, by the trainer that train uses. A run that was done isn't done again;
    one that was cut off goes on.
    """
    studies = _studies(study) if study is not None else None
    spec = load_ablation(config, quick=quick, studies=studies)
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{error}; install what training needs: {EXTRA}") from None
    with AblationBar() as bar, stopped_by_signals() as stop:
        whole = ablate(
            spec,
            data=data,
            work=work,
            out=out,
            pictures=pictures,
            processes=workers or usable_cpus(),
            watcher=bar,
            stop=stop.is_set,
            so_far=so_far,
        )
    if not whole:
        complain(f"stopped; the same command goes on from {work}")
        return 1
    complain(f"written into {out}")
    return 0


def _studies(text: str) -> tuple[str, ...]:
    asked = [name.strip() for name in text.split(",")]
    unknown = [name for name in asked if name not in STUDIES]
    if unknown:
        raise ConfigError(f"--study: no study is called {unknown[0]!r}; want {', '.join(STUDIES)}")
    return tuple(name for name in STUDIES if name in asked)


class AblationBar:
    """A bar for all the work and one for what is done now; lines where that is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[news]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._all = self._bar.add_task("all runs", total=1.0, news="", visible=False)
        self._now = self._bar.add_task("", total=1.0, news="", visible=False)
        self._told: dict[str, int] = {}

    def __enter__(self) -> AblationBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        """A line of its own."""
        if self._console.is_terminal:
            self._bar.console.print(f"actionstream: {line}", markup=False, highlight=False)
        else:
            complain(line)

    def making(self, done: int, total: int) -> None:
        """Motion clips that are made."""
        self._show("making clips", done, total, f"{done}/{total}")

    def decoded(self, done: int, total: int) -> None:
        """Clips that are in the cache."""
        self._show(f"decoding {total} clips", done, total, f"{done}/{total}")

    def pricing(self, what: str) -> None:
        """A cost is counted or measured now."""
        self.note(what)

    def begins(self, title: str, place: int, total: int) -> None:
        """A run begins."""
        self.note(f"run {place} of {total}: {title}")
        self._told.pop("training", None)

    def progress(self, progress: Report) -> None:
        """Loss, accuracy and speed of the run."""
        news = (
            f"loss {progress.loss:.3f}  top-1 {progress.top1:.1%}  "
            f"{progress.clips_per_s:.0f} clips/s"
        )
        self._show("training", progress.step, progress.steps, news)

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """A run is through."""
        self.note(f"top-1 {figures['top1']:.1%} on {figures['examples']:.0f} test clips")

    def worked(self, done: float) -> None:
        """Of all runs."""
        self._bar.update(self._all, completed=done, visible=True)

    def _show(self, what: str, done: int, total: int, news: str) -> None:
        self._bar.update(
            self._now, description=what, completed=done, total=total, news=news, visible=True
        )
        part = done * LINES // total
        if not self._console.is_terminal and part > self._told.get(what, 0):
            self._told[what] = part
            complain(f"{what} {part * 100 // LINES}%  {news}")
