"""Entries into a Redis stream, in order, for as long as it takes.

A batch goes out as one pipeline of XADDs in a transaction (50,000 to 97,000 entries/s against
17,000 to 28,000 one by one). The rule that is easy to get wrong: without the transaction, Redis may
refuse the k-th XADD for want of memory and take the next, and readers see them out of order. With
it, a batch is stored whole or not at all, and is sent again until it is. When the connection
breaks before the answer, it may be stored twice; ``(event_id, seq)`` tells the repeats.

Faults that pass (lost connections, loading, out of memory, a read-only replica) are waited out,
see ``Patience``; others end it.
"""

from collections.abc import Callable, Mapping, Sequence

import redis
from redis.exceptions import ReadOnlyError, RedisError
from redis.typing import EncodableT, FieldT

from pipeline.broker import Patience, Trial, code, place
from pipeline.errors import SinkError

BATCH = 1000  # entries per pipeline: about 0.5 MB of commands held in memory twice


class Appender:
    """Appends to one stream and keeps it at about ``maxlen`` entries."""

    def __init__(
        self, client: redis.Redis, key: str, *, maxlen: int, patience: Patience | None = None
    ) -> None:
        self._client = client
        self._key = key
        self._maxlen = maxlen
        self._patience = patience or Patience()

    def append(self, entries: Sequence[Callable[[], Mapping[str, str]]]) -> None:
        """Append what each entry gives when it is sent (and again when it is sent again).

        Raises:
            SinkError: a fault that doesn't pass, or patience is at its end. Batches before the
                failing one are stored; that one may be, if its answer was lost.
        """
        for at in range(0, len(entries), BATCH):
            trial = Trial(self._patience)
            while error := self._send(entries[at : at + BATCH]):
                self._wait(trial, error, left=len(entries) - at)

    def _send(self, entries: Sequence[Callable[[], Mapping[str, str]]]) -> RedisError | None:
        """Why they were not taken, or None when they were."""
        pipeline = self._client.pipeline(transaction=len(entries) > 1)
        for entry in entries:
            fields: dict[FieldT, EncodableT] = dict(entry().items())
            pipeline.xadd(self._key, fields, maxlen=self._maxlen, approximate=True)
        try:
            pipeline.execute()
        except RedisError as error:
            return error
        return None

    def _wait(self, trial: Trial, error: RedisError, *, left: int) -> None:
        where = f"{place(self._client)}, stream {self._key!r}"
        if code(error) == "WRONGTYPE":
            raise SinkError(
                f"{where}: the key holds something else than a stream; choose another redis.prefix"
            ) from None
        if isinstance(error, ReadOnlyError):
            # The old primary still answers; the address may lead to the new one by now.
            self._client.connection_pool.disconnect()
        verdict = trial.failed(error, where)
        if verdict is not None:
            raise SinkError(f"{where}: {left} entries not written: {verdict}") from None
