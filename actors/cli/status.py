"""``actionstream status``: what is there, and what the sources last did."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import RedisError
from rich.table import Table
from rich.text import Text

from actors.cli.options import ConfigFile, Prefix, RedisUrl, StateDir, redis_config
from actors.cli.show import moment, shown, terminal
from pipeline.broker import explain, open_broker
from pipeline.errors import BrokerError
from pipeline.sink import left_over
from pipeline.subscribe import GroupState, gone_silent, group_states, latest_status
from pipeline.wire import dead_key, events_key

SILENT = "not now: its run is gone, or has not reached this Redis for half a minute"


def status(
    redis: RedisUrl = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    prefix: Prefix = None,
) -> int:
    """Show the Redis in use, each stream's latest state, and how far consumers have come."""
    where = redis_config(redis, state_dir, prefix, config)
    out = terminal()
    with open_broker(where) as broker:
        kind = "private Redis" if broker.embedded else "Redis"
        out.print(f"{kind} at {shown(broker.url)}    {shown(broker.how_to_connect)}", markup=False)
        streams = Table("stream", "state", "since", "detail", box=None, pad_edge=False)
        lines = latest_status(broker.client, where.prefix)
        silent = gone_silent(broker.client, lines.values(), where.prefix)
        for name, line in lines.items():
            state, detail = Text(shown(line.state)), Text(shown(line.detail))
            if name in silent:
                detail = Text(f"{SILENT}; {detail}" if detail else SILENT)
            streams.add_row(Text(shown(name)), state, moment(line.at), detail)
        try:
            kept = broker.client.xlen(events_key(where.prefix))
            dead = broker.client.xlen(dead_key(where.prefix))
        except RedisError as error:
            raise BrokerError(f"{broker.url}: {explain(error)}") from None
        groups = _table(group_states(broker.client, where.prefix))
    more = "; see: actionstream dead" if dead else ""
    out.print(f"{kept} events kept, {dead} dead letters{more}")
    for path, (waiting, oldest_s) in left_over(where).items():
        since = moment(oldest_s or 0)
        out.print(f"{waiting} events wait in {shown(path)} since {since}", markup=False)
    if streams.row_count:
        out.print(streams)
    if groups.row_count:
        out.print(groups)
    return 0


def _table(groups: Sequence[GroupState]) -> Table:
    table = Table("group", "consumers", "pending", "lag", box=None, pad_edge=False)
    for group in groups:
        lag = f"{group.lag} or more" if group.at_least else str(group.lag)
        if group.lost:
            lag += f", and {group.lost} trimmed before they were read"
        table.add_row(Text(shown(group.name)), str(group.consumers), str(group.pending), lag)
    return table
