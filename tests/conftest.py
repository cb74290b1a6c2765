"""A real Redis for every test that wants one, and the few things that tests of all rooms share."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from pipeline.broker import EmbeddedServer
from pipeline.records import ActionEvent, Clock, EventType


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A folder for an embedded server, with a short path, because sockets want one."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    yield folder / "state"
    _end_server(folder / "state" / "redis.pid")
    shutil.rmtree(folder)


def _end_server(pid_file: Path) -> None:
    """End the server that a killed deployment left; one that was stopped took its file along."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        deadline = time.monotonic() + 10
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)  # raises once it is gone
            time.sleep(0.01)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """One server for the whole session."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    try:
        with EmbeddedServer(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def redis_client(redis_server: EmbeddedServer) -> Iterator[redis.Redis]:
    """A client of it, and nothing in it yet."""
    with redis_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Poll a condition until it is true, or fail with what was waited for."""

    def wait(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout_s} s in vain: {what}"
            time.sleep(0.01)

    return wait


@pytest.fixture
def make_event() -> Callable[..., ActionEvent]:
    """An event like any other, but for what a test says of it."""

    def make(seq: int = 0, **said: object) -> ActionEvent:
        usual: dict[str, object] = {
            "event_id": "e0",
            "type": EventType.START,
            "stream_id": "door",
            "label": "opening something",
            "source_kind": "live",
            "session_id": "s0",
            "label_id": 7,
            "score": 0.75,
            "peak_score": 0.875,
            "mean_score": 0.5,
            "start_pts_s": 12.5,
            "end_pts_s": None,
            "start_time": 1_700_000_000.25,
            "end_time": None,
            "clock": Clock.WALL,
            "first_window": 96,
            "last_window": 104,
            "model_name": "small",
            "model_digest": "d1",
        }
        return ActionEvent(seq=seq, **{**usual, **said})  # type: ignore[arg-type]

    return make
