"""The sampling grid: which pictures are looked at, and where sessions end."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import Grid
from pipeline.records import NS, EndReason
from pipeline.settings import GridSpec

MS = 1_000_000
HOP = 4


def grid(sample_fps: object = 8, *, kind: str = "file", origin_ns: int | None = None) -> Grid:
    spec = GridSpec(sample_fps=sample_fps)
    return Grid(spec, kind=kind, hop=HOP, tick_ns=MS, origin_ns=origin_ns)


def filled(grid: Grid, times_ms: list[int]) -> list[list[int]]:
    return [list(grid.place(time * MS).ordinals) for time in times_ms]


def test_a_point_shows_the_first_picture_at_or_after_it() -> None:
    # points (ms)  0        100        200        300
    # pictures     0  40 80    120 160 200 240  280   320
    placed = filled(grid(10), [0, 40, 80, 120, 160, 200, 240, 280, 320])
    assert placed == [[0], [], [], [1], [], [2], [], [], [3]]


def test_a_picture_one_tick_early_counts_as_on_time() -> None:
    assert filled(grid(10), [0, 99, 199, 298]) == [[0], [1], [2], []]


def test_a_slow_source_fills_several_points_with_one_picture() -> None:
    assert filled(grid(10), [0, 400, 800]) == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_late_picture_is_dropped_and_the_next_one_is_not() -> None:
    one = grid(10)
    filled(one, [0, 100, 200])
    assert one.place(150 * MS).late
    assert list(one.place(300 * MS).ordinals) == [3]


def test_a_gap_in_a_file_breaks_the_session_but_not_the_grid() -> None:
    one = grid(10)
    filled(one, [0, 100])
    placement = one.place(2550 * MS)
    assert placement.ended is EndReason.GAP
    assert list(placement.ordinals) == [25]
    assert one.time_ns(25) == 2500 * MS


def test_a_gap_at_a_camera_begins_a_grid_of_its_own() -> None:
    one = grid(10, kind="live")
    filled(one, [0, 100])
    placement = one.place(2550 * MS)
    assert (placement.ended, list(placement.ordinals)) == (EndReason.GAP, [0])
    assert one.time_ns(0) == 2550 * MS


def test_after_a_jump_back_ordinals_go_on_at_the_next_multiple_of_the_hop() -> None:
    one = grid(10)
    filled(one, [5000, 5100, 5200, 5300, 5400])
    placement = one.place(0)
    assert (placement.ended, list(placement.ordinals)) == (EndReason.JUMP, [8])
    assert one.time_ns(9) == 100 * MS


def test_another_size_ends_the_session() -> None:
    one = grid(10)
    filled(one, [0, 100])
    assert one.place(200 * MS, resized=True).ended is EndReason.RESIZE


def test_a_rate_that_is_no_whole_number_doesn_t_drift() -> None:
    one = grid(Fraction(30000, 1001))
    one.place(0)
    assert one.time_ns(30_000) == 1001 * NS
    assert one.time_ns(1) == 33_366_666


steps = st.one_of(
    st.integers(0, 60 * MS),  # constant and variable rates
    st.integers(-1500 * MS, 0),  # late, or set back
    st.integers(900 * MS, 4000 * MS),  # about a gap, and more
)
rates = st.sampled_from([1, 5, 8, Fraction(25, 2), Fraction(30000, 1001), 60])


@given(st.lists(steps, max_size=80), rates, st.sampled_from(["live", "file"]))
def test_whatever_the_times_points_are_filled_in_order_by_the_first_picture_due(
    deltas: list[int], rate: Fraction, kind: str
) -> None:
    one = grid(rate, kind=kind)
    time_ns, previous_ns, last_point = 10 * NS, None, -1
    for delta in [0, *deltas]:
        time_ns += delta
        placement = one.place(time_ns)
        if placement.late:
            assert not placement.ordinals
            time_ns = one.last_ns
            continue
        if placement.ended and kind == "live":
            last_point = -1
        if placement.ended or previous_ns is None:
            previous_ns = None
        for point in placement.ordinals:
            assert point > last_point
            last_point = point
            assert one.time_ns(point) <= time_ns + MS
            if previous_ns is not None:  # its predecessor came too early for this point
                assert one.time_ns(point) > previous_ns + MS
        previous_ns = time_ns


@given(st.lists(st.integers(1, 1400 * MS), min_size=2, max_size=80), rates, st.integers(0, 79))
def test_any_part_of_a_file_fills_the_points_of_the_whole(
    deltas: list[int], rate: Fraction, cut: int
) -> None:
    times = [NS]
    for delta in deltas:
        times.append(times[-1] + delta)
    cut = min(cut, len(times) - 1)
    whole, part = grid(rate), grid(rate, origin_ns=times[0])
    shown = {k: time for time in times for k in whole.place(time).ordinals}
    shown_by_part = {k: time for time in times[cut:] for k in part.place(time).ordinals}
    assert shown_by_part.items() <= shown.items()
    after = [k for k, time in shown.items() if time > times[cut]]
    assert set(after) <= set(shown_by_part)
