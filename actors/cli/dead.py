"""``actionstream dead``: what consumers gave up on, and another chance for it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from actors.cli.options import ConfigFile, Prefix, RedisUrl, StateDir, redis_config
from actors.cli.show import complain, event_line, moment, shown, terminal
from pipeline.broker import open_broker
from pipeline.errors import ConfigError
from pipeline.subscribe import DeadLetters, Letter
from pipeline.wire import from_fields


def dead(
    letters: Annotated[
        list[str] | None, typer.Argument(help="Only these, by their id.", show_default="all")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Only what this group gave up on.")] = None,
    put_back: Annotated[
        bool, typer.Option("--put-back", help="Back into the event stream, for that group.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    prefix: Prefix = None,
) -> int:
    """List the events that consumers gave up on, or put them back.

    An event that is put back comes again to the group that gave it up; another passes
    over it, unless it has handled a hundred thousand others since.
    """
    where = redis_config(redis, state_dir, prefix, config)
    out = terminal()
    with open_broker(where) as broker:
        box = DeadLetters(broker.client, where.prefix)
        found = [letter for letter in box if group is None or letter.group == group]
        if letters:
            there = {letter.id for letter in found}
            if missing := [name for name in letters if name not in there]:
                raise ConfigError(f"there is no dead letter {missing[0]!r}; see: actionstream dead")
            found = [letter for letter in found if letter.id in letters]
        if put_back:
            done = sum(_put_back(box, letter) for letter in found)
            complain(f"{done} put back into {where.prefix}:events")
            return 0 if done == len(found) else 1
        for letter in found:
            if as_json:
                typer.echo(json.dumps(asdict(letter), separators=(",", ":")))
            else:
                out.print(_line(letter))
    return 0


def _put_back(box: DeadLetters, letter: Letter) -> bool:
    """Could it be?"""
    try:
        box.put_back(letter)
    except ValueError as error:
        complain(f"dead letter {letter.id}: {error}; it stays where it is")
        return False
    return True


def _line(letter: Letter) -> Text:
    """``17…-0  12:00:01  alarms, 5 times: RuntimeError: no such bell``, and the event."""
    line = Text(f"{shown(letter.id)}  {moment(letter.at)}  ")
    why = f"{letter.group}, {letter.deliveries} times: {letter.reason}"
    line.append(f"{shown(why)}\n    ", style="bold")
    try:
        line.append_text(event_line(from_fields(letter.original)))
    except ValueError as error:
        line.append(f"no event: {shown(str(error))}", style="dim")
    return line
