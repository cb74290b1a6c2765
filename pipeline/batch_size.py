"""How many windows a batch should have: as many as pay, which is learned from those that were made.

A pass has a cost that doesn't depend on its size, so windows are cheaper together; but what many of
them leave between layers doesn't fit into a CPU's caches. In a batch of 8, a window of the small
default network takes a third of what it takes alone, one of the published 50-f8x2 a third more.

    most        how many a batch may have now
    learn(...)  after each
"""

import math
from collections import deque
from statistics import median_low

PROBE_EVERY = 16  # full batches: a wrong one costs a hundredth of these, mostly
RECENT = 31  # batches whose median counts: others use the machine, too
PROBES = 3  # of them, of a size that isn't in use: the machine was another one before
CHEAPER = 0.94  # than the size in use, or it stays


class BatchSize:
    """Learns which of 1, 2, 4 … windows make the cheapest batches. Not for several threads."""

    def __init__(self, most: int) -> None:
        """``most``: beyond it no batch is made, whatever it would cost."""
        self._sizes = [*(1 << n for n in range(most.bit_length()) if 1 << n < most), most]
        self._costs_s: dict[int, deque[float]] = {}
        """What a window took in batches of a size, lately."""
        self._best = 1
        self._full = 0
        """Batches of as many as were allowed."""
        self.most = 1

    def learn(self, windows: int, took_s: float) -> None:
        """A batch of so many windows took so long."""
        if windows in self._sizes:
            self._costs_s.setdefault(windows, deque(maxlen=RECENT)).append(took_s / windows)
        if windows < self.most:
            self.most = self._best  # a probe that found no company
            return
        self._full += 1
        self.most = self._next()

    def _next(self) -> int:
        cheapest = min(self._costs_s, key=self._cost_s, default=self._best)
        if self._cost_s(cheapest) < CHEAPER * self._cost_s(self._best):
            self._best = cheapest
        at = self._sizes.index(self._best)
        larger = self._sizes[min(at + 1, len(self._sizes) - 1)]
        if larger not in self._costs_s or self._full % (2 * PROBE_EVERY) == 0:
            return larger
        if self._full % PROBE_EVERY == 0:
            return self._sizes[max(at - 1, 0)]
        return self._best

    def _cost_s(self, size: int) -> float:
        if size not in self._costs_s:
            return math.inf
        recent_s = list(self._costs_s[size])
        return median_low(recent_s if size == self._best else recent_s[-PROBES:])
