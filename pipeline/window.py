"""window: samples in, overlapping windows out, at the two resolutions that a network wants.

In: the samples of a stream and the ends of its sessions. Out: ``Window``s of T grid points, each
beginning at a multiple of ``hop``; at a session's end, one tail window if a sample is in none yet.

    points   0 1 2 3 4 5 6 7 8 9|end           T = 4, hop = 2
             [0------)
                 [2------)
                     [4------)
                         [6------)             8 and 9 are in no window yet:
                             [8------)         the tail; 9 stands for the two points that never came

The rule that is easy to get wrong: a window never straddles the end of a session.
Cost: ``ring_bytes`` per stream, one copy of a window's pixels when it is made, and for a network
that wants its Big frames small, one halving per pair: a window begins at an even ordinal, so these
are the odd ones, and at a tail its last.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.records import (
    PLANNED_ENDS,
    Flag,
    Sample,
    SessionEnd,
    TimeOfDay,
    Window,
    WindowSpan,
    read_only,
)
from pipeline.settings import WindowSpec
from pipeline.tally import Tally


def ring_bytes(spec: WindowSpec, size_px: int) -> int:
    """Bytes of pixels that one stream's ring holds: T pictures, and T/2 at half the size if the
    network wants its Big frames so.
    """
    low = spec.frames // 2 * (size_px // 2) ** 2 if spec.big_input == "low" else 0
    return 3 * (spec.frames * size_px**2 + low)


@dataclass(slots=True)
class _Point:
    """What the ring remembers of a sample, beside its pixels."""

    ordinal: int
    grid_ns: int
    next_grid_ns: int
    pts_ns: int
    corrupt: bool
    time_of_day: TimeOfDay
    arrived_s: float


class Windower:
    """Makes the windows of one stream."""

    def __init__(self, spec: WindowSpec, *, size_px: int, tally: Tally) -> None:
        self._spec = spec
        self._tally = tally
        half, pairs = size_px // 2, spec.frames // 2
        self._high_THWC = np.zeros((spec.frames, size_px, size_px, 3), np.uint8)
        self._low_PHWC: NDArray[np.uint8] | None = None
        """Big frames at half the size, where they are wanted so."""
        if spec.big_input == "low":
            self._low_PHWC = np.zeros((pairs, half, half, 3), np.uint8)
        tally.ring_bytes = self.nbytes
        self._forget()

    @property
    def nbytes(self) -> int:
        """Bytes of pixels in the ring."""
        return self._high_THWC.nbytes + (0 if self._low_PHWC is None else self._low_PHWC.nbytes)

    @property
    def due(self) -> int:
        """Ordinal of the sample that completes the next window; 0 before a session's first."""
        return self._start + self._spec.frames - 1 if self._points else 0

    def push(self, sample: Sample) -> Window | None:
        """The window that this sample completes, if it does."""
        if not self._points:
            self._start = -(-sample.ordinal // self._spec.hop) * self._spec.hop
            self._covered = self._start
        self._high_THWC[sample.ordinal % self._spec.frames] = sample.high_HWC
        if sample.ordinal % 2:
            self._keep_low(sample.ordinal)
        self._points.append(
            _Point(
                ordinal=sample.ordinal,
                grid_ns=sample.grid_ns,
                next_grid_ns=sample.next_grid_ns,
                pts_ns=sample.pts_ns,
                corrupt=sample.corrupt,
                time_of_day=sample.time_of_day,
                arrived_s=sample.arrived_s,
            )
        )
        self._count += 1
        if sample.ordinal < self._start:
            self._tally.unwindowed += 1
        if sample.ordinal < self.due:
            return None
        return self._window(sample)

    def end(self, end: SessionEnd) -> Window | None:
        """The tail window of a session, if one is due; the ring is empty afterwards."""
        self._tally.sessions += 1
        if end.reason not in PLANNED_ENDS:
            self._tally.gaps[end.reason.value] += 1
        tail = None
        if self._points:
            tail = self._tail(end)
        self._forget()
        return tail

    def _tail(self, end: SessionEnd) -> Window | None:
        last = self._points[-1]
        too_short = self._count < self._spec.frames // 2
        if end.session.kind == "live" and too_short:
            self._tally.short_sessions += 1
            return None
        if last.ordinal < self._covered or end.unfinished:
            return None
        self._keep_low(last.ordinal)  # it may stand for a Big frame that never came
        self._tally.partial += 1
        flags = {Flag.PARTIAL} | ({Flag.TRUNCATED} if end.truncated else set())
        return self._made(end, self._start, last.ordinal, flags)

    def _window(self, sample: Sample) -> Window:
        window = self._made(sample, self._start, sample.ordinal, set())
        self._covered = self._start + self._spec.frames
        self._start += self._spec.hop
        return window

    def _made(self, of: Sample | SessionEnd, first: int, last: int, flags: set[Flag]) -> Window:
        points = [point for point in self._points if point.ordinal >= first]
        if any(point.corrupt for point in points):
            flags.add(Flag.CORRUPT)
        newest = points[-1]
        span = WindowSpan(
            session=of.session,
            first_ordinal=first,
            last_ordinal=last,
            start_ns=points[0].grid_ns,
            end_ns=newest.next_grid_ns,
            time_of_day=newest.time_of_day,
            arrived_s=newest.arrived_s,
            flags=frozenset(flags),
        )
        T = self._spec.frames
        shown = np.minimum(np.arange(first, first + T), last)
        times = [points[ordinal - first].pts_ns for ordinal in shown]
        self._tally.windows += 1
        return Window(
            span=span,
            pts_ns_T=read_only(np.array(times, np.int64)),
            little_PHWC=read_only(self._high_THWC[shown[0::2] % T]),
            big_PHWC=read_only(self._big(shown[1::2])),
        )

    def _keep_low(self, ordinal: int) -> None:
        """Halve a picture of the ring, as its pair's Big frame."""
        if self._low_PHWC is not None:
            high_HWC = self._high_THWC[ordinal % self._spec.frames]
            self._low_PHWC[ordinal // 2 % len(self._low_PHWC)] = halve(high_HWC)

    def _big(self, ordinals: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._low_PHWC is None:
            return self._high_THWC[ordinals % self._spec.frames]
        return self._low_PHWC[ordinals // 2 % len(self._low_PHWC)]

    def _forget(self) -> None:
        self._points: deque[_Point] = deque(maxlen=self._spec.frames)
        self._count = 0
        self._start = 0
        """First ordinal of the next window."""
        self._covered = 0
        """First ordinal that no window holds yet."""


def halve(high_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2x2 block, rounded half up; height and width must be even."""
    height, width, channels = high_HWC.shape
    rows: NDArray[np.uint16] = np.add(high_HWC[0::2], high_HWC[1::2], dtype=np.uint16).reshape(-1)
    blocks = rows[:-channels] + rows[channels:]  # of each pixel; every second one is wanted
    blocks += 2
    blocks >>= 2
    pixels = blocks.astype(np.uint8).view(np.dtype((np.void, channels)))
    return pixels[0::2].copy().view(np.uint8).reshape(height // 2, width // 2, channels)
