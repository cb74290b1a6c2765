"""Which grid points a picture fills, and where sessions end. Pure: integers in, integers out.

Point k lies at ``origin + floor(k * 10^9 / sample_fps)`` and shows the first picture at or after
that time, give or take one tick of the time base (at most 1 ms). Pictures between two points
fill none.

    points      0         1         2         3         4
    pictures    a    b      c d     . e                f         (fps vary, as they do)
    shown       a           c         e      -- gap --

A live session has a grid of its own. A file has one grid: a gap leaves points unfilled, and after
a jump back in time, where no time is left to count by, ordinals go on at the next multiple of
the hop. So any part of a file can be worked on alone and gives the windows of the whole.
"""

from dataclasses import dataclass

from pipeline.records import NS, EndReason, SourceKind
from pipeline.settings import GridSpec

MAX_TOLERANCE_NS = 1_000_000
JUMP_NS = 1 * NS  # a picture up to this much earlier is late; more, and the clock was set back


@dataclass(frozen=True, slots=True)
class Placement:
    """What the grid says of one picture."""

    ordinals: range
    """Points it fills; empty for a picture between points, or a late one."""
    late: bool = False
    """Earlier than its predecessor: to be dropped."""
    ended: EndReason | None = None
    """The session that ended right before this picture, if one did."""


BETWEEN = Placement(range(0))
"""Of most pictures: between two points."""


class Grid:
    """Sampling grid of one stream."""

    def __init__(
        self,
        spec: GridSpec,
        *,
        kind: SourceKind,
        hop: int,
        tick_ns: int,
        origin_ns: int | None = None,
    ) -> None:
        """``origin_ns`` places a part of a file on the grid of the whole."""
        period_ns = NS / spec.sample_fps
        self._period = (period_ns.numerator, period_ns.denominator)
        self._gap_ns = int(spec.max_gap_s * NS)
        self._kind = kind
        self._hop = hop
        self._tolerance_ns = min(tick_ns, MAX_TOLERANCE_NS)
        self._origin_ns = origin_ns
        self._base = 0
        """Ordinal of the point at the origin."""
        self._next = 0
        """First point not filled yet."""
        self._last_ns: int | None = None

    @property
    def last_ns(self) -> int:
        """Time of the last picture that was kept."""
        assert self._last_ns is not None
        return self._last_ns

    @property
    def origin_ns(self) -> int:
        """Time of the point from which this session (or file) counts."""
        assert self._origin_ns is not None
        return self._origin_ns

    def time_ns(self, ordinal: int) -> int:
        """Presentation time of a grid point."""
        return self.origin_ns + (ordinal - self._base) * self._period[0] // self._period[1]

    def place(self, pts_ns: int, *, resized: bool = False) -> Placement:
        """Where a picture belongs; ``resized`` tells that its size is not its predecessor's."""
        if self._last_ns is None:
            return self._begin(pts_ns)
        behind_ns = self._last_ns - pts_ns
        if behind_ns > JUMP_NS:
            return self._start_over(pts_ns, EndReason.JUMP)
        if behind_ns > 0:
            return Placement(range(0), late=True)
        if -behind_ns > self._gap_ns:
            return self._after(pts_ns, EndReason.GAP)
        if resized:
            return self._after(pts_ns, EndReason.RESIZE)
        return self._fill(pts_ns)

    def _begin(self, pts_ns: int) -> Placement:
        if self._origin_ns is None:
            self._origin_ns = pts_ns
        elif pts_ns > self._origin_ns:  # the unseen predecessor may have filled this point
            self._next = max(0, self._point_at(pts_ns) + 1)
        return self._fill(pts_ns)

    def _fill(self, pts_ns: int, ended: EndReason | None = None) -> Placement:
        self._last_ns = pts_ns
        begin, end = self._next, self._point_at(pts_ns) + 1
        if end <= begin and ended is None:
            return BETWEEN
        self._next = max(begin, end)
        return Placement(range(begin, self._next), ended=ended)

    def _after(self, pts_ns: int, ended: EndReason) -> Placement:
        """Go on after a hole in time: a file keeps its grid, a camera gets a new one."""
        if self._kind == "live":
            return self._start_over(pts_ns, ended)
        self._next = max(self._next, self._point_at(pts_ns))
        return self._fill(pts_ns, ended)

    def _start_over(self, pts_ns: int, ended: EndReason) -> Placement:
        self._base = 0 if self._kind == "live" else -(-self._next // self._hop) * self._hop
        self._origin_ns = pts_ns
        self._next = self._base
        return self._fill(pts_ns, ended)

    def _point_at(self, pts_ns: int) -> int:
        """The last point at or before a time, within the tolerance."""
        since_ns = pts_ns + self._tolerance_ns - self.origin_ns
        return self._base - (-(since_ns + 1) * self._period[1] // self._period[0]) - 1
