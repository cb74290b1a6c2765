"""How often a part is started again that dies again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.backoff import backoff_s

AGAIN_S = 1.0
MAX_AGAIN_S = 10.0


class Pace:
    """The first time at once; then 1, 2, 4 … 10 s pass before anybody looks at it again.

    A part that can't start at all (its model is gone, or a password's file) would cost a process,
    its imports and a line in the log several times a second.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures = 0
        self._not_before_s = 0.0

    @property
    def rests(self) -> bool:
        """It was started a moment ago: leave it alone."""
        return self._now() < self._not_before_s

    def well(self) -> None:
        """It answers."""
        self._failures = 0

    def lost(self) -> None:
        """It has to be started again, which is done now."""
        self._failures += 1
        wait_s = backoff_s(AGAIN_S, self._failures, at_most_s=MAX_AGAIN_S)
        self._not_before_s = self._now() + wait_s
