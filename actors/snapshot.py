"""How a deployment is doing, as plain values for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import SourceError
from pipeline.records import SourceKind
from pipeline.source import Source
from pipeline.tally import Tally

Role = Literal["camera", "recognizer", "publisher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSnapshot:
    """One stream."""

    stream_id: str
    kind: SourceKind
    state: str
    """See ``CameraState``."""
    since_s: float
    """Unix seconds; 0 before the first change."""
    detail: str = ""
    tally: Tally = field(default_factory=Tally)


@dataclass(slots=True, kw_only=True)
class StreamState:
    """How one stream is doing, as its camera actor says."""

    stream_id: str
    state: str = "starting"
    tally: Tally = field(default_factory=Tally)
    counted_s: float = 0.0
    """Unix seconds at which the tally was read."""
    detail: str = ""
    """What people should know about the state."""
    error: SourceError | None = None
    """What was wrong with the input."""
    lost: str | None = None
    """What was wrong with us: the stream has to be started again."""
    orphaned: bool = False
    """It was lost since another actor died."""
    fatal: str | None = None
    """What keeps events from being written: no stream can go on."""

    @property
    def done(self) -> bool:
        """No thread works on it any more."""
        return self.state in ("ended", "failed", "detached", "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A stream that a camera actor works on, for a supervisor that was not there before."""

    source: Source
    recognizer: str
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizerLoad:
    """What a recognizer has done, and what it has to do."""

    windows: int
    batches: int
    waiting: int
    """Windows that no batch has taken yet."""
    computing_s: float = 0.0
    """For how long the oldest batch that is being computed has been."""
    failures: int = 0
    """Batches in a row that could not be scored."""
    pid: int = 0

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
