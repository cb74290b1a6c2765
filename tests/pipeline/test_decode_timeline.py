"""Presentation times, made whole."""

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import Timeline
from pipeline.records import NS

TB90 = Fraction(1, 90_000)


def times(pts: list[int | None], *, time_base: Fraction = TB90, fps: int = 25) -> list[int]:
    line: Timeline[int] = Timeline(time_base, nominal_fps=Fraction(fps))
    out = [stamped for n, p in enumerate(pts) for stamped in line.push(n, pts=p, duration=None)]
    out += line.flush()
    assert [n for n, _ in out] == list(range(len(pts))), "every picture, once, in order"
    return [time_ns for _, time_ns in out]


def test_a_first_picture_without_time_takes_the_next_ones_minus_its_duration() -> None:
    assert times([None, 7200, 10800]) == [40_000_000, 80_000_000, 120_000_000]


@given(st.sampled_from([TB90, Fraction(1, 1000), Fraction(1001, 30_000)]), st.integers(0, 10**7))
def test_a_time_leads_back_to_its_timestamp(time_base: Fraction, pts: int) -> None:
    line: Timeline[int] = Timeline(time_base, nominal_fps=Fraction(25))
    ((_, time_ns),) = line.push(0, pts=pts, duration=None)
    assert pts - 1 <= line.raw_pts(time_ns) <= pts


def test_a_timestamp_after_a_wrap_is_the_one_that_the_packets_have() -> None:
    line: Timeline[int] = Timeline(TB90, nominal_fps=Fraction(25))
    stamped = [line.push(n, pts=pts, duration=None) for n, pts in enumerate([(1 << 33) - 1, 3599])]
    (_, time_ns) = [one for some in stamped for one in some][-1]
    assert line.raw_pts(time_ns) in (3598, 3599)


def test_pictures_without_any_time_are_counted_at_the_nominal_rate() -> None:
    assert times([None, None, None]) == [0, 40_000_000, 80_000_000]


def test_a_missing_time_takes_the_predecessors_plus_its_duration() -> None:
    assert times([0, None, 7200]) == [0, 40_000_000, 80_000_000]


def test_a_single_picture_without_time_is_not_lost() -> None:
    assert times([None]) == [0]


def test_a_wrap_of_33_bits_is_undone() -> None:
    wrap = 1 << 33
    line = times([wrap - 3600, 0, 3600])
    assert [b - a for a, b in itertools.pairwise(line)] == [40_000_000, 40_000_000]


def test_a_jump_back_is_left_for_the_grid() -> None:
    assert times([900_000, 903_600, 0])[2] == 0


@given(
    st.integers(0, (1 << 33) - 1),
    st.lists(st.integers(-9000, 90_000), min_size=1, max_size=50),
)
def test_wrapped_times_are_those_before_wrapping_up_to_whole_turns(
    start: int, deltas: list[int]
) -> None:
    straight = [start]
    for delta in deltas:
        straight.append(straight[-1] + delta)
    unwrapped = times([pts % (1 << 33) for pts in straight])
    offsets = {got - int(pts * NS * TB90) for got, pts in zip(unwrapped, straight, strict=True)}
    assert max(offsets) - min(offsets) <= 1
