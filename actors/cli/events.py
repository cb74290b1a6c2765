"""``actionstream events``: the other end, for people and for pipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated

import typer

from actors.cli.options import ConfigFile, Prefix, RedisUrl, StateDir, redis_config
from actors.cli.show import complain, event_line, terminal
from actors.cli.signals import stopped_by_signals
from pipeline.broker import open_broker
from pipeline.errors import ConfigError
from pipeline.records import ActionEvent
from pipeline.subscribe import Patience, Subscriber, follow
from pipeline.wire import to_record


def events(
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with the oldest event that is kept.")
    ] = False,
    no_follow: Annotated[
        bool, typer.Option("--no-follow", help="End when there are no more, instead of waiting.")
    ] = False,
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; may be given again.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Only this label; may be given again.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Read as a member of this consumer group, and acknowledge."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    prefix: Prefix = None,
) -> int:
    """Print action events as they come, until Ctrl-C.

    Without --group every reader sees every event; members of a group share them, and what one of
    them did not acknowledge is given to another.
    """
    if group is not None and (no_follow or not group):
        raise ConfigError(
            "a member of a group waits for events: give --group a name, and leave --no-follow out"
        )
    where = redis_config(redis, state_dir, prefix, config)
    out = terminal()
    with ExitStack() as stack:
        broker = stack.enter_context(open_broker(where))
        stop = stack.enter_context(stopped_by_signals())
        if not as_json:
            complain(f"reading {where.prefix}:events at {broker.url}")
        patience = Patience(stop=stop, revive=broker.revive)
        start = "0" if from_start else "$"
        source: Iterator[ActionEvent]
        if group is not None:
            subscriber = Subscriber(
                broker.client,
                group=group,
                prefix=where.prefix,
                start=start,
                streams=stream or (),
                labels=label or (),
                patience=patience,
            )
            source = iter(stack.enter_context(subscriber))
        else:
            source = follow(
                broker.client,
                prefix=where.prefix,
                start=start,
                streams=stream or (),
                labels=label or (),
                until_caught_up=no_follow,
                patience=patience,
            )
        for event in source:
            if as_json:
                sys.stdout.write(json.dumps(to_record(event), separators=(",", ":")) + "\n")
                sys.stdout.flush()
            else:
                out.print(event_line(event))
    return 0
