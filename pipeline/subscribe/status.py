"""The latest state of each stream, and whether who told it is still there."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import redis
from redis.exceptions import RedisError

from pipeline import wire
from pipeline.broker import explain, place
from pipeline.errors import BrokerError
from pipeline.subscribe.entries import Entry, from_stream, just_before

SCAN = 10_000  # entries looked at, newest first: as many as a sink keeps
PAGE = 100  # of them at a time: Redis takes entries of any size, from others than a sink


def latest_status(
    client: redis.Redis, prefix: str = wire.DEFAULT_PREFIX
) -> dict[str, wire.StatusLine]:
    """By stream, in the order of their names; malformed entries are passed over.

    Raises:
        BrokerError: Redis refuses.
    """
    key = wire.status_key(prefix)
    latest: dict[str, wire.StatusLine] = {}
    try:
        for entry in _newest_first(client, key):
            with suppress(ValueError):
                line = wire.from_status_fields(entry.fields)
                latest.setdefault(line.stream_id, line)
    except RedisError as error:
        raise BrokerError(f"{place(client)}, stream {key!r}: {explain(error)}") from None
    return dict(sorted(latest.items()))


def gone_silent(
    client: redis.Redis, lines: Iterable[wire.StatusLine], prefix: str = wire.DEFAULT_PREFIX
) -> frozenset[str]:
    """Names of streams whose teller died, or has not reached Redis for half a minute.

    None, where we lack the right to ask.

    Raises:
        BrokerError: Redis can't be reached.
    """
    told = [line for line in lines if line.by and line.state not in wire.GONE]
    tellers = sorted({line.by for line in told})
    try:
        with client.pipeline(transaction=False) as asking:
            for by in tellers:
                asking.exists(wire.alive_key(by, prefix))
            said = asking.execute(raise_on_error=False)
    except RedisError as error:
        raise BrokerError(f"{place(client)}: {explain(error)}") from None
    gone = {by for by, there in zip(tellers, said, strict=True) if there == 0}
    return frozenset(line.stream_id for line in told if line.by in gone)


def _newest_first(client: redis.Redis, key: str) -> Iterator[Entry]:
    last = "+"
    for _ in range(SCAN // PAGE):
        page = from_stream(client.xrevrange(key, max=last, count=PAGE))
        yield from page
        if len(page) < PAGE:
            return
        last = just_before(page[-1].id)
