"""What people see of training and evaluation: a bar, and a line now and then."""

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from actors.cli.show import complain
from pipeline.training.data import Views
from pipeline.training.listen import Progress as Report

LINES = 20  # per run, where standard error is no terminal


class TrainingBar:
    """A bar on standard error; where that is no terminal, a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[news]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._told = 0

    def __enter__(self) -> "TrainingBar":
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

    def decoded(self, done: int, total: int) -> None:
        """Clips that are in the cache."""
        self._show("decoding", done, total, "clips")

    def counted(self, views: Iterable[Views], total: int, what: str = "scoring") -> Iterator[Views]:
        """The same, counted on the bar."""
        done = 0
        for batch in views:
            yield batch
            done += len(batch.keys)
            self._show(what, done, total, "clips")

    def progress(self, progress: Report) -> None:
        """Loss, accuracy and speed."""
        news = (
            f"steps  loss {progress.loss:.3f}  top-1 {progress.top1:.1%}  "
            f"{progress.clips_per_s:.0f} clips/s"
        )
        self._show("training", progress.step, progress.steps, news)
        part = progress.step * LINES // progress.steps
        if not self._console.is_terminal and part > self._told:
            self._told = part
            complain(f"step {progress.step}/{progress.steps} {news.removeprefix('steps  ')}")

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """A line with the figures."""
        self.note(
            f"step {step}: validation top-1 {figures['top1']:.1%}, top-5 {figures['top5']:.1%}, "
            f"loss {figures['loss']:.3f}"
        )

    def _show(self, what: str, done: int, total: int, news: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total, news=news)
        self._bar.update(self._tasks[what], completed=done, total=total, news=news)
