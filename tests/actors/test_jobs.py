"""Streams that go from one camera actor to the next, without any actor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actors.jobs import (
    AGAIN_S,
    MAX_AGAIN_S,
    MAX_ATTEMPTS,
    MAX_DETACHED,
    MAX_ORPHANED,
    Job,
    Jobs,
)
from actors.publishing import Heard
from actors.snapshot import StreamState
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.source import CameraSource, FileSource, parse_address
from pipeline.tally import Tally

GATE = CameraSource(stream_id="gate", address=parse_address("rtsp://127.0.0.1/gate"))
ROOM = FileSource(path=Path("room.mp4"), stream_id="room")


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(clock: Clock) -> Jobs:
    jobs = Jobs(now=clock, running={"camera-0": {}, "camera-1": {}})
    for source in (GATE, ROOM):
        jobs.add(Job(source=source, recognizer="recognizer-0"))
    return jobs


def say(jobs: Jobs, camera: str, stream_id: str, state: str) -> None:
    jobs.note(camera, StreamState(stream_id=stream_id, state=state))


def test_nothing_is_about_to_change_once_every_camera_does_what_it_should(jobs: Jobs) -> None:
    jobs.waiting.pop()  # the file
    assert not jobs.calm, "one waits"
    jobs.hand_out("camera-0", 1)
    assert not jobs.calm, "one starts"
    say(jobs, "camera-0", "gate", "streaming")
    assert jobs.calm
    job = jobs.running["camera-0"]["gate"]
    job.paused = True
    assert not jobs.calm, "one is to be paused"
    say(jobs, "camera-0", "gate", "paused")
    assert jobs.calm
    job.detached = True
    assert not jobs.calm, "one is to go"


def test_a_file_may_end_at_any_time(jobs: Jobs) -> None:
    jobs.waiting.popleft()  # the camera
    jobs.hand_out("camera-0", 1)
    say(jobs, "camera-0", "room", "streaming")
    assert not jobs.calm


def die(jobs: Jobs, camera: str) -> list[str]:
    """The camera actor dies; which of its streams go again."""
    return [job.stream_id for job in jobs.lost(camera) if jobs.again(job, "it died")]


def test_counts_go_on_from_what_was_last_known_of_a_dead_actor(jobs: Jobs, clock: Clock) -> None:
    assert [job.stream_id for job in jobs.hand_out("camera-0", room=1)] == ["gate"]
    tally = Tally(pictures=9, sampled=5, skipped=2, windows=3, scored=1)
    jobs.note("camera-0", StreamState(stream_id="gate", state="streaming", tally=tally))
    assert die(jobs, "camera-0") == ["gate"]
    assert jobs.states["gate"].state == "starting"
    assert jobs.states["gate"].tally.balance() == []
    clock.s += AGAIN_S
    jobs.hand_out("camera-1", room=2)
    tally = Tally(pictures=4, sampled=4, windows=1, scored=1)
    done = jobs.note("camera-1", StreamState(stream_id="gate", state="ended", tally=tally))
    assert done is not None
    jobs.ended(done)
    (outcome,) = jobs.outcomes
    assert (outcome.tally.pictures, outcome.tally.dropped) == (13, {"lost": 2})
    assert (outcome.tally.windows, outcome.tally.windows_dropped) == (4, {"lost": 2})
    assert outcome.tally.balance() == []


def test_why_a_stream_begins_anew_is_told_unless_it_is_known(jobs: Jobs, clock: Clock) -> None:
    jobs.waiting.pop()  # the file
    for said, detail in (
        (False, "camera gate (rtsp://127.0.0.1:554/gate): out of memory"),
        (True, ""),
    ):
        jobs.hand_out("camera-0", room=1)
        (job,) = jobs.lost("camera-0")
        jobs.again(job, "out of memory", said=said)
        assert jobs.states["gate"].detail == detail
        assert jobs.states["gate"].tally.faults == {"internal": 1}
        clock.s += 60


def test_a_file_is_given_up_after_its_attempts_and_a_camera_never(jobs: Jobs, clock: Clock) -> None:
    for attempt in range(1, MAX_ATTEMPTS + 3):
        jobs.hand_out("camera-0", room=2)
        again = die(jobs, "camera-0")
        assert again == (["gate", "room"] if attempt < MAX_ATTEMPTS else ["gate"])
        clock.s += 60
    (outcome,) = jobs.outcomes
    assert outcome.stream_id == "room"
    assert "given up after 3 attempts" in str(outcome.error)


def test_another_actors_death_is_no_attempt_of_a_file_but_not_for_ever(
    jobs: Jobs, clock: Clock
) -> None:
    jobs.waiting.popleft()  # the camera

    def again(*, orphaned: bool) -> bool:
        clock.s += 60
        (job,) = jobs.hand_out("camera-0", room=1)
        jobs.lost("camera-0")
        return jobs.again(job, "it died", orphaned=orphaned)

    assert all(again(orphaned=True) for _ in range(MAX_ATTEMPTS + 1))
    assert [again(orphaned=False) for _ in range(MAX_ATTEMPTS)] == [True, True, False]
    assert "given up" in str(jobs.outcomes[0].error)
    jobs.add(Job(source=ROOM, recognizer="recognizer-0"))
    assert all(again(orphaned=True) for _ in range(MAX_ORPHANED - 1))
    assert not again(orphaned=True)


def test_a_stream_that_is_lost_again_and_again_waits_longer_and_holds_up_no_other(
    jobs: Jobs, clock: Clock
) -> None:
    jobs.hand_out("camera-0", room=1)
    waits = []
    for _ in range(6):
        die(jobs, "camera-0")
        began_s = clock.s
        while "gate" not in jobs.running["camera-0"]:
            assert "room" in {job.stream_id for job in jobs.hand_out("camera-1", 1)} | set(
                jobs.running["camera-1"]
            )
            clock.s += 0.5
            jobs.hand_out("camera-0", room=1)
        waits.append(clock.s - began_s)
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_camera_may_be_lost_for_weeks(jobs: Jobs, clock: Clock) -> None:
    jobs.waiting.pop()  # the file
    for _ in range(5000):
        jobs.hand_out("camera-0", 1)
        assert die(jobs, "camera-0") == ["gate"]
        clock.s += MAX_AGAIN_S
    (job,) = jobs.waiting
    assert job.attempts == 5000


def test_cameras_that_come_and_go_leave_a_bounded_trace(jobs: Jobs) -> None:
    jobs.waiting.clear()
    names = [f"camera {n}" for n in (0, 0, *range(MAX_DETACHED + 2))]
    for name in names:
        jobs.add(Job(source=replace(GATE, stream_id=name), recognizer="r", detached=True))
        jobs.hand_out("camera-0", 1)
        done = jobs.note("camera-0", StreamState(stream_id=name, state="detached"))
        assert done is not None
        jobs.ended(done)
    assert [outcome.stream_id for outcome in jobs.outcomes] == names[-MAX_DETACHED:]
    assert len(jobs.detached) == MAX_DETACHED
    assert set(jobs.states) == set(jobs.kinds) == {"gate", "room"}


def test_events_that_died_untaken_are_made_again(jobs: Jobs) -> None:
    jobs.keeps_events = True
    jobs.waiting.popleft()  # the camera
    jobs.hand_out("camera-0", room=1)

    def end() -> None:
        job = jobs.note("camera-0", StreamState(stream_id="room", state="ended"))
        assert job is not None
        jobs.ended(job)

    jobs.publisher_died()  # in mid-file: what it had made so far is gone
    end()
    assert [job.stream_id for job in jobs.waiting] == ["room"]
    assert jobs.outcomes == []
    jobs.hand_out("camera-0", room=1)
    end()
    assert (len(jobs.waiting), len(jobs.outcomes), jobs.busy) == (0, 1, True)
    jobs.publisher_died()  # before the last events were taken
    assert [job.stream_id for job in jobs.waiting] == ["room"]
    assert jobs.outcomes == []
    jobs.hand_out("camera-0", room=1)
    end()
    jobs.untaken.clear()
    assert (len(jobs.outcomes), jobs.busy) == (1, False)


def test_what_a_file_s_second_run_makes_again_is_passed_over(
    make_event: Callable[..., ActionEvent],
) -> None:
    def of(seq: int, type_: EventType, *flags: Flag, **said: object) -> ActionEvent:
        return make_event(seq, type=type_, flags=flags, **({"source_kind": "file"} | said))

    start, update, end = (of(n, t) for n, t in enumerate(EventType))
    heard = Heard()
    assert heard.new([start, update]) == [start, update]
    assert heard.new([start]) == []
    stopped = of(1, EventType.END, Flag.INTERRUPTED)
    assert heard.new([stopped]) == [replace(stopped, seq=2)], "or it would stay open"
    assert heard.new([stopped]) == []
    heard.forget("door")
    assert heard.new([start, update, end]) == [start, update, end]
    live = of(0, EventType.START, source_kind="live")
    assert heard.new([live, live]) == [live, live]
