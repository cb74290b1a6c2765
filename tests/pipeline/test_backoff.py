"""Waits between attempts, however many there are."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.backoff import backoff_s


@given(
    failures=st.integers(1, 10**9),
    first_s=st.floats(0.001, 100),
    at_most_s=st.floats(0.001, 3600),
    multiplier=st.floats(1, 100),
)
def test_waits_grow_up_to_their_limit_and_never_fail(
    failures: int, first_s: float, at_most_s: float, multiplier: float
) -> None:
    now, later = (
        backoff_s(first_s, n, at_most_s=at_most_s, multiplier=multiplier)
        for n in (failures, failures + 1)
    )
    assert 0 < now <= later <= at_most_s


def test_the_first_wait_is_as_said_and_the_next_is_twice_as_long() -> None:
    assert [backoff_s(0.5, n, at_most_s=3) for n in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 3, 3]
