"""What became of one stream's pictures and windows: nothing is lost without being counted.

The laws that hold whenever a stream has ended (``balance`` checks them):

    pictures       = sampled + skipped + dropped by reason
    windows made   = scored + dropped by reason

Each count is written by one thread only, so none needs a lock.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field

from pipeline.latency import WindowLatency


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of one stream since it began."""

    pictures: int = 0
    """Pictures that came out of the decoder."""
    sampled: int = 0
    """Pictures that fill at least one grid point."""
    skipped: int = 0
    """Pictures between two grid points."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Pictures that broke a rule, by reason: late; single (all that a file holds)."""
    points: int = 0
    """Grid points filled."""
    repeated: int = 0
    """Grid points that show the same picture as the point before."""
    untimed: int = 0
    """Pictures whose time had to be derived from their neighbours."""
    corrupt: int = 0
    """Pictures in which the decoder concealed damage, and those after them up to a key frame."""
    damaged_packets: int = 0
    """Packets that the decoder refused."""
    truncated: bool = False
    """The file holds less than its header promises."""
    sessions: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    """Sessions that ended with something missing, by reason."""
    short_sessions: int = 0
    """Live sessions too short for a window."""
    unwindowed: int = 0
    """Grid points that stand before the first window of their session."""
    windows: int = 0
    partial: int = 0
    scored: int = 0
    windows_dropped: Counter[str] = field(default_factory=Counter)
    """Windows made but never scored, by reason: overload, stopped."""
    events: int = 0
    packets_dropped: Counter[str] = field(default_factory=Counter)
    """A camera's packets that never reached the decoder, by reason: overload; no key frame yet."""
    state: str = "starting"
    """What the camera is doing; see ``CameraState``."""
    since_s: float = 0.0
    """Unix seconds at which it began to."""
    states: Counter[str] = field(default_factory=Counter)
    """How often it came into each state."""
    reconnects: int = 0
    """Connections that failed or were lost."""
    faults: Counter[str] = field(default_factory=Counter)
    """Why they did; see ``Fault``."""
    hung: int = 0
    """Threads that were left behind in FFmpeg, because they didn't come back in time."""
    length_ns: int = 0
    """How long the file is by its header; 0 where it doesn't say."""
    position_ns: int = 0
    """Presentation time of the latest picture, from the first one of its session or file."""

    ring_bytes: int = 0
    """Bytes of pixels in the ring of its latest connection."""
    latency: WindowLatency = field(default_factory=WindowLatency, compare=False)
    """How long its windows took."""

    def enter(self, state: str, at_s: float) -> None:
        """Count a change of state, at a time in Unix seconds."""
        self.states[state] += 1
        self.state, self.since_s = state, at_s

    def balance(self) -> list[str]:
        """The laws that are broken, in words; empty when nothing was lost silently."""
        wrong = []
        pictures = self.sampled + self.skipped + self.dropped.total()
        if self.pictures != pictures:
            wrong.append(f"{self.pictures} pictures came, {pictures} are accounted for")
        windows = self.scored + self.windows_dropped.total()
        if self.windows != windows:
            wrong.append(f"{self.windows} windows were made, {windows} are accounted for")
        return wrong

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON and for a trip between processes."""
        return asdict(self)
