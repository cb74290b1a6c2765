"""How a deployment is doing, as plain values for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.records import SourceKind
from pipeline.tally import Tally

Role = Literal["camera", "recognizer", "publisher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSnapshot:
    """One stream."""

    stream_id: str
    kind: SourceKind
    state: str
    """See ``CameraState``; or ``lost``, for the moment until it is started again."""
    since_s: float
    """Unix seconds; 0 before the first change."""
    detail: str = ""
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizerLoad:
    """What a recognizer has done, and what it has to do."""

    windows: int
    batches: int
    waiting: int
    """Windows that no batch has taken yet."""

    @property
    def mean_batch(self) -> float:
        """Windows per batch so far."""
        return self.windows / max(1, self.batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSnapshot:
    """One actor's process."""

    name: str
    role: Role
    pid: int | None
    """None: it did not answer in time, or isn't there."""
    load: RecognizerLoad | None = None
    """Of a recognizer that answered."""
