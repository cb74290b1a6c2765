"""How long the windows of a stream took, stage by stage; counters that travel with its tally.

    decode       a camera's packet came      -> its picture is decoded (and made small, if sampled);
                 one that nobody waited for counts from when it was wanted
    window       last picture left decoder   -> its window is handed on
    queue        handed on                   -> scores are read by their stream, less the inference
    inference    the network's work on the batch that held it
    publish      scores are read             -> their events are on disk, or with the sink
    end_to_end   last picture left decoder   -> the same; window + queue + inference + publish

A picture's way through the decoder's own delay (B-frames) isn't seen. Times of one process are told
by its own clock; where actors run on several machines, ``end_to_end`` is as good as their clocks.
Cost: a bisection per observation, less than a microsecond.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.records import Scores, SessionEnd

BOUNDS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 30.0),
)
"""Upper ends of the buckets, inclusive; one more has no end. From a small network's forward pass
to more than anything may wait: a camera's packets at most 2 s, two windows in a lane. Those of a
heavy network take seconds; between bounds that are far apart, a quantile is mostly a guess."""


def _empty() -> list[int]:
    return [0] * (len(BOUNDS_S) + 1)


@dataclass(slots=True, kw_only=True)
class Histogram:
    """Durations, counted in buckets. Written by one thread at a time."""

    counts: list[int] = field(default_factory=_empty)
    sum_s: float = 0.0

    def observe(self, duration_s: float) -> None:
        """Count one; a clock that was set back gives 0."""
        duration_s = max(0.0, duration_s)
        self.counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def quantile_s(self, share: float) -> float:
        """About the duration that this share of them didn't exceed; 0 where there are none.

        Within a bucket they are taken for evenly spread; beyond the last bound, for the bound.
        """
        wanted, below, begin_s = share * self.total, 0, 0.0
        for end_s, count in zip(BOUNDS_S, self.counts, strict=False):
            if count and below + count >= wanted:
                return begin_s + (end_s - begin_s) * max(0.0, wanted - below) / count
            below, begin_s = below + count, end_s
        return begin_s if self.total else 0.0

    def __add__(self, other: "Histogram") -> "Histogram":
        """Both together."""
        return self._with(other, 1)

    def __sub__(self, earlier: "Histogram") -> "Histogram":
        """What came since an earlier state of it."""
        return self._with(earlier, -1)

    def _with(self, other: "Histogram", sign: int) -> "Histogram":
        counts = [a + sign * b for a, b in zip(self.counts, other.counts, strict=True)]
        return Histogram(counts=counts, sum_s=self.sum_s + sign * other.sum_s)

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Upper end in seconds (infinity, at last) and how many took no longer."""
        below = 0
        for bound_s, count in zip((*BOUNDS_S, float("inf")), self.counts, strict=True):
            below += count
            yield bound_s, below


@dataclass(slots=True, kw_only=True)
class WindowLatency:
    """Up to the scores: what is counted where a stream is decoded."""

    decode: Histogram = field(default_factory=Histogram)
    window: Histogram = field(default_factory=Histogram)
    queue: Histogram = field(default_factory=Histogram)
    inference: Histogram = field(default_factory=Histogram)

    def __add__(self, other: "WindowLatency") -> "WindowLatency":
        """Both together."""
        return WindowLatency(
            decode=self.decode + other.decode,
            window=self.window + other.window,
            queue=self.queue + other.queue,
            inference=self.inference + other.inference,
        )


@dataclass(slots=True, kw_only=True)
class PublishLatency:
    """From the scores on: what is counted where events are written."""

    publish: Histogram = field(default_factory=Histogram)
    end_to_end: Histogram = field(default_factory=Histogram)

    def took(self, answers: Iterable[Scores | SessionEnd], now_s: float) -> None:
        """Count what was published just now, in Unix seconds."""
        for answer in answers:
            if isinstance(answer, Scores) and answer.answered_s is not None:
                self.publish.observe(now_s - answer.answered_s)
                self.end_to_end.observe(now_s - answer.span.arrived_s)
