"""The life of a camera, without a camera: its clock and its chance are ours."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cameras import RetryConfig
from pipeline.errors import (
    NotAVideo,
    PictureTooLarge,
    SourceElsewhere,
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceStalled,
    SourceTimeout,
    SourceUnauthorized,
    SourceUnreachable,
)
from pipeline.stream.life import (
    CONNECTED,
    FINAL,
    IDLE,
    SLOW,
    CameraLife,
    CameraState,
    Fault,
    fault_of,
    wait_s,
)


@dataclass
class Line:
    """A life whose clock is turned by hand."""

    retry: RetryConfig = field(default_factory=RetryConfig)
    chance: float = 1.0
    now_s: float = 0.0
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.life = CameraLife(
            self.retry,
            lambda state, detail: self.told.append((state.value, detail)),
            now=lambda: self.now_s,
            chance=lambda: self.chance,
        )

    def lost_after(self, streamed_s: float | None, fault: Fault = Fault.UNREACHABLE) -> float:
        """One connection, which streams for so long, or not at all; the wait after it."""
        self.life.connect()
        if streamed_s is not None:
            self.life.picture()
            self.now_s += streamed_s
            self.life.picture()
        delay_s = self.life.lose(fault, "gone")
        assert delay_s is not None
        return delay_s


def test_waits_grow_to_their_limit() -> None:
    line = Line()
    assert [line.lost_after(None) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_camera_that_sends_one_picture_and_dies_is_not_hammered() -> None:
    line = Line()
    assert [line.lost_after(0.1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_silence_is_no_good_time() -> None:
    line = Line(RetryConfig(max_attempts=3, max_delay_s=5))
    for _ in range(2):
        line.life.connect()
        line.life.picture()
        line.now_s += 11
        assert line.life.lose(Fault.STALL, "no picture for 10 s") is not None
    line.life.connect()
    line.life.picture()
    line.now_s += 11
    assert line.life.lose(Fault.STALL, "no picture for 10 s") is None
    assert line.life.state is CameraState.FAILED


def test_a_stream_that_was_good_for_a_while_begins_anew() -> None:
    line = Line()
    for _ in range(6):
        line.lost_after(None)
    assert line.lost_after(30) == 1
    assert line.life.failures == 1


def test_a_stall_that_passes_is_no_failure_and_does_not_restart_the_good_time() -> None:
    line = Line()
    line.lost_after(None)
    line.life.connect()
    line.life.picture()
    line.now_s += 20
    line.life.stall("no picture for 5 s")
    line.life.picture()
    line.now_s += 10
    line.life.picture()
    assert line.life.lose(Fault.ENDED, "") == 1
    states = [state for state, _ in line.told]
    assert states[2:] == ["connecting", "streaming", "stalled", "streaming", "backoff"]


@pytest.mark.parametrize("fault", sorted(SLOW))
@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_what_only_people_can_set_right_is_tried_slowly(fault: Fault, chance: float) -> None:
    line = Line(chance=chance)
    assert 30 <= line.lost_after(None, fault) <= 60


def test_a_camera_is_given_up_after_its_attempts() -> None:
    line = Line(RetryConfig(max_attempts=3))
    line.lost_after(None)
    line.lost_after(None)
    line.life.connect()
    assert line.life.lose(Fault.TIMEOUT, "no answer") is None
    assert line.told[-1] == ("failed", "no answer")


def test_an_address_where_no_camera_may_be_is_given_up_at_once() -> None:
    line = Line()
    line.life.connect()
    assert line.life.lose(Fault.FORBIDDEN, "not there") is None
    assert line.life.state is CameraState.FAILED


def test_every_error_has_its_fault() -> None:
    faults = {
        SourceUnauthorized: Fault.AUTHENTICATION,
        SourceNotFound: Fault.NOT_FOUND,
        SourceUnreachable: Fault.UNREACHABLE,
        SourceTimeout: Fault.TIMEOUT,
        SourceStalled: Fault.STALL,
        NotAVideo: Fault.CODEC,
        PictureTooLarge: Fault.TOO_LARGE,
        SourceForbidden: Fault.FORBIDDEN,
        SourceElsewhere: Fault.ELSEWHERE,
        SourceError: Fault.OTHER,
    }
    assert {kind: fault_of(kind("x")) for kind in faults} == faults
    assert fault_of(None) is Fault.ENDED
    assert {*faults.values(), Fault.ENDED} == set(Fault)


retries = st.builds(
    lambda first, more, multiplier: RetryConfig(
        initial_delay_s=first, max_delay_s=first + more, multiplier=multiplier
    ),
    st.floats(0.01, 1e3),
    st.floats(0, 1e4),
    st.floats(1, 100),
)


@given(retries, st.integers(1, 10_000), st.sampled_from(Fault), st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_no_wait_is_longer_than_it_should_be(
    retry: RetryConfig, failures: int, fault: Fault, chance: float
) -> None:
    delay_s = wait_s(retry, failures, fault, chance)
    limit_s = retry.max_delay_s * (2 if fault in SLOW else 1)
    assert 0 <= delay_s <= limit_s
    assert wait_s(retry, failures + 1, fault, chance) >= delay_s


STEPS = ["connect", "picture", "stall", "lose", "pause", "end"]
SENSIBLE = {
    "connect": IDLE,
    "picture": CONNECTED,
    "stall": CONNECTED,
    "lose": CONNECTED,
    "pause": frozenset(CameraState) - FINAL,
    "end": frozenset(CameraState) - FINAL,
}


@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.floats(0, 100)), max_size=60), st.integers(-1, 5)
)
@settings(deadline=None)
def test_whatever_comes_every_change_is_told_and_nothing_follows_an_end(
    steps: list[tuple[str, float]], max_attempts: int
) -> None:
    line = Line(RetryConfig(max_attempts=max_attempts), chance=0.5)
    life = line.life
    for step, passed_s in steps:
        line.now_s += passed_s
        before, told = life.state, len(line.told)
        arguments = {"lose": (Fault.STALL, "lost"), "stall": ("quiet",)}.get(step, ())
        if before not in SENSIBLE[step]:
            with pytest.raises(AssertionError):
                getattr(life, step)(*arguments)
            assert (life.state, len(line.told)) == (before, told)
            continue
        delay_s = getattr(life, step)(*arguments)
        assert len(line.told) - told == (life.state is not before)
        if step == "lose":
            assert (delay_s is None) == (life.state is CameraState.FAILED)
            assert (life.state is CameraState.FAILED) == (0 <= max_attempts <= life.failures)
    assert {before for before, _ in line.told[:-1]}.isdisjoint(FINAL)
