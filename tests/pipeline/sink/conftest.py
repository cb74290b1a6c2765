"""A Redis of its own for each test that breaks it, and an outbox in front of it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from pipeline import wire
from pipeline.broker import private_client
from pipeline.records import ActionEvent
from pipeline.sink import EventStream, Limits, Outbox, Patience
from tests.redis_server import RedisServer

REFUSED_WAIT_S = 0.2


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of the outbox; open to everybody, so that a test may give up its rights."""
    path = Path(tempfile.mkdtemp(prefix="as-"))
    path.chmod(0o777)
    yield path / "outbox"
    shutil.rmtree(path)


class Outboxes:
    """Opens them, and sees them closed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def open(
        self,
        port: int,
        *,
        limits: Limits | None = None,
        patience: Patience | None = None,
        **settings: object,
    ) -> Outbox:
        client = redis.Redis(port=port, **settings)  # type: ignore[call-overload]
        own = private_client(client)
        self._stack.callback(client.close)
        self._stack.callback(own.close)
        outbox = Outbox(
            self._folder,
            EventStream(own),
            limits=limits,
            patience=patience,
            refused_wait_s=REFUSED_WAIT_S,
        )
        self._stack.callback(outbox.close, 0.0)
        return outbox


@pytest.fixture
def outboxes(folder: Path) -> Iterator[Outboxes]:
    with ExitStack() as stack:
        yield Outboxes(folder, stack)


@pytest.fixture
def stored() -> Callable[[RedisServer], list[ActionEvent]]:
    """All entries of the stream, as a reader that drops no repeats sees them."""

    def read(server: RedisServer) -> list[ActionEvent]:
        with server.client() as client:
            return [wire.from_fields(f) for _, f in client.xrange(wire.events_key())]

    return read


@pytest.fixture
def seqs(stored: Callable[[RedisServer], list[ActionEvent]]) -> Callable[[RedisServer], list[int]]:
    return lambda server: [event.seq for event in stored(server)]
