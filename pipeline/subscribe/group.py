"""One consumer of one consumer group: the Redis commands it needs, and nothing else.

Taking over (``claim``) changes an entry's owner without counting a delivery (JUSTID); only
``read_own``, which hands out one entry at a time, counts. So the count of an entry tells how often
it was really begun, and an entry that kills its consumer doesn't drag its neighbours along.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import redis
from redis.exceptions import RedisError, ResponseError
from redis.typing import EncodableT, FieldT

from pipeline import wire
from pipeline.broker import code, longest_block_s
from pipeline.subscribe.consumers import FORGET_GONE, MADE_UP
from pipeline.subscribe.entries import FIRST, Entry, from_streams

log = logging.getLogger(__name__)

DEAD_MAXLEN = 100_000  # dead letters are for people: more than they will read
LONG_AGO_MS = 30 * 24 * 3600 * 1000  # idle for a month: longer than any claim_idle_s
CLAIM_BATCH = 100  # one XAUTOCLAIM looks at up to ten times as many


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A consumer's view of its group on ``<prefix>:events``."""

    client: redis.Redis
    """From ``private_client``, for these commands alone: one reply is read unparsed."""
    prefix: str
    name: str
    consumer: str

    def __post_init__(self) -> None:
        # Redis-py's parser of XAUTOCLAIM … JUSTID throws the cursor away.
        self.client.set_response_callback("XAUTOCLAIM", _unparsed)

    @property
    def _key(self) -> str:
        return wire.events_key(self.prefix)

    def create(self, start: str) -> None:
        """Make the group, and the stream, unless they exist. ``start``: ``0``, ``$`` or an id."""
        try:
            self.client.xgroup_create(self._key, self.name, id=start, mkstream=True)
        except ResponseError as error:
            if code(error) != "BUSYGROUP":
                raise

    def is_remade(self) -> bool:
        """Whether the group is there again, after its stream was deleted: from the new one's start.

        Whatever is in the new stream is new to the group.
        """
        try:
            self.create("0")
        except RedisError:
            return False
        log.warning(
            "group %r was gone, with its stream or its whole Redis; it is made again, from the "
            "oldest event that %s keeps",
            *(self.name, self._key),
        )
        return True

    def read_new(self, count: int, block_s: float) -> list[Entry]:
        """Entries that no consumer of the group was given yet."""
        block_s = min(block_s, longest_block_s(self.client))
        block_ms = max(1, int(block_s * 1000))  # 0 would wait for ever
        reply: object = self.client.xreadgroup(
            self.name, self.consumer, {self._key: ">"}, count=count, block=block_ms
        )
        return from_streams(reply)

    def read_own(self, after: str) -> Entry | None:
        """The next entry that was given to this consumer and not acknowledged; counts."""
        reply: object = self.client.xreadgroup(
            self.name, self.consumer, {self._key: after}, count=1
        )
        entries = from_streams(reply)
        if not entries:
            return None
        pending: object = self.client.xpending_range(
            self._key, self.name, min=entries[0].id, max=entries[0].id, count=1
        )
        deliveries = 1
        if isinstance(pending, list) and pending:
            deliveries = int(pending[0]["times_delivered"])
        return replace(entries[0], deliveries=deliveries)

    def claim(self, cursor: str, idle_s: float) -> tuple[str | None, int]:
        """Take over what nobody acknowledged for ``idle_s``.

        Where to go on, None at the end; and how many of them were trimmed away and are let go
        (by Redis 7; 6.2 hands them over like others, and ``read_own`` finds them empty).
        """
        reply: object = self.client.xautoclaim(
            self._key,
            self.name,
            self.consumer,
            min_idle_time=int(idle_s * 1000),
            start_id=cursor,
            count=CLAIM_BATCH,
            justid=True,
        )
        after = str(reply[0]) if isinstance(reply, list) and reply else FIRST
        trimmed = reply[2] if isinstance(reply, list) and len(reply) > 2 else []
        return None if after == FIRST else after, len(trimmed)

    def keep(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those of the entries that are still ours, their idle time set back to zero."""
        if not entries:
            return []
        pending: object = self.client.xpending_range(
            self._key,
            self.name,
            min=entries[0].id,
            max=entries[-1].id,
            count=len(entries),
            consumername=self.consumer,
        )
        ours = {line["message_id"] for line in pending} if isinstance(pending, list) else set()
        kept = [entry for entry in entries if entry.id in ours]
        if kept:
            self.client.xclaim(
                self._key,
                self.name,
                self.consumer,
                min_idle_time=0,
                message_ids=[entry.id for entry in kept],
                justid=True,
            )
        return kept

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Entries that were fetched and not begun: anybody may take them over at once."""
        self.client.xclaim(
            self._key,
            self.name,
            self.consumer,
            min_idle_time=0,
            message_ids=[entry.id for entry in entries],
            idle=LONG_AGO_MS,
            retrycount=0,
            justid=True,
        )

    def acknowledge(self, entry: Entry, identity: str | None = None, remember: int = 0) -> None:
        """Done with it; ``identity`` goes into the group's memory of ``remember`` names.

        In this order: were it cut between, the entry would come again and be known.
        """
        pipeline = self.client.pipeline(transaction=False)
        if identity is not None and remember:
            seen = wire.seen_key(self.name, self.prefix)
            pipeline.zadd(seen, {identity: time.time()})
            pipeline.zremrangebyrank(seen, 0, -remember - 1)
        pipeline.xack(self._key, self.name, entry.id)
        pipeline.execute()

    def knows(self, identity: str) -> bool:
        """Whether a consumer of the group acknowledged an event of this identity lately."""
        return self.client.zscore(wire.seen_key(self.name, self.prefix), identity) is not None

    def bury(self, entry: Entry, reason: str) -> None:
        """Copy it to the dead letters, then acknowledge it."""
        letter = wire.to_dead_fields(
            entry.fields,
            entry_id=entry.id,
            group=self.name,
            consumer=self.consumer,
            deliveries=entry.deliveries,
            reason=reason,
            at=time.time(),
        )
        stored: dict[FieldT, EncodableT] = dict(letter.items())
        self.client.xadd(wire.dead_key(self.prefix), stored, maxlen=DEAD_MAXLEN, approximate=True)
        self.acknowledge(entry)

    def leave(self) -> None:
        """Take the consumer off the group's list, unless entries hang on it."""
        pending: object = self.client.xpending_range(
            self._key, self.name, min="-", max="+", count=1, consumername=self.consumer
        )
        if not pending:
            self.client.xgroup_delconsumer(self._key, self.name, self.consumer)

    def forget_gone(self, silent_s: float) -> None:
        """Take off the list who has a made-up name, no entry, and was silent for so long."""
        silent_ms = int(silent_s * 1000)
        self.client.eval(FORGET_GONE, 1, self._key, self.name, str(silent_ms), MADE_UP)


def _unparsed(reply: object, **_: object) -> object:
    return reply
