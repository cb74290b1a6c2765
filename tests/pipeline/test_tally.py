"""Counts that go on over the death of the process that counted."""

from collections import Counter

import pytest

from pipeline.tally import Tally


def counted(**more: object) -> Tally:
    return Tally(pictures=10, sampled=4, skipped=6, windows=2, scored=2, **more)  # type: ignore[arg-type]


def test_what_a_dead_process_had_under_way_is_lost() -> None:
    tally = Tally(pictures=10, sampled=4, skipped=3, windows=5, scored=2)
    tally.windows_dropped["overload"] = 1
    assert len(tally.balance()) == 2
    tally.close_accounts()
    assert tally.balance() == []
    assert tally.dropped == {"lost": 3}
    assert tally.windows_dropped == {"overload": 1, "lost": 2}


def test_what_was_accounted_for_between_two_counts_of_one_copy_came() -> None:
    tally = Tally(pictures=10, sampled=8, skipped=3, windows=1, scored=2)
    tally.close_accounts()
    assert (tally.pictures, tally.windows) == (11, 2)
    assert tally.balance() == []
    assert tally.dropped.total() == tally.windows_dropped.total() == 0


def test_counts_add_up_and_what_is_so_now_does_not() -> None:
    before = counted(gaps=Counter(reconnect=1), ring_bytes=5, truncated=True, state="streaming")
    before.latency.queue.observe(0.2)
    now = counted(gaps=Counter(reconnect=2, jump=1), ring_bytes=7, state="starting", since_s=3.0)
    now.latency.queue.observe(0.3)
    both = now.after(before)
    assert (both.pictures, both.sampled, both.windows) == (20, 8, 4)
    assert both.gaps == {"reconnect": 3, "jump": 1}
    assert (both.ring_bytes, both.truncated, both.state, both.since_s) == (7, False, "starting", 3)
    assert both.latency.queue.total == 2
    assert both.latency.queue.sum_s == pytest.approx(0.5)
    assert both.balance() == []
    assert now.pictures == 10, "the parts stay as they are"
