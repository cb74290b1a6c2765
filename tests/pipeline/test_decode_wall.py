"""Times of day by arrival, in sessions that last."""

import random

import pytest

from pipeline.decode.wall import MAX_ERROR_S, SPAN_S, WallClock

FPS = 5
DAY_S = 86_400


def test_late_pictures_do_not_move_it() -> None:
    wall, chance = WallClock(), random.Random(1)
    first_s = wall.offset_s(1000.0, 0.0)
    for n in range(1, 3000):
        pts_s = n / FPS
        late_s = chance.uniform(0, 2)
        assert wall.offset_s(1000.0 + pts_s + late_s, pts_s) == first_s


@pytest.mark.parametrize("rate", [1 + 50e-6, 1 - 50e-6, 1.01])
def test_it_follows_a_camera_whose_clock_is_wrong(rate: float) -> None:
    """A crystal that is 50 ppm off, a camera that is 1 % too fast."""
    wall = WallClock()
    for n in range(2 * DAY_S):
        arrived_s = 1000.0 + n
        pts_s = n * rate
        told_s = pts_s + wall.offset_s(arrived_s, pts_s)
        assert abs(told_s - arrived_s) <= MAX_ERROR_S + 2 * SPAN_S * abs(rate - 1) + 1e-6


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_it_follows_a_clock_that_is_set(step_s: float) -> None:
    wall = WallClock()
    for n in range(600):
        wall.offset_s(1000.0 + n, float(n))
    for n in range(600, 600 + 2 * int(SPAN_S) + 1):
        offset_s = wall.offset_s(1000.0 + n + step_s, float(n))
    assert offset_s == pytest.approx(1000.0 + step_s)
