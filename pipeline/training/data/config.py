"""What a user may set about a data set."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Format = Literal[
    "auto",
    "folders",
    "motions",
    "something-v1",
    "something-v2",
    "kinetics",
    "moments",
    "list",
]
Sampling = Literal["uniform", "dense"]


class DataConfig(BaseModel):
    """A data set, and how clips are taken from its videos. Paths are relative to ``root``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    format: Format = "auto"
    train: str = "train"
    """The split to train on, as ``open_dataset`` takes it."""
    validation: str = "validation"
    lists: dict[str, Path] = Field(default_factory=dict)
    """Format ``list``: the list file of each split."""
    labels: Path | None = None
    """A text file with a label per line, where the layout has none or another one counts."""
    videos: Path | None = None
    """The folder that the paths in lists start from, where it isn't where the layout has it."""
    mirror: dict[str, str | None] | None = None
    """Label -> label in a mirror; null: never mirror it; a label that isn't named keeps its own.
    By default left and right are exchanged in the labels' texts."""
    reverse: dict[str, str | None] | None = None
    """Label -> label when played backwards, likewise. By default nothing is played backwards."""
    sampling: Sampling = "uniform"
    stride: int = Field(default=1, ge=1)
    """Dense sampling takes every so manieth picture."""
    short_side_px: int | None = Field(default=None, ge=32, multiple_of=2)
    """Pictures are scaled to this before they are cropped; by default 9/8 of the crop."""
    max_broken: float = Field(default=0.05, ge=0, le=1)
    """Share of examples that may be broken or missing; more stops the run."""
    cache: Path | None = None
    """A folder for decoded clips, relative to the working directory. For sets that fit a disk."""
    cache_frames: int | None = Field(default=None, ge=1)
    """Pictures that the cache keeps of each clip, spread evenly; by default three times as many
    as the network takes. Dense sampling keeps all."""
    workers: int | None = Field(default=None, ge=1)
    """Decoders side by side; by default one per CPU core."""
