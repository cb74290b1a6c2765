"""A Redis server on loopback that a test can kill, freeze and start again at the same port."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from pipeline.broker import find_server

START_S = 20.0
BINARY = os.environ.get("ACTIONSTREAM_TEST_REDIS")
"""Another server to test against: Redis 6.2, 7.0, 8.2 …"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class RedisServer:
    """Without an append-only file unless asked for: killed, it comes back empty."""

    def __init__(self, *settings: str, port: int | None = None, start: bool = True) -> None:
        self.port = port or free_port()
        self._settings = settings
        self._folder = tempfile.mkdtemp(prefix="as-")
        self._process: subprocess.Popen[bytes] | None = None
        if start:
            self.start()

    def start(self, *settings: str) -> None:
        command = [BINARY or str(find_server()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", self._folder, "--save", "", "--logfile", f"{self._folder}/log"]
        command += [*self._settings, *settings]
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
        try:
            self._wait_for_it(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_for_it(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_S
        while True:
            assert process.poll() is None, Path(self._folder, "log").read_text()
            assert time.monotonic() < deadline_s, "the server doesn't listen"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Delete its data; it must not run."""
        assert self._process is None
        shutil.rmtree(self._folder)
        Path(self._folder).mkdir()

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def client(self, *, port: int | None = None, **settings: object) -> redis.Redis:
        return redis.Redis(port=port or self.port, decode_responses=True, **settings)  # type: ignore[call-overload,no-any-return]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)
