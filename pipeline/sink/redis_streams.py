"""Events and changes of state into Redis Streams.

One ``write`` is one pipeline; see ``appender`` for what happens when Redis is away.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import redis

from pipeline import wire
from pipeline.broker import Patience
from pipeline.records import ActionEvent
from pipeline.sink.appender import Appender
from pipeline.sink.stamp import stamped

STATUS_MAXLEN = 10_000  # changes of state are few: weeks of a hundred cameras


class RedisSink:
    """Appends events to ``<prefix>:events``; stored at least once when ``write`` returns."""

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = wire.DEFAULT_PREFIX,
        *,
        maxlen: int = 1_000_000,
        patience: Patience | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        key = wire.events_key(prefix)
        self._appender = Appender(client, key, maxlen=maxlen, patience=patience)
        self._now = now

    def write(self, events: Sequence[ActionEvent]) -> None:
        """Append them, in order.

        Raises:
            SinkError: Redis refuses them for good, or patience is at its end. Some may be stored;
                written again, all are.
        """
        self._appender.append([partial(self._entry, event) for event in events])

    def close(self) -> None:
        """Nothing is held: ``write`` returns when Redis has answered; the client is its owner's."""

    def _entry(self, event: ActionEvent) -> Mapping[str, str]:
        return wire.to_fields(stamped(event, self._now()))


class StatusLog:
    """Appends what sources do (connected, ended, failed) to ``<prefix>:status``."""

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = wire.DEFAULT_PREFIX,
        *,
        patience: Patience | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        key = wire.status_key(prefix)
        self._appender = Appender(client, key, maxlen=STATUS_MAXLEN, patience=patience)
        self._now = now

    def write_status(self, stream_id: str, state: str, detail: str = "") -> None:
        """Append one change of state; ``detail`` is for people and holds no secret.

        Raises:
            SinkError: as ``RedisSink.write``.
        """
        line = wire.StatusLine(stream_id=stream_id, state=state, detail=detail, at=self._now())
        self._appender.append([partial(wire.to_status_fields, line)])
