"""The time of day of a camera that doesn't tell it: from when its pictures arrive.

A picture may arrive late and never early, so the least of what arrival is later than presentation
is the best guess. A session may last for weeks, in which a camera's crystal drifts by minutes, and
the host's clock may be set: the guess is judged again every ``SPAN_S``, and replaced once it is
wrong by more than ``MAX_ERROR_S``. Smaller errors stay, for an event's times to fit each other.
"""

import math

SPAN_S = 60.0
MAX_ERROR_S = 1.0


class WallClock:
    """Of one session."""

    def __init__(self) -> None:
        self._offset_s = math.nan
        self._least_s = math.inf
        self._until_s = math.inf

    def offset_s(self, arrived_s: float, pts_s: float) -> float:
        """Unix seconds less presentation seconds, after a picture that arrived just now."""
        late_s = arrived_s - pts_s
        if math.isnan(self._offset_s):
            self._offset_s = late_s
            self._begin(late_s, pts_s)
        self._least_s = min(self._least_s, late_s)
        if pts_s >= self._until_s:
            if abs(self._least_s - self._offset_s) > MAX_ERROR_S:
                self._offset_s = self._least_s
            self._begin(late_s, pts_s)
        return self._offset_s

    def _begin(self, late_s: float, pts_s: float) -> None:
        self._least_s, self._until_s = late_s, pts_s + SPAN_S
