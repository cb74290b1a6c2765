"""All that a run needs to go on, in one file that is there whole or not at all.

Written to a temporary file, synced, renamed: a kill or a full disk leaves the previous checkpoint.
Read without running code. Cost: three to four times the weights, in memory and on disk.
"""

import io
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict, cast, get_origin, get_type_hints

import torch
from torch import Tensor

from pipeline.bundle import check_file
from pipeline.errors import CheckpointRefused, ConfigError, TrainingError
from pipeline.model.pickled import read_pickled
from pipeline.training.config import TrainConfig, differences

VERSION = 1


class Checkpoint(TypedDict):
    """State between two steps. Random numbers need none: they follow from seed and step."""

    version: int
    config: dict[str, object]
    labels: list[str]
    examples: int
    workers: int
    step: int
    """Steps done."""
    epoch: int
    batch: int
    """The next batch of the epoch."""
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, object]
    scaler: dict[str, object]
    meter: dict[str, float]
    history: list[dict[str, float]]
    elapsed_s: float


KINDS = {name: get_origin(kind) or kind for name, kind in get_type_hints(Checkpoint).items()}
LEVELS = 8  # of dicts and lists; a checkpoint has 5
ITEMS = 1_000_000  # on one level
NO_RUN = "{path}: no checkpoint of a training run ({why}); train into another --out"


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file by another content, or leave it as it is.

    Raises:
        TrainingError: the disk is full, or the folder can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        kept = "; the one before it is still there" if path.exists() else ""
        raise TrainingError(f"{path}: can't be written: {error.strerror}{kept}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_checkpoint(path: Path, state: Checkpoint) -> None:
    """Replace the checkpoint.

    Raises:
        TrainingError: as ``write_whole``.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(path, buffer.getbuffer())  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, on the CPU.

    Raises:
        CheckpointRefused: damaged, of something else, or of another version.
        ModelError: no file, which would be waited for.
    """
    check_file(path)
    try:
        state = read_pickled(path)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{error}; or train into another --out") from None
    version = state.get("version") if isinstance(state, dict) else None
    if type(version) is int and version != VERSION:
        raise CheckpointRefused(f"{path}: of version {version}, this program reads {VERSION}")
    if not isinstance(state, dict) or not _is_shallow(state):
        raise CheckpointRefused(NO_RUN.format(path=path, why="it holds something else"))
    for name, kind in KINDS.items():
        if not isinstance(state.get(name), kind):
            why = f"its {name} is missing, or no {kind.__name__}"
            raise CheckpointRefused(NO_RUN.format(path=path, why=why))
    return cast("Checkpoint", state)


@contextmanager
def taken_over(path: Path) -> Iterator[None]:
    """Whatever a checkpoint's state can't be loaded with, within the context, is told as its fault.

    Raises:
        CheckpointRefused: names, shapes or kinds of what it holds are not those of this run.
    """
    try:
        yield
    except torch.OutOfMemoryError:  # which is the machine's fault
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError):
        why = "what it holds doesn't fit this run"
        raise CheckpointRefused(NO_RUN.format(path=path, why=why)) from None


def check_same(
    path: Path,
    state: Checkpoint,
    config: TrainConfig,
    *,
    labels: tuple[str, ...],
    examples: int,
    workers: int,
) -> None:
    """A checkpoint is of a run like this one.

    Raises:
        ConfigError: it isn't; the message names the differences.
    """
    before = {**state["config"], "training clips": state["examples"], "workers": state["workers"]}
    now = {**config.model_dump(mode="json"), "training clips": examples, "workers": workers}
    found = differences(before, now)
    if list(labels) != state["labels"]:
        found.append(f"labels: {len(state['labels'])}, now {len(labels)}, or others")
    if found:
        raise ConfigError(
            f"{path} is of a run with another config ({'; '.join(found)}); "
            "go on with the same one, or train into another --out"
        )


def _is_shallow(state: object) -> bool:
    """Whether it can be copied and compared by functions that call themselves."""
    level = [state]
    for _ in range(LEVELS):
        inner = itertools.chain.from_iterable(map(_items, level))
        level = list(itertools.islice(inner, ITEMS))
        if len(level) == ITEMS:  # the same list may be in it again and again
            return False
    return not level


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
