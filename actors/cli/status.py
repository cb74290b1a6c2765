"""``actionstream status``: what is there, and what the sources last did."""

from __future__ import annotations

from datetime import datetime

from redis.exceptions import RedisError, ResponseError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.cli.options import ConfigFile, Prefix, RedisUrl, StateDir, redis_config
from pipeline.broker import explain, open_broker
from pipeline.errors import BrokerError
from pipeline.sink import left_over
from pipeline.subscribe import latest_status
from pipeline.wire import dead_key, events_key


def status(
    redis: RedisUrl = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    prefix: Prefix = None,
) -> int:
    """Show the Redis in use, each stream's latest state, and how far consumers have come."""
    where = redis_config(redis, state_dir, prefix, config)
    out = Console(soft_wrap=True, highlight=False)
    with open_broker(where) as broker:
        kind = "private Redis" if broker.embedded else "Redis"
        out.print(f"{kind} at {broker.url}    {broker.how_to_connect}", markup=False)
        streams = Table("stream", "state", "since", "detail", box=None, pad_edge=False)
        for name, line in latest_status(broker.client, where.prefix).items():
            since = datetime.fromtimestamp(line.at).strftime("%Y-%m-%d %H:%M:%S")
            streams.add_row(Text(name), Text(line.state), since, Text(line.detail))
        try:
            kept = broker.client.xlen(events_key(where.prefix))
            dead = broker.client.xlen(dead_key(where.prefix))
            groups = _groups(broker.client, events_key(where.prefix))
        except RedisError as error:
            raise BrokerError(f"{broker.url}: {explain(error)}") from None
    out.print(f"{kept} events kept, {dead} dead letters")
    for path, (waiting, oldest_s) in left_over(where).items():
        since = datetime.fromtimestamp(oldest_s or 0).strftime("%Y-%m-%d %H:%M:%S")
        out.print(f"{waiting} events wait in {path} since {since}", markup=False)
    if streams.row_count:
        out.print(streams)
    if groups.row_count:
        out.print(groups)
    return 0


def _groups(client: object, key: str) -> Table:
    table = Table("group", "consumers", "pending", "lag", box=None, pad_edge=False)
    try:
        groups = client.xinfo_groups(key)  # type: ignore[attr-defined]
    except ResponseError:  # no events yet, so no stream
        return table
    for group in groups:
        lag = group.get("lag")
        table.add_row(
            Text(group["name"]),
            str(group["consumers"]),
            str(group["pending"]),
            "unknown" if lag is None else str(lag),
        )
    return table
