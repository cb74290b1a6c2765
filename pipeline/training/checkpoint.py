"""All that a run needs to go on, in one file that is there whole or not at all.

Written to a temporary file, synced, renamed: a kill or a full disk leaves the previous checkpoint.
Read without running code. Cost: three to four times the weights, in memory and on disk.
"""

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from pipeline.errors import CheckpointRefused, ConfigError, TrainingError
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
    """
    try:
        state: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        version = state["version"]
    except Exception as error:  # noqa: BLE001  torch raises a dozen kinds for damaged files
        raise CheckpointRefused(
            f"{path}: no checkpoint of a training run, or damaged ({type(error).__name__}); "
            "train into another --out"
        ) from None
    if version != VERSION:
        raise CheckpointRefused(f"{path}: of version {version}, this program reads {VERSION}")
    return state


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


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
