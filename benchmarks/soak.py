"""Does anything grow under faults?

    python -m benchmarks.soak --minutes 20 [--seed N] [--every 10]

A real deployment with four cameras under the gentler faults of ``tests.chaos``, those that leave
its processes alive. What each process holds is noted a thousand times, be it a minute or a day.

The rule: what is held after the warm-up (a third of the time, ten minutes at most) is fitted by a
line, whose slope is the median of the slopes between its points (Theil and Sen: a few outliers
don't turn it). Along that line nothing may grow by more than ``Allowed`` until the end.
The laws of ``tests.chaos.laws`` must hold as well.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.act import Act, aloud
from tests.chaos.evidence import Evidence
from tests.chaos.laws import broken
from tests.chaos.plan import GENTLE, draw
from tests.chaos.report import line, table
from tests.chaos.stage import Stage

EVERY_S = 10.0  # between two faults
LOOKS = 1000  # at most; a look each second in a short run
POINTS = 200  # of a line: slopes between all pairs of a thousand would take seconds
PARTS = 8
WARM_UP_S = 600.0
ROLES = ("camera", "recognizer", "publisher", "supervisor", "ray gcs", "ray raylet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Growth after the warm-up that passes for none, in each process."""

    mib: float = 12.0
    """Allocators keep what a busy moment took; a leaked window a minute shows in half an hour."""
    threads: float = 2.0
    descriptors: float = 4.0
    references: float = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How one number of one process went."""

    role: str
    which: str
    what: str
    first: float
    """On the line after the warm-up."""
    growth: float
    """Along the line, until the end."""
    parts: tuple[float, ...]
    """Medians of equal parts of that time: a warm-up that goes on bends, a leak doesn't."""
    allowed: float

    @property
    def flat(self) -> bool:
        """Does it pass?"""
        return self.growth <= self.allowed

    def __str__(self) -> str:
        verdict = "flat " if self.flat else "GROWS"
        parts = " ".join(f"{part:.0f}" for part in self.parts)
        return (
            f"{verdict} {self.role:12} {self.which:22} {self.what:12} {self.first:8.1f} "
            f"{self.growth:+7.1f} (at most {self.allowed:g}): {parts}"
        )


def trends(evidence: Evidence, allowed: Allowed) -> Iterator[Trend]:
    """Of every process that was there after the warm-up, until the cameras were let go of."""
    end_s = evidence.paused_s
    warm_s = evidence.began_s + min(WARM_UP_S, (end_s - evidence.began_s) / 3)
    series: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for sight in evidence.sights:
        if sight.role in ROLES and warm_s <= sight.at_s <= end_s:
            for what in ("mib", "threads", "descriptors"):
                key = (sight.role, str(sight.pid), what)
                point = (sight.at_s, float(getattr(sight.holdings, what)))
                series.setdefault(key, []).append(point)
    for scrape in evidence.scrapes:
        if warm_s <= scrape.at_s <= end_s:
            for labels, value in scrape.rows("process_references"):
                key = (labels["role"], labels["part"], "references")
                series.setdefault(key, []).append((scrape.at_s, value))
    for (role, which, what), points in sorted(series.items()):
        if len(points) >= 3:
            first, growth = _along(points)
            limit = getattr(allowed, what)
            yield Trend(
                role=role,
                which=which,
                what=what,
                first=first,
                growth=growth,
                parts=_medians([value for _, value in points]),
                allowed=limit,
            )


def _along(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where the line begins, and how far it rises."""
    some = points[:: max(1, len(points) // POINTS)]
    slopes = [
        (later - value) / (later_s - at_s)
        for n, (at_s, value) in enumerate(some)
        for later_s, later in some[n + 1 :]
        if later_s > at_s
    ]
    slope = statistics.median(slopes)
    began_s = some[0][0]
    first = statistics.median(value - slope * (at_s - began_s) for at_s, value in some)
    return first, slope * (some[-1][0] - began_s)


def _medians(values: Sequence[float]) -> tuple[float, ...]:
    size = -(-len(values) // PARTS)
    return tuple(statistics.median(values[n : n + size]) for n in range(0, len(values), size))


def soak(seed: int, seconds: float, every_s: float = EVERY_S) -> Evidence:
    """Cameras under gentle faults for a time."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    try:
        with Stage(folder) as stage:
            plan = draw(seed, seconds, every_s=every_s, kinds=GENTLE)
            return Act(stage, plan, look_every_s=max(1.0, seconds / LOOKS)).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Does anything grow?")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between faults")
    given = parser.parse_args()
    evidence = soak(given.seed, given.minutes * 60, given.every)
    wrong = broken(evidence)
    print(table(evidence))
    found = list(trends(evidence, Allowed()))
    for trend in found:
        print(trend)
    for one in wrong:
        print(line(one, evidence))
    kept = not wrong and bool(found) and all(trend.flat for trend in found)
    aloud(f"{'ok   ' if kept else 'GROWS'} {given.minutes:g} minutes, seed {given.seed}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
