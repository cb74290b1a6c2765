"""Outboxes in a state folder: one for each Redis, database and prefix that events go to."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.broker import Broker, Patience, default_state_dir, place, private_client
from pipeline.config import RedisConfig
from pipeline.home import absolute
from pipeline.sink.event_stream import EventStream
from pipeline.sink.journal_file import waiting
from pipeline.sink.outbox import Outbox
from pipeline.sink.state import Limits


@contextmanager
def open_outbox(
    config: RedisConfig, broker: Broker, *, patience: Patience | None = None
) -> Iterator[Outbox]:
    """The outbox in the config's state folder, for the Redis that the broker leads to."""
    client = private_client(broker.client)
    stream = EventStream(client, config.prefix, maxlen=config.maxlen)
    where = "private" if broker.embedded else _destination(broker)
    outbox = Outbox(
        _folder(config),
        stream,
        name=hashlib.sha256(f"{where} {stream.key}".encode()).hexdigest()[:12],
        limits=Limits(max_events=config.outbox_max_events, max_bytes=config.outbox_max_bytes),
        patience=patience or Patience(revive=broker.revive),
    )
    try:
        yield outbox
    finally:
        outbox.close()
        client.close()


def left_over(config: RedisConfig) -> dict[Path, tuple[int, float | None]]:
    """Files of the state folder in which events wait: how many, and the oldest's Unix seconds."""
    found: dict[Path, tuple[int, float | None]] = {}
    for path in sorted(_folder(config).glob("*.sqlite")):
        with suppress(sqlite3.Error, OSError):
            if not path.is_file():
                continue
            found[path] = waiting(path)
    return {path: said for path, said in found.items() if said[0]}


def _folder(config: RedisConfig) -> Path:
    return absolute(config.state_dir or default_state_dir()) / "outbox"


def _destination(broker: Broker) -> str:
    """Which Redis, without a secret."""
    database = broker.client.connection_pool.connection_kwargs.get("db", 0)
    return f"{place(broker.client)}/{database}"
