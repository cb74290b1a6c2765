"""Dead letters: what a consumer group gave up on, for people who look into it.

A letter that is put back goes to the end of the event stream as it was. The group that gave it up
handles it as new. To another it is a repeat of ``event_id, seq``, which it drops if it is among the
last ``Rules.remember`` that it handled; an older one it handles again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import redis
from redis.exceptions import RedisError
from redis.typing import EncodableT, FieldT

from pipeline import wire
from pipeline.broker import place
from pipeline.errors import BrokerError
from pipeline.subscribe.advice import explained
from pipeline.subscribe.entries import Entry, from_stream, just_after

PAGE = 500  # letters per XRANGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One entry of ``<prefix>:dead``."""

    id: str
    """Of the letter; its first part is Unix milliseconds."""
    group: str
    consumer: str
    deliveries: int
    reason: str
    at: float
    """Unix seconds."""
    original: dict[str, str]
    """The fields of the entry that was given up; of an event, unless it was malformed."""


class DeadLetters:
    """Those of one Redis."""

    def __init__(self, client: redis.Redis, prefix: str = wire.DEFAULT_PREFIX) -> None:
        self._client = client
        self._prefix = prefix

    def __iter__(self) -> Iterator[Letter]:
        """The oldest first.

        Raises:
            BrokerError: Redis is away or refuses.
        """
        start: str | None = "-"
        while start is not None and (entries := self._page(start)):
            yield from (_letter(entry) for entry in entries)
            start = just_after(entries[-1].id)

    def put_back(self, letter: Letter) -> None:
        """Into the event stream, and out of the letters.

        In this order: were it cut between, the event would come again and be known.

        Raises:
            BrokerError: Redis is away or refuses.
            ValueError: nothing is left of the event; the letter stays.
        """
        if not letter.original:
            raise ValueError("holds no event")
        fields: dict[FieldT, EncodableT] = dict(letter.original.items())
        try:
            self._client.xadd(wire.events_key(self._prefix), fields)
            self._client.xdel(wire.dead_key(self._prefix), letter.id)
        except RedisError as error:
            raise self._refused(error) from None

    def _page(self, start: str) -> list[Entry]:
        try:
            found = self._client.xrange(wire.dead_key(self._prefix), min=start, count=PAGE)
        except RedisError as error:
            raise self._refused(error) from None
        return from_stream(found)

    def _refused(self, error: RedisError) -> BrokerError:
        return BrokerError(f"{place(self._client)}: {explained(error)}")


def _letter(entry: Entry) -> Letter:
    about, original = wire.from_dead_fields(entry.fields)
    count = about.get("deliveries", "")
    is_count = count.isascii() and count.isdigit() and len(count) < 19  # fits 63 bits
    return Letter(
        id=entry.id,
        group=about.get("group", ""),
        consumer=about.get("consumer", ""),
        deliveries=int(count) if is_count else 0,
        reason=about.get("reason", ""),
        at=int(entry.id.partition("-")[0]) / 1000,
        original=original,
    )
