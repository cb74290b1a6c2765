"""What a run tells while it goes on, and to whom: lines of JSON, TensorBoard, a progress bar."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from pipeline.errors import ConfigError
from pipeline.training.checkpoint import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The mean over the steps since the last one."""

    step: int
    steps: int
    clips: int
    loss: float
    top1: float
    rate: float
    """The learning rate of the last step."""
    clips_per_s: float


class Listener(Protocol):
    """Whoever wants to know."""

    def note(self, line: str) -> None:
        """Something that a user should read."""

    def progress(self, progress: Progress) -> None:
        """Some steps are done."""

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """The averaged weights were evaluated."""


class Listeners:
    """Several as one."""

    def __init__(self, *listeners: Listener) -> None:
        self._all = listeners

    def note(self, line: str) -> None:
        """Pass it on."""
        for listener in self._all:
            listener.note(line)

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        for listener in self._all:
            listener.progress(progress)

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """Pass it on."""
        for listener in self._all:
            listener.validated(step, figures)


class Log:
    """``log.jsonl``: a line per report.

    A run that goes on forgets lines of steps after its checkpoint, and the evaluation at the last
    step, which it does again.
    """

    def __init__(self, path: Path, *, after: int, last: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if _step_of(line, last) <= after]
        write_whole(path, "".join(f"{line}\n" for line in kept).encode())
        self._path = path

    def note(self, line: str) -> None:
        """Not kept."""

    def progress(self, progress: Progress) -> None:
        """Add a line."""
        self._add({"kind": "training", **asdict(progress)})

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """Add a line."""
        self._add({"kind": "validation", "step": step, **figures})

    def _add(self, record: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _step_of(line: str, last: int) -> float:
    """Its step; infinite for lines to be forgotten, such as one that a kill cut short."""
    try:
        record = json.loads(line)
        again = record["kind"] == "validation" and record["step"] == last
        return math.inf if again else float(record["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class TensorBoard:
    """Scalars for TensorBoard, by clips seen."""

    def __init__(self, folder: Path, *, clips_per_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "TensorBoard isn't installed; run: pip install 'actionstream[train]'"
            ) from None
        self._writer = SummaryWriter(str(folder))
        self._clips_per_step = clips_per_step

    def note(self, line: str) -> None:
        """Not kept."""

    def progress(self, progress: Progress) -> None:
        """Loss, accuracy, rate and speed."""
        for name in ("loss", "top1", "rate", "clips_per_s"):
            self._add(f"training/{name}", getattr(progress, name), progress.clips)

    def validated(self, step: int, figures: dict[str, float]) -> None:
        """The figures, and what was written so far goes to the disk."""
        for name, value in figures.items():
            self._add(f"validation/{name}", value, step * self._clips_per_step)
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def _add(self, name: str, value: float, clips: int) -> None:
        self._writer.add_scalar(name, value, clips)


def silent() -> Listeners:
    """Nobody."""
    return Listeners()


__all__ = ["Listener", "Listeners", "Log", "Progress", "TensorBoard", "silent"]
