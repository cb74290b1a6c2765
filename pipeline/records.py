"""What travels between the stages: frozen records, read-only arrays, integer nanoseconds.

Axes: T pictures of a window, P = T/2 pairs, H x W pixels, C = 3 colours (RGB), K classes.
Times called ``*_ns`` are presentation times of the source; spans are half-open.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

NS = 1_000_000_000
"""Nanoseconds in a second."""

SourceKind = Literal["live", "file"]
DType = TypeVar("DType", bound=np.generic)


class Clock(StrEnum):
    """Where a time of day comes from."""

    NTP = "ntp"
    """The camera's own clock, from RTCP sender reports."""
    WALL = "wall"
    """This machine's clock, when the first picture of the session arrived."""
    CONTAINER = "container"
    """The creation time written in a file."""


class Flag(StrEnum):
    """What a reader should know about the pictures behind a score or an event."""

    GAP = "gap"
    """The session ended under the event: what came next is unknown."""
    CORRUPT = "corrupt"
    """The decoder concealed damage in at least one picture, or in one that it builds on."""
    TRUNCATED = "truncated"
    """The file holds fewer pictures than its header promises."""
    PARTIAL = "partial"
    """A tail window: its last picture stands for those that never came."""
    INTERRUPTED = "interrupted"
    """The process died while the event was open, or was stopped in the middle of its file. The end
    of a file's event is provisional then: the file is analysed again, and the event goes on."""


class EndReason(StrEnum):
    """Why a session ended."""

    END = "end"
    """The source has no more pictures."""
    STOPPED = "stopped"
    """We were asked to stop."""
    GAP = "gap"
    """No picture came for longer than ``max_gap_s``."""
    JUMP = "jump"
    """The presentation time jumped back by more than a second."""
    RESIZE = "resize"
    """The size of the picture changed."""
    RECONNECT = "reconnect"
    """The connection to the camera was lost."""
    FAILED = "failed"
    """The source can't be read any further."""


PLANNED_ENDS = frozenset({EndReason.END, EndReason.STOPPED})
"""Ends after which nothing is missing; every other end leaves a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An unbroken line of pictures on one sampling grid (live), or a whole file."""

    stream_id: str
    session_id: str
    kind: SourceKind
    sample_fps: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfDay:
    """How presentation times of a session map to the time of day."""

    clock: Clock
    offset_s: float | None
    """Unix seconds = presentation seconds + this; None where the time of day is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One grid point of a session, with the picture it shows."""

    session: Session
    ordinal: int
    grid_ns: int
    next_grid_ns: int
    """Time of the following grid point, as seen from this one."""
    pts_ns: int
    high_HWC: NDArray[np.uint8]
    corrupt: bool
    time_of_day: TimeOfDay
    arrived_s: float
    """Unix seconds at which the picture left the decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """Between two samples: the session is over, and windows must not straddle this point."""

    session: Session
    reason: EndReason
    at_ns: int
    """Presentation time of the last picture of the session."""
    truncated: bool = False

    @property
    def unfinished(self) -> bool:
        """A file that was stopped before its end, and will be looked at again as a whole."""
        return self.reason is EndReason.STOPPED and self.session.kind == "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpan:
    """Which part of which session a window covers: everything about it except its pixels."""

    session: Session
    first_ordinal: int
    last_ordinal: int
    """Inclusive; the last point that holds a picture of its own."""
    start_ns: int
    end_ns: int
    time_of_day: TimeOfDay
    arrived_s: float
    """Unix seconds at which its last picture left the decoder."""
    flags: frozenset[Flag] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """The pixels of T consecutive grid points as the network takes them: P for each branch.

    Little frames are points 0, 2, 4 … at high resolution; Big frames are points 1, 3, 5 …,
    at low resolution where the network has ``big_input="low"``, else at high.
    """

    little_PHWC: NDArray[np.uint8]
    big_PHWC: NDArray[np.uint8]

    @property
    def stream_id(self) -> str:
        """Whose they are; streams are served in turn."""
        return ""

    @property
    def shape(self) -> tuple[object, ...]:
        """One batch has one."""
        return self.little_PHWC.shape, self.big_PHWC.shape

    @property
    def nbytes(self) -> int:
        """Bytes of pixels."""
        return self.little_PHWC.nbytes + self.big_PHWC.nbytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window(Frames):
    """T consecutive grid points: their pixels, and where they stand."""

    span: WindowSpan
    pts_ns_T: NDArray[np.int64]
    """Never decreasing; equal where one picture fills several grid points."""

    @property
    def stream_id(self) -> str:
        """Whose it is."""
        return self.span.session.stream_id


class Answer(NamedTuple):
    """What the network says of some frames."""

    scores_K: NDArray[np.float32]
    """Per class, in [0, 1]; they sum to 1 unless the weights are multi-label."""
    inference_s: float
    """How long the network worked on the batch that held them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """What the network says of one window."""

    span: WindowSpan
    scores_K: NDArray[np.float32]
    """Per class, in [0, 1]; they sum to 1 unless the weights are multi-label."""
    inference_s: float = 0.0
    """How long the network worked on the batch that held the window."""
    answered_s: float | None = None
    """Unix seconds at which its stream read them."""

    @classmethod
    def of(cls, window: Window, answer: Answer) -> Self:
        """The answer to a window's frames."""
        scores_K = read_only(answer.scores_K)
        return cls(span=window.span, scores_K=scores_K, inference_s=answer.inference_s)


class EventType(StrEnum):
    """Where in the life of an action an event was published."""

    START = "start"
    UPDATE = "update"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEvent:
    """One published line about one action: it began, goes on, or ended.

    Every event of an action bears the same ``event_id``; ``seq`` counts 0, 1, 2 … within it,
    so ``(event_id, seq)`` tells a repeat from news.
    """

    event_id: str
    seq: int
    type: EventType
    stream_id: str
    label: str
    source_kind: SourceKind
    session_id: str
    label_id: int
    score: float
    """Smoothed score of the window that caused this line."""
    peak_score: float
    mean_score: float
    start_pts_s: float
    end_pts_s: float | None
    start_time: float | None
    """Unix seconds; None where the time of day is unknown."""
    end_time: float | None
    clock: Clock
    first_window: int
    """Ordinal of the first grid point of the first window that held the action."""
    last_window: int
    model_name: str
    model_digest: str
    flags: tuple[Flag, ...] = ()
    published_at: float | None = None
    """Unix seconds; stamped by the sink."""
    latency_ms: float | None = None
    """From the arrival of the window's last picture to ``published_at``; live only."""
    arrived_s: float | None = None
    """Unix seconds at which that picture left the decoder; the sink reckons with it, not stored."""
    held_pts_s: float | None = None
    """End of the last window that held it, live only: where it ends if we die now; not stored."""


def read_only(array: NDArray[DType]) -> NDArray[DType]:
    """The same array, closed for writing: Ray hands arrays back read-only, so we do from birth."""
    array.flags.writeable = False
    return array
