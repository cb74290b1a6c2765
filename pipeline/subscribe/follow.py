"""Events as they come, for one reader that keeps no place: ``tail -f`` of the event stream.

In: where to start (``$`` now, ``0`` the oldest kept, or an entry's id). Out: events in the order
of the stream, repeats dropped. The reader's place lives in this process alone; a reader that must
not miss anything while it is down wants ``Subscriber``.

Cost: one XREAD per ``BATCH`` entries, one per second while nothing comes.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import redis
from redis.exceptions import RedisError

from pipeline import wire
from pipeline.broker import Patience, Trial, longest_block_s, place, private_client
from pipeline.errors import BrokerError
from pipeline.records import ActionEvent
from pipeline.subscribe.advice import advice
from pipeline.subscribe.choice import Choice
from pipeline.subscribe.entries import FIRST, Entry, from_stream, from_streams
from pipeline.subscribe.repeats import Recent, identity

log = logging.getLogger(__name__)

BATCH = 100  # entries per XREAD, about 60 kB; those of others may be of any size
REPEATS = 10_000  # repeats follow their original closely: a sink sends a batch again

Reply = TypeVar("Reply")


def follow(
    client: redis.Redis,
    *,
    prefix: str = wire.DEFAULT_PREFIX,
    start: str = "$",
    streams: Collection[str] = (),
    labels: Collection[str] = (),
    block_s: float = 1.0,
    until_caught_up: bool = False,
    idle_s: float | None = None,
    patience: Patience | None = None,
) -> Iterator[ActionEvent]:
    """Events from ``start`` on, until ``patience.stop`` is set.

    Args:
        client: of the Redis to read; its settings are copied, its connections left alone.
        prefix: of the keys.
        start: ``$`` means: what is added after this call, not after the first ``next``.
        streams: only these, if any are given.
        labels: only these, if any are given.
        block_s: the longest wait in Redis, and so for ``stop`` to be seen.
        until_caught_up: end as soon as the stream has no more.
        idle_s: end when nothing has come for so long.
        patience: for a Redis that goes away; ``stop`` in it ends the reading.

    Raises:
        BrokerError: Redis refuses, or patience is at its end.
    """
    patience = patience or Patience()
    reader = _Reader(private_client(client), wire.events_key(prefix), patience)
    after = reader.last_id() if start == "$" else start
    choice = Choice(streams=streams, labels=labels)
    wait_s = 0.0 if until_caught_up else min(block_s, longest_block_s(reader.client))
    return _events(reader, after, choice, wait_s, 0.0 if until_caught_up else idle_s)


def _events(
    reader: "_Reader", after: str, choice: Choice, block_s: float, idle_s: float | None
) -> Iterator[ActionEvent]:
    recent = Recent(REPEATS)
    heard_s = time.monotonic()
    with reader.client:
        while not reader.stopped:
            entries = reader.read(after, block_s)
            if entries:
                heard_s = time.monotonic()
            elif idle_s is not None and time.monotonic() - heard_s >= idle_s:
                return
            for entry in entries:
                after = entry.id
                event = _parse(entry)
                if event is None or identity(event) in recent:
                    continue
                recent.add(identity(event))
                if choice.wants(event):
                    yield event
                if reader.stopped:
                    return


def _parse(entry: Entry) -> ActionEvent | None:
    try:
        return wire.from_fields(entry.fields)
    except ValueError as error:
        log.warning("entry %s is skipped: %s", entry.id, error)
        return None


class _Reader:
    """XREAD, again and again where Redis was away."""

    def __init__(self, client: redis.Redis, key: str, patience: Patience) -> None:
        self.client = client
        self._key = key
        self._patience = patience

    @property
    def stopped(self) -> bool:
        return self._patience.stop.is_set()

    def last_id(self) -> str:
        newest: list[Entry] = self._insist(
            lambda: from_stream(self.client.xrevrange(self._key, count=1)), []
        )
        return newest[0].id if newest else FIRST

    def read(self, after: str, block_s: float) -> list[Entry]:
        block_ms = max(1, int(block_s * 1000)) if block_s > 0 else None
        return self._insist(
            lambda: from_streams(
                self.client.xread({self._key: after}, count=BATCH, block=block_ms)
            ),
            [],
        )

    def _insist(self, ask: Callable[[], Reply], if_stopped: Reply) -> Reply:
        trial = Trial(self._patience)
        where = place(self.client)
        while True:
            try:
                return ask()
            except RedisError as error:
                verdict = trial.failed(error, where)
                if self.stopped:
                    return if_stopped
                if verdict is not None:
                    raise BrokerError(
                        f"{where}, stream {self._key!r}: {advice(error, verdict)}"
                    ) from None
