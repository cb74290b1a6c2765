"""The publisher actor: events + sink, for all streams; the only one that knows what is open."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.broker import open_broker
from pipeline.config import EventSpec, RedisConfig
from pipeline.events import Detector, Origin
from pipeline.records import ActionEvent, Scores, SessionEnd
from pipeline.sink import RedisSink, Sink, StatusLog


class Publisher:
    """Derives the events of each stream and writes them.

    Without a Redis, events are kept for ``take``: the caller, who has the terminal, writes them.
    """

    def __init__(self, spec: EventSpec, origin: Origin, redis: RedisConfig | None) -> None:
        self._spec = spec
        self._origin = origin
        self._detectors: dict[str, Detector] = {}
        self._kept = _Kept()
        self._sink: Sink = self._kept
        self._status: StatusLog | None = None
        if redis is not None:
            self._broker = open_broker(redis)
            client = self._broker.__enter__().client
            self._sink = RedisSink(client, prefix=redis.prefix, maxlen=redis.maxlen)
            self._status = StatusLog(client, prefix=redis.prefix)

    def publish(self, stream_id: str, answer: Scores | SessionEnd) -> int:
        """Write what this answer means; how many events that was."""
        detector = self._detectors.get(stream_id)
        if detector is None:
            detector = self._detectors[stream_id] = Detector(self._spec, self._origin)
        events = detector.take(answer)
        if events:
            self._sink.write(events)
        return len(events)

    def report(self, stream_id: str, state: str, detail: str) -> None:
        """Write a change of a source's state."""
        if self._status is not None:
            self._status.write_status(stream_id, state, detail)

    def take(self) -> list[ActionEvent]:
        """Events since the last call, where no Redis takes them."""
        return self._kept.take()

    def close(self) -> None:
        """Nothing more will come."""
        self._sink.close()
        if self._status is not None:
            self._broker.__exit__(None, None, None)


class _Kept:
    """A sink that keeps events until they are taken."""

    def __init__(self) -> None:
        self._events: list[ActionEvent] = []

    def write(self, events: Sequence[ActionEvent]) -> None:
        self._events.extend(events)

    def close(self) -> None:
        """Nothing to close."""

    def take(self) -> list[ActionEvent]:
        taken, self._events = self._events, []
        return taken
