"""Raw timestamps -> presentation times in nanoseconds that can be trusted to be there.

A first picture without a timestamp (every RTSP stream begins so) takes the next picture's minus
its own duration. A later one takes its predecessor's plus the predecessor's duration. MPEG-TS
counts 90 kHz in 33 bits; a wrap is undone. Nothing here decides about gaps and jumps: that is
the grid's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from pipeline.records import NS

Item = TypeVar("Item")

WRAP = 1 << 33  # MPEG-TS, ISO/IEC 13818-1 2.4.3.7: 33 bits of 90 kHz
WRAP_TIME_BASE = Fraction(1, 90_000)
FARTHEST_NS = 1 << 62  # 146 years: beyond is damage, and wouldn't fit 64 bits


@dataclass(slots=True)
class _Held(Generic[Item]):
    item: Item
    duration: int


class Timeline(Generic[Item]):
    """Gives each picture of one connection its time; holds back at most the first one."""

    def __init__(self, time_base: Fraction, *, nominal_fps: Fraction | None) -> None:
        self.time_base = time_base
        self._wraps = time_base == WRAP_TIME_BASE
        self.untimed = 0
        tick_ns = NS * time_base
        self._tick = (tick_ns.numerator, tick_ns.denominator)
        self._farthest = int(FARTHEST_NS / tick_ns)
        self._nominal = _ticks(nominal_fps, time_base)
        self._held: _Held[Item] | None = None
        self._offset = 0
        self._last: int | None = None
        self._last_duration = self._nominal
        self._step = 0

    @property
    def tick_ns(self) -> int:
        """One tick of the time base, at least 1 ns."""
        return max(1, int(NS * self.time_base))

    @property
    def end_ns(self) -> int:
        """Time at which the latest picture ends, by its duration or the step that led to it."""
        assert self._last is not None
        return int((self._last + max(self._last_duration, self._step)) * NS * self.time_base)

    def push(
        self, item: Item, *, pts: int | None, duration: int | None
    ) -> Iterator[tuple[Item, int]]:
        """Pictures whose time is now known, in order, with that time in nanoseconds."""
        duration = duration or self._nominal
        if pts is not None and abs(pts) > self._farthest:
            pts = None
        if self._last is None:
            if pts is None and self._held is None:
                self._held = _Held(item, duration)
                return
            yield from self._begin(pts)
        if pts is None:
            self.untimed += 1
            assert self._last is not None
            pts = self._last + self._last_duration
        else:
            pts = self._unwrapped(pts)
        yield item, self._stamp(pts, duration)

    def raw_pts(self, time_ns: int) -> int:
        """The timestamp, as the packets have it, at this time or right before."""
        return time_ns * self._tick[1] // self._tick[0] - self._offset

    def flush(self) -> Iterator[tuple[Item, int]]:
        """The picture that waited for a second one that never came."""
        if self._last is None:
            yield from self._begin(None)

    def _begin(self, next_pts: int | None) -> Iterator[tuple[Item, int]]:
        held, self._held = self._held, None
        if held is None:
            return
        self.untimed += 1
        pts = 0 if next_pts is None else next_pts - held.duration
        yield held.item, self._stamp(pts, held.duration)

    def _unwrapped(self, pts: int) -> int:
        pts += self._offset
        if self._wraps and self._last is not None:
            turns = round((self._last - pts) / WRAP)  # a jump of under half a turn is a jump
            self._offset += turns * WRAP
            pts += turns * WRAP
        return pts

    def _stamp(self, pts: int, duration: int) -> int:
        self._step = 0 if self._last is None else pts - self._last
        self._last, self._last_duration = pts, duration
        return pts * self._tick[0] // self._tick[1]


def _ticks(fps: Fraction | None, time_base: Fraction) -> int:
    """Duration of a picture at the nominal rate; 25 per second where no rate is known."""
    return max(1, round(1 / ((fps or Fraction(25)) * time_base)))
