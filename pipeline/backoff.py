"""Waits that grow with each failure in a row, up to a limit."""

MAX_STEPS = 64  # beyond, the power would overflow some day, and the limit was reached long ago


def backoff_s(first_s: float, failures: int, *, at_most_s: float, multiplier: float = 2.0) -> float:
    """Seconds to wait after so many failures: ``first_s`` after one, then each time longer.

    ``failures`` is at least 1 and may be any number, ``multiplier`` from 1 to 100.
    """
    return min(at_most_s, first_s * multiplier ** min(failures - 1, MAX_STEPS))
