"""Each law finds what it is there to find, and lets pass what is in order."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.records import ActionEvent, EventType, Flag
from tests.chaos.compare import compare
from tests.chaos.evidence import Broken, Done, Evidence
from tests.chaos.laws import broken
from tests.chaos.plan import Fault, Kind, Plan
from tests.chaos.processes import Holdings
from tests.chaos.report import line
from tests.chaos.watch import Scrape, Sight

BEGAN_S = 1000.0
KILL = Fault(at_s=10.0, kind=Kind.KILL_PUBLISHER, target="deployment")
Make = Callable[..., ActionEvent]
Spoil = Callable[[Evidence], Evidence]


def life(make_event: Make, name: str, at_s: float, **end: object) -> list[ActionEvent]:
    """A start, an update and an end, from this moment on."""
    usual = {"event_id": name, "session_id": f"session of {name}", "start_pts_s": 2.0}
    lines = [
        make_event(0, type=EventType.START, published_at=at_s, **usual),
        make_event(1, type=EventType.UPDATE, published_at=at_s + 5, **usual),
    ]
    usual |= {"end_pts_s": 14.0, "type": EventType.END, "published_at": at_s + 12, **end}
    return [*lines, make_event(2, **usual)]


def scrape(at_s: float, **counts: float) -> Scrape:
    usual = {
        "pictures_in_total": 100.0,
        "pictures_total": 100.0,
        "windows_made_total": 10.0,
        "windows_total": 10.0,
        "events_total": 6.0,
    }
    samples = {name: {(("stream", "door"),): value} for name, value in (usual | counts).items()}
    return Scrape(at_s=at_s, life=1, samples=samples)


@pytest.fixture
def lawful(make_event: Make) -> Evidence:
    """Two events, of which the first was open when the publisher was killed."""
    first = life(make_event, "first", BEGAN_S + 1, flags=(Flag.INTERRUPTED,))
    stored = [*first, *life(make_event, "second", BEGAN_S + 30)]
    kill = Done(at_s=BEGAN_S + 8, over_s=BEGAN_S + 8, fault=KILL, begins=True)
    held = Holdings(mib=100, threads=50, descriptors=50)
    return Evidence(
        plan=Plan(seed=7, seconds=60, quiet_s=20, faults=(KILL,)),
        began_s=BEGAN_S,
        done=[kill],
        scrapes=[scrape(BEGAN_S + 5, windows_total=8.0), scrape(BEGAN_S + 20)],
        settled_after_s=3.0,
        unsettled="",
        paused_s=BEGAN_S + 70,
        last=scrape(BEGAN_S + 75),
        sights=[Sight(at_s=BEGAN_S, life=1, pid=9, role="camera", holdings=held)],
        stored=stored,
        handled=[(event.event_id, event.seq) for event in [*stored, stored[0]]],
        dead_letters=0,
        left_over=0,
        exit_codes={"deployment": 0, "subscriber": 0},
    )


def test_evidence_in_order_breaks_no_law(lawful: Evidence) -> None:
    assert broken(lawful) == []


@pytest.mark.parametrize(("latency_ms", "laws"), [(19_000.0, []), (50.0, ["interrupted only by"])])
def test_a_line_that_waited_on_disk_is_as_old_as_its_window(
    lawful: Evidence, latency_ms: float, laws: list[str]
) -> None:
    """What was open at the kill goes to Redis long after it, start and end together."""
    late = [
        replace(line, published_at=BEGAN_S + 20, latency_ms=latency_ms)
        for line in lawful.stored[:3]
    ]
    found = broken(replace(lawful, stored=[*late, *lawful.stored[3:]]))
    assert [each.law[:19] for each in found] == laws


def without(at: int) -> Spoil:
    return lambda it: replace(it, stored=[*it.stored[:at], *it.stored[at + 1 :]])


def changed(at: int, **said: object) -> Spoil:
    def spoil(it: Evidence) -> Evidence:
        lines = [replace(one, **said) if n == at else one for n, one in enumerate(it.stored)]  # type: ignore[arg-type]
        return replace(it, stored=lines)

    return spoil


SPOILT: dict[str, tuple[str, Spoil]] = {
    "a picture that vanished": (
        "nothing is lost silently",
        lambda it: replace(it, last=scrape(it.last.at_s, pictures_total=99.0)),
    ),
    "a window that vanished": (
        "nothing is lost silently",
        lambda it: replace(it, last=scrape(it.last.at_s, windows_total=9.0)),
    ),
    "windows that pile up": (
        "nothing is lost silently",
        lambda it: replace(it, scrapes=[scrape(BEGAN_S + 5, windows_total=4.0)]),
    ),
    "a count that begins anew": (
        "counts don't fall",
        lambda it: replace(it, last=scrape(it.last.at_s, pictures_in_total=9, pictures_total=9)),
    ),
    "a line twice": (
        "each event is 0, 1, 2 … and ends once",
        lambda it: replace(it, stored=[it.stored[0], *it.stored]),
    ),
    "a hole": ("each event is 0, 1, 2 … and ends once", without(1)),
    "no end": ("each event is 0, 1, 2 … and ends once", without(5)),
    "two ends": ("each event is 0, 1, 2 … and ends once", changed(4, type=EventType.END)),
    "an end that a kill made, unsaid": ("a kill interrupts what is open", changed(2, flags=())),
    "interrupted by nothing": (
        "interrupted only by a kill",
        changed(5, flags=(Flag.INTERRUPTED,)),
    ),
    "an end before its start": ("times never decrease within a session", changed(5, end_pts_s=1.0)),
    "a window that goes back": ("times never decrease within a session", changed(4, last_window=9)),
    "a start that goes back": (
        "times never decrease within a session",
        changed(3, session_id="session of first", first_window=8),
    ),
    "an event that is counted and gone": (
        "an event that exists is in Redis",
        lambda it: replace(it, last=scrape(it.last.at_s, events_total=7.0)),
    ),
    "an event that the subscriber misses": (
        "the subscriber gets every event",
        lambda it: replace(it, handled=it.handled[1:-1]),
    ),
    "a dead letter": (
        "the subscriber gets every event",
        lambda it: replace(it, dead_letters=1),
    ),
    "an event left on disk": (
        "the outbox is empty at the end",
        lambda it: replace(it, left_over=1),
    ),
    "a camera that is down": (
        "all is well again after the faults",
        lambda it: replace(it, settled_after_s=None, unsettled="cameras are …"),
    ),
    "threads that grow": (
        "memory, threads and descriptors are bounded",
        lambda it: replace(
            it,
            sights=[replace(it.sights[0], holdings=Holdings(mib=100, threads=999, descriptors=50))],
        ),
    ),
    "an end in disorder": (
        "SIGTERM ends in order",
        lambda it: replace(it, exit_codes={"deployment": 1}),
    ),
    "a process that stays": ("no process is left", lambda it: replace(it, left=["ray::Camera"])),
    "a traceback": (
        "no traceback",
        lambda it: replace(it, said="Traceback (most recent call last): …"),
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_law_that_is_broken_is_said_in_a_line_with_the_seed_and_the_fault(
    lawful: Evidence, what: str
) -> None:
    law, spoil = SPOILT[what]
    wrong = broken(spoil(lawful))
    assert law in {one.law for one in wrong}
    said = [line(one, lawful) for one in wrong]
    assert all("\n" not in one and "seed 7" in one for one in said)
    assert all("before it: " in one for one in said)


def test_a_line_names_the_fault_before_and_not_one_after(lawful: Evidence) -> None:
    early = Broken(law="a law", values="some", at_s=BEGAN_S + 2)
    assert "before it: no fault" in line(early, lawful)
    assert "at 9.0 s, seed 7; before it: kill -9 of the publisher" in line(
        replace(early, at_s=BEGAN_S + 9), lawful
    )


def test_a_camera_without_events_has_nothing_to_compare(lawful: Evidence) -> None:
    assert compare(lawful, {}).lines == 0
