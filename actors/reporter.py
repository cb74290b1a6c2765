"""Changes of state on their way to the publisher, in order, with no decoder that waits for it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Condition, Event, Thread

import ray
from ray.exceptions import RayActorError, RayError

MAX_WAITING = 1000  # a publisher that hangs for so long has missed what nobody wants any more
RETRY_S = 0.5  # a publisher that died is back after a start of some seconds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Line:
    stream_id: str
    state: str
    detail: str
    told: Event = field(default_factory=Event)


class Reporter:
    """One thread of a camera actor; what it has waits for a publisher that is started again."""

    def __init__(self, publisher: str) -> None:
        self._publisher = publisher
        self._lines: deque[_Line] = deque(maxlen=MAX_WAITING)
        self._changed = Condition()
        Thread(target=self._work, name="reports", daemon=True).start()

    def report(self, stream_id: str, state: str, detail: str) -> Event:
        """Note one change; the event is set once the publisher knows."""
        line = _Line(stream_id=stream_id, state=state, detail=detail)
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()
        return line.told

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
            while not self._tell(line):
                time.sleep(RETRY_S)
            line.told.set()

    def _tell(self, line: _Line) -> bool:
        try:
            publisher = ray.get_actor(self._publisher)
            ray.get(publisher.report.remote(line.stream_id, line.state, line.detail))
        except (RayActorError, ValueError):  # it died, or isn't there yet
            return False
        except RayError:  # it lives, and can't use this one
            return True
        return True
