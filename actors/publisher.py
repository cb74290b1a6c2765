"""The publisher actor: events + sink, for all streams; the only one that knows what is open."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from pipeline.broker import open_broker
from pipeline.config import EventSpec, RedisConfig
from pipeline.events import Detector, Origin
from pipeline.records import ActionEvent, Scores, SessionEnd
from pipeline.sink import Patience, RedisSink, Sink, StatusLog

GIVE_UP_S = 600.0  # a Redis that is away for longer ends the run with an error


class Publisher:
    """Derives the events of each stream and writes them.

    With ``keep`` they wait for ``take`` as well: the caller has the terminal and writes them there.
    """

    def __init__(
        self, spec: EventSpec, origin: Origin, redis: RedisConfig | None, *, keep: bool
    ) -> None:
        self._spec = spec
        self._origin = origin
        self._detectors: dict[str, Detector] = {}
        self._keep = keep
        self._kept: list[ActionEvent] = []
        self._sink: Sink | None = None
        self._status: StatusLog | None = None
        self._stack = ExitStack()
        if redis is not None:
            broker = self._stack.enter_context(open_broker(redis))
            patience = Patience(give_up_s=GIVE_UP_S, revive=broker.revive)
            self._sink = RedisSink(
                broker.client, redis.prefix, maxlen=redis.maxlen, patience=patience
            )
            self._status = StatusLog(broker.client, redis.prefix, patience=patience)

    def publish(self, stream_id: str, answers: Sequence[Scores | SessionEnd]) -> int:
        """Write what these answers mean, in order; how many events that was."""
        detector = self._detectors.get(stream_id)
        if detector is None:
            detector = self._detectors[stream_id] = Detector(self._spec, self._origin)
        events = [event for answer in answers for event in detector.take(answer)]
        if events and self._sink is not None:
            self._sink.write(events)
        if self._keep:
            self._kept += events
        return len(events)

    def report(self, stream_id: str, state: str, detail: str) -> None:
        """Write a change of a source's state."""
        if self._status is not None:
            self._status.write_status(stream_id, state, detail)

    def take(self) -> list[ActionEvent]:
        """Events since the last call, if they are kept."""
        taken, self._kept = self._kept, []
        return taken

    def end_open(self) -> None:
        """End what is open on streams that did not say that they ended."""
        events = [event for detector in self._detectors.values() for event in detector.interrupt()]
        if events and self._sink is not None:
            self._sink.write(events)
        if self._keep:
            self._kept += events

    def close(self) -> None:
        """Nothing more will come."""
        self._stack.close()
