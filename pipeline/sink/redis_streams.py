"""Events and changes of state straight into Redis, waiting for it where it is away.

For callers who can wait: a run over files in one process. Deployments put an ``Outbox`` and a
``StatusPost`` between. Faults that pass (lost connections, loading, out of memory, a read-only
replica) are waited out, see ``Patience``; others end it.
"""

import time
from collections.abc import Callable, Sequence

import redis
from redis.exceptions import ReadOnlyError, RedisError
from redis.typing import EncodableT, FieldT

from pipeline import wire
from pipeline.broker import Patience, Trial, code, place
from pipeline.errors import SinkError
from pipeline.records import ActionEvent
from pipeline.sink.event_stream import BATCH, EventStream

STATUS_MAXLEN = 10_000  # changes of state: a day of one camera that comes and goes


class RedisSink:
    """Appends events to ``<prefix>:events``; stored when ``write`` returns, each of them once."""

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = wire.DEFAULT_PREFIX,
        *,
        maxlen: int = 1_000_000,
        patience: Patience | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._stream = EventStream(client, prefix, maxlen=maxlen, now=now)
        self._patience = patience or Patience()

    @property
    def repeats(self) -> int:
        """Events that were in Redis already and were not stored again."""
        return self._stream.repeats

    def write(self, events: Sequence[ActionEvent]) -> None:
        """Append them, in order.

        Raises:
            SinkError: Redis refuses them for good, or patience is at its end. Some may be stored;
                written again, all are.
        """
        for at in range(0, len(events), BATCH):
            batch = events[at : at + BATCH]
            left = len(events) - at
            _insist(
                lambda batch=batch: self._stream.store(batch),  # type: ignore[misc]
                self._stream.client,
                self._patience,
                f"stream {self._stream.key!r}: {left} events not written",
            )

    def close(self) -> None:
        """Nothing is held: ``write`` returns when Redis has answered; the client is its owner's."""


class StatusStream:
    """``<prefix>:status`` of one Redis."""

    def __init__(self, client: redis.Redis, prefix: str = wire.DEFAULT_PREFIX) -> None:
        self.client = client
        self.key = wire.status_key(prefix)
        self._prefix = prefix

    def store(self, lines: Sequence[wire.StatusLine]) -> None:
        """Append them one by one.

        Raises:
            RedisError: those before the one that was refused are stored.
        """
        for line in lines:
            fields: dict[FieldT, EncodableT] = dict(wire.to_status_fields(line).items())
            self.client.xadd(self.key, fields, maxlen=STATUS_MAXLEN, approximate=True)

    def be_alive(self, by: str, for_s: float) -> None:
        """What is told under this name holds for so long, whatever happens to who tells it.

        Raises:
            RedisError: it isn't known.
        """
        self.client.set(wire.alive_key(by, self._prefix), "1", px=round(1000 * for_s))


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
        self._stream = StatusStream(client, prefix)
        self._patience = patience or Patience()
        self._now = now

    def write_status(self, stream_id: str, state: str, detail: str = "") -> None:
        """Append one change of state; ``detail`` is for people and holds no secret.

        Raises:
            SinkError: as ``RedisSink.write``.
        """
        line = wire.StatusLine(stream_id=stream_id, state=state, detail=detail, at=self._now())
        _insist(
            lambda: self._stream.store([line]),
            self._stream.client,
            self._patience,
            f"stream {self._stream.key!r}",
        )


def _insist(
    store: Callable[[], object], client: redis.Redis, patience: Patience, what: str
) -> None:
    """Store it, again where Redis was away."""
    trial = Trial(patience)
    where = place(client)
    while True:
        try:
            store()
        except RedisError as error:
            if isinstance(error, ReadOnlyError):
                # The old primary still answers; the address may lead to the new one by now.
                client.connection_pool.disconnect()
            verdict = advice(error) or trial.failed(error, where)
            if verdict is not None:
                raise SinkError(f"{where}, {what}: {verdict}") from None
        else:
            return


def advice(error: RedisError) -> str | None:
    """What to do, where a setting is at fault."""
    if code(error) == "WRONGTYPE":
        return "the key holds something else than a stream; choose another redis.prefix"
    return None
