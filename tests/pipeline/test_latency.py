"""Durations are counted in buckets, and travel."""

import pickle
from math import inf, nextafter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.latency import BOUNDS_S, Histogram
from pipeline.tally import Tally


def test_a_bucket_holds_its_upper_end() -> None:
    histogram = Histogram()
    histogram.observe(0.005)
    histogram.observe(nextafter(0.005, 1))
    below = dict(histogram.buckets())
    assert (below[0.0025], below[0.005], below[0.01], below[inf]) == (0, 1, 2, 2)


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    histogram = Histogram()
    histogram.observe(-3600)
    assert next(histogram.buckets()) == (BOUNDS_S[0], 1)
    assert histogram.sum_s == 0


@given(st.lists(st.floats(0, 1e6)))
def test_every_observation_is_in_one_bucket(durations_s: list[float]) -> None:
    histogram = Histogram()
    for duration_s in durations_s:
        histogram.observe(duration_s)
    for bound_s, below in histogram.buckets():
        assert below == sum(duration_s <= bound_s for duration_s in durations_s)
    assert histogram.total == len(durations_s)


def test_they_travel_with_a_tally_and_no_tally_shares_them() -> None:
    one, other = Tally(), Tally()
    one.latency.queue.observe(0.2)
    assert pickle.loads(pickle.dumps(one)).latency == one.latency
    assert other.latency.queue.total == 0
    assert one.as_dict()["latency"]
