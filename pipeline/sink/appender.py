"""Entries into a Redis stream, in order, for as long as it takes.

A batch goes out as one pipeline of XADDs (no transaction: Redis takes each as it comes; 50,000 to
97,000 entries/s against 17,000 to 28,000 one by one). The rule that is easy to get wrong: when the
k-th XADD is refused, later ones of the same pipeline may have been taken. So everything from the
k-th on is sent again, in order; when the connection breaks, everything unanswered is. A reader may
thus see an entry twice or see a later one early, but never misses one, and after the repeat the
order is right; ``(event_id, seq)`` tells the repeats.

Faults that pass (lost connections, loading, out of memory, a read-only replica) are waited out
with exponential backoff; jitter keeps many publishers from returning in step. Others end it.
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
            SinkError: a fault that doesn't pass, or patience is at its end. Entries before the
                failing one are stored, some after it may be.
        """
        trial = Trial(self._patience)
        at = 0
        while at < len(entries):
            taken, error = self._send(entries[at : at + BATCH])
            at += taken
            if taken:
                trial.succeeded()
            if error is not None:
                self._wait(trial, error, left=len(entries) - at)

    def _send(
        self, entries: Sequence[Callable[[], Mapping[str, str]]]
    ) -> tuple[int, RedisError | None]:
        """How many were taken before the first that wasn't, and why that wasn't."""
        pipeline = self._client.pipeline(transaction=False)
        for entry in entries:
            fields: dict[FieldT, EncodableT] = dict(entry().items())
            pipeline.xadd(self._key, fields, maxlen=self._maxlen, approximate=True)
        try:
            answers = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            return 0, error
        for place_in_batch, answer in enumerate(answers):
            if isinstance(answer, RedisError):
                return place_in_batch, answer
        return len(answers), None

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
