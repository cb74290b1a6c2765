"""What became of one stream's pictures and windows: nothing is lost without being counted.

The laws that hold whenever a stream has ended (``balance`` checks them):

    pictures       = sampled + skipped + dropped by reason
    windows made   = scored + dropped by reason

Each count is written by one thread only, so none needs a lock.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields

from pipeline.errors import SourceError
from pipeline.latency import WindowLatency

OF_NOW = frozenset("state since_s truncated hanging length_ns position_ns ring_bytes".split())
"""What isn't counted, but is so at the moment."""


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
    """Pictures by reason: late; single (all that a file holds); lost (their process died)."""
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
    """Windows made but never scored, by reason: overload; stopped; failed; lost, as above."""
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
    hanging: int = 0
    """Those of them that had not come back when it was last looked."""
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

    def close_accounts(self) -> None:
        """Count as lost what its process had made and not accounted for when it died.

        The last that is known of it may be no picture of one moment: what is accounted for came.
        """
        pictures = self.pictures - (self.sampled + self.skipped + self.dropped.total())
        self.dropped["lost"] += max(0, pictures)
        self.pictures += max(0, -pictures)
        windows = self.windows - (self.scored + self.windows_dropped.total())
        self.windows_dropped["lost"] += max(0, windows)
        self.windows += max(0, -windows)

    def after(self, before: "Tally") -> "Tally":
        """These counts on top of those from before the stream was started again."""
        both = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, count in both.items():
            if name not in OF_NOW:
                both[name] = getattr(before, name) + count
        return Tally(**both)

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


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one stream came to."""

    stream_id: str
    tally: Tally
    error: SourceError | None = None
