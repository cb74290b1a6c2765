"""Which pictures of a clip a network looks at. Pure: counts in, indices out.

A clip of n pictures is cut into T equal segments, as published for uniform sampling:

    n = 10, T = 4      |0 1 2|3 4|5 6 7|8 9|        (2.5 pictures each)
    test                 1    3    6    8           the middle of each
    training             random in each, so order is kept and no part of the clip is left out

Dense sampling takes every ``stride``-th picture from a random start; in a test the start is in
the middle, or the starts of several clips are spread evenly. The published code starts a clip that
is too short again from its beginning, a jump that no camera shows; here its last picture stays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.training.data.config import Sampling

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRule:
    """How T of n pictures are chosen."""

    frames: int
    """T."""
    sampling: Sampling = "uniform"
    stride: int = 1
    """Dense sampling only."""

    def random(self, count: int, chance: np.random.Generator) -> Indices:
        """Indices of T of ``count`` pictures, for training; never decreasing."""
        if self.sampling == "uniform":
            return self._segments(count, chance.random(self.frames))
        return self._from(int(chance.integers(self._room(count) + 1)), count)

    def test(self, count: int, *, clip: int = 0, clips: int = 1) -> Indices:
        """Indices of clip ``clip`` of ``clips`` that together cover the video evenly."""
        share = (clip + 0.5) / clips
        if self.sampling == "uniform":
            return self._segments(count, np.full(self.frames, share))
        if clips > 1:
            share = clip / (clips - 1)
        return self._from(round(share * self._room(count)), count)

    def _segments(self, count: int, within_T: NDArray[np.float64]) -> Indices:
        places = (np.arange(self.frames) + within_T) * (count / self.frames)
        return np.minimum(places.astype(np.int64), count - 1)

    def _from(self, start: int, count: int) -> Indices:
        return np.minimum(start + self.stride * np.arange(self.frames), count - 1)

    def _room(self, count: int) -> int:
        """The last start from which T pictures fit."""
        return max(0, count - 1 - self.stride * (self.frames - 1))


@dataclass(frozen=True, slots=True)
class Kept:
    """Which pictures of a clip a cache keeps."""

    most: int | None
    """A clip of no more pictures is kept whole, of others so many are, spread evenly. An odd
    multiple of T holds the very pictures that a test looks at. None: all are kept."""

    def __call__(self, count: int) -> Indices:
        """Indices of the pictures that are kept of ``count``."""
        if self.most is None or count <= self.most:
            return np.arange(count, dtype=np.int64)
        return FrameRule(frames=self.most).test(count)
