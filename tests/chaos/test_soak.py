"""Twenty seconds of the soak; the long form is a command: python -m benchmarks.soak."""

from dataclasses import replace
from random import Random

import pytest

from benchmarks.soak import Allowed, soak, trends
from tests.chaos.evidence import Evidence
from tests.chaos.laws import broken
from tests.chaos.plan import Plan
from tests.chaos.processes import Holdings
from tests.chaos.report import line
from tests.chaos.watch import Scrape, Sight

SHORT = Allowed(mib=60.0, threads=6.0, descriptors=10.0)
"""A process that has run for so short a time still warms up."""


@pytest.mark.timeout(600)
def test_twenty_seconds_of_faults_leaves_nothing_behind() -> None:
    evidence = soak(seed=3, seconds=20, every_s=4)
    assert [line(one, evidence) for one in broken(evidence)] == []
    found = list(trends(evidence, SHORT))
    assert {trend.what for trend in found} == {"mib", "threads", "descriptors", "references"}
    assert {"camera", "recognizer", "publisher", "supervisor"} <= {trend.role for trend in found}
    assert [str(trend) for trend in found if not trend.flat] == []


def held_for(seconds: float, mib_per_s: float) -> Evidence:
    """A camera actor that warms up for a third of the time, and has outliers all along."""
    chance = Random(0)
    sights = [
        Sight(
            at_s=float(at_s),
            life=1,
            pid=9,
            role="camera",
            holdings=Holdings(
                mib=min(at_s, seconds / 3) + at_s * mib_per_s + 100 * (chance.random() < 0.1),
                threads=30,
                descriptors=40,
            ),
        )
        for at_s in range(int(seconds))
    ]
    nothing = Scrape(at_s=seconds, life=1, samples={})
    return Evidence(
        plan=Plan(seed=1, seconds=seconds, quiet_s=20, faults=()),
        began_s=0,
        done=[],
        scrapes=[],
        settled_after_s=1,
        unsettled="",
        paused_s=seconds,
        last=nothing,
        sights=sights,
        stored=[],
        handled=[],
        dead_letters=0,
        left_over=0,
    )


def test_a_slow_leak_is_told_from_a_warm_up_with_outliers() -> None:
    flat = {trend.what: trend for trend in trends(held_for(1200, 0.0), Allowed())}
    leaky = {trend.what: trend for trend in trends(held_for(1200, 0.03), Allowed())}
    assert flat["mib"].flat
    assert abs(flat["mib"].growth) < 1
    assert not leaky["mib"].flat
    assert 20 < leaky["mib"].growth < 28
    assert leaky["threads"].flat
    assert not replace(leaky["threads"], growth=3.0).flat
