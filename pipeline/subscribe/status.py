"""The latest state of each stream, from the changes of state that a run publishes."""

import redis
from redis.exceptions import RedisError

from pipeline import wire
from pipeline.broker import explain, place
from pipeline.errors import BrokerError
from pipeline.subscribe.entries import from_stream

SCAN = 10_000  # entries looked at, newest first: as many as a sink keeps


def latest_status(
    client: redis.Redis, prefix: str = wire.DEFAULT_PREFIX
) -> dict[str, wire.StatusLine]:
    """By stream, in the order of their names; malformed entries are passed over.

    Raises:
        BrokerError: Redis refuses.
    """
    key = wire.status_key(prefix)
    try:
        entries = from_stream(client.xrevrange(key, count=SCAN))
    except RedisError as error:
        raise BrokerError(f"{place(client)}, stream {key!r}: {explain(error)}") from None
    latest: dict[str, wire.StatusLine] = {}
    for entry in entries:
        try:
            line = wire.from_status_fields(entry.fields)
        except ValueError:
            continue
        latest.setdefault(line.stream_id, line)
    return dict(sorted(latest.items()))
