"""What a data set is, before anything is decoded: files, spans of them, labels, and their flips."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled clip: a video, a span of one, or a folder of numbered pictures."""

    path: Path
    label: int
    key: str
    """The path relative to the data set's root, with the span if there is one; for reports."""
    start_s: float | None = None
    """Seconds from the first picture of the video."""
    end_s: float | None = None
    """Exclusive."""
    first_frame: int | None = None
    """Counted from 1, as the names of extracted frames are."""
    last_frame: int | None = None
    """Inclusive; beyond the end means the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One split of a data set."""

    name: str
    root: Path
    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    mirror: tuple[int | None, ...]
    """Per label, the label of the clip seen in a mirror; None where it may not be mirrored."""
    reverse: tuple[int | None, ...]
    """Per label, the label of the clip played backwards; None where it may not be."""
    missing: tuple[str, ...] = ()
    """Keys of examples that the layout names and whose files are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An example that can't be used, and why."""

    key: str
    reason: str
