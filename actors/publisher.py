"""The publisher actor: events + sink, for all streams; the only one that knows what is open.

Events are on disk when ``publish`` returns, and what is open with them: a publisher that was killed
is followed by one that sends what waits and ends what was open. Redis may be away meanwhile.
Streams publish through its door, or through Ray from other machines; one at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from threading import Lock

from actors.direct import Address, Door
from actors.garbage import spare_what_is_there
from actors.said import Said
from actors.tether import end_with_parent
from pipeline.broker import open_broker
from pipeline.config import RedisConfig
from pipeline.events import Detector, Origin
from pipeline.latency import PublishLatency
from pipeline.records import ActionEvent, Scores, SessionEnd
from pipeline.settings import EventSpec
from pipeline.sink import Outbox, OutboxState, Patience, StatusPost, open_outbox
from pipeline.wire import DETACHED

GIVE_UP_S = 600.0  # files whose events find no room in the outbox for longer end with an error
FLUSH_S = 20.0  # how long the end of a run waits for Redis; what is left then waits on disk


class Publisher:
    """Derives the events of each stream and writes them.

    With ``keep`` they wait for ``take`` as well: the caller has the terminal and writes them there.
    """

    def __init__(
        self,
        spec: EventSpec,
        origin: Origin,
        redis: RedisConfig | None,
        *,
        keep: bool,
        password: str | None = None,
        made_of: str = "",
    ) -> None:
        """``password``: in place of ``password_env``; ``made_of``: see ``Parts``."""
        end_with_parent()
        self.made_of = made_of
        self._said = Said("pipeline")
        self._spec = spec
        self._origin = origin
        self._detectors: dict[str, Detector] = {}
        self._latency: dict[str, PublishLatency] = {}
        self._keep = keep
        self._kept: list[ActionEvent] = []
        self._taken = 0
        """How many were kept before those."""
        self._outbox: Outbox | None = None
        self._status: StatusPost | None = None
        self._stack = ExitStack()
        if redis is not None:
            if redis.password_env and password is not None:
                os.environ[redis.password_env] = password
            broker = self._stack.enter_context(open_broker(redis, must_answer=False))
            patience = Patience(give_up_s=GIVE_UP_S, revive=broker.revive)
            self._outbox = self._stack.enter_context(open_outbox(redis, broker, patience=patience))
            self._status = StatusPost(broker.client, redis.prefix, patience=patience)
            self._stack.callback(self._status.close)
        self._one_at_a_time = Lock()
        spare_what_is_there()
        self._door = Door({"publish": self.publish}) if Door.possible else None

    def door(self) -> Address | None:
        """Where it can be called without Ray, if it can."""
        return None if self._door is None else self._door.address

    def ready(self) -> list[str]:
        """What it had to say since the last call, as soon as nothing else keeps it."""
        with self._one_at_a_time:
            return self._said.take()

    def publish(
        self, stream_id: str, settings_digest: str, answers: Sequence[Scores | SessionEnd]
    ) -> int:
        """Write what these answers mean, in order; how many events that was.

        ``settings_digest``: of the settings as this stream has them.
        """
        with self._one_at_a_time:
            detector = self._detectors.get(stream_id)
            if detector is None:
                origin = replace(self._origin, settings_digest=settings_digest)
                detector = self._detectors[stream_id] = Detector(self._spec, origin)
            events = [event for answer in answers for event in detector.take(answer)]
            self._write(events)
            self._latency.setdefault(stream_id, PublishLatency()).took(answers, time.time())
            return len(events)

    def report(self, stream_id: str, state: str, detail: str, since_s: float | None = None) -> None:
        """Write a change of a source's state; of now, or of some Unix seconds."""
        if self._status is not None:
            self._status.write_status(stream_id, state, detail, since_s=since_s)

    def forget(self, stream_id: str) -> None:
        """A stream is detached: end what it left open; its name may come back as another camera."""
        with self._one_at_a_time:
            self._latency.pop(stream_id, None)
            detector = self._detectors.pop(stream_id, None)
            if detector is not None:
                self._write(detector.interrupt())

    def keep_only(self, stream_ids: Collection[str]) -> None:
        """Nobody works on any other stream: they are gone with who did."""
        with self._one_at_a_time:
            known = set(self._detectors)
        if self._status is not None:
            known |= set(self._status.streams)
        for stream_id in sorted(known - set(stream_ids)):
            self.forget(stream_id)
            self.report(stream_id, DETACHED, "")

    def interrupt(self, stream_id: str) -> None:
        """Whoever worked on a stream died: end what it left open, however late another comes."""
        with self._one_at_a_time:
            detector = self._detectors.get(stream_id)
            if detector is not None:
                self._write(detector.interrupt())

    def take(self, after: int) -> list[ActionEvent]:
        """Events after the first so many, if they are kept; those before are let go."""
        with self._one_at_a_time:
            del self._kept[: max(0, after - self._taken)]
            self._taken = max(after, self._taken)
            return self._kept.copy()

    def end_open(self) -> None:
        """End what is open on streams that did not say that they ended."""
        with self._one_at_a_time:
            detectors = self._detectors.values()
            self._write([event for detector in detectors for event in detector.interrupt()])

    def latency(self) -> dict[str, PublishLatency]:
        """How long publishing took, by stream."""
        with self._one_at_a_time:
            return self._latency.copy()

    def outbox(self) -> OutboxState | None:
        """How the way to Redis is doing; None where there is none."""
        return None if self._outbox is None else self._outbox.state

    def flush(self, timeout_s: float = FLUSH_S) -> int:
        """Wait until Redis has every event; how many still wait on disk."""
        return 0 if self._outbox is None else self._outbox.flush(timeout_s)

    def close(self) -> tuple[int, list[str]]:
        """Nothing more will come; how many events are lost, and its last words."""
        self._stack.close()
        return 0 if self._outbox is None else self._outbox.lost, self._said.take()

    def _write(self, events: Sequence[ActionEvent]) -> None:
        if self._outbox is not None:
            self._outbox.write(events)
        if self._keep:
            self._kept += events
