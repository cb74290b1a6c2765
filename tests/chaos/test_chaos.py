"""A short run of faults with one seed; the long form is a command: python -m tests.chaos.run."""

import pytest

from tests.chaos.files import killed_analysis
from tests.chaos.laws import broken
from tests.chaos.plan import Kind
from tests.chaos.report import line
from tests.chaos.run import MIN_LINES, live

SEED, SECONDS, EVERY_S = 14, 20.0, 2.0  # each part but the recognizer is killed


@pytest.mark.timeout(900)
def test_the_laws_hold_after_twenty_seconds_of_faults() -> None:
    evidence, compared = live(SEED, SECONDS, EVERY_S)
    assert [line(one, evidence) for one in [*broken(evidence), *compared.broken]] == []
    assert compared.lines >= MIN_LINES
    hit = {one.fault.kind for one in evidence.done if not one.note}
    assert {Kind.KILL_DEPLOYMENT, Kind.KILL_PUBLISHER, Kind.KILL_SUBSCRIBER} <= hit
    assert evidence.last.life == 2


@pytest.mark.timeout(600)
def test_a_file_whose_analysis_is_killed_gives_its_events_once() -> None:
    assert killed_analysis(SEED, clips=["room.webm"], kills=2) == []
