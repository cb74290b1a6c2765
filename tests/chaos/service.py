"""A command that is started again whenever it ends, as a service manager does it."""

import os
import subprocess
import time
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from tests.chaos.processes import Process, kill_session, of_session

RESTART_S = 0.5
LOOK_S = 0.05
STOP_S = 120.0  # a drain waits 20 s for Redis; the rest is for a busy machine
LEAVE_S = 45.0  # Ray's agents look for their parent each few seconds


class Service:
    """Each life of the command is a session of its own; a context manager."""

    def __init__(self, command: list[str], folder: Path, name: str, **environment: str) -> None:
        self.lives = 0
        """How often it was started."""
        self.name = name
        self.said = folder / f"{name}.log"
        """What all lives wrote to standard error and output."""
        self._command = command
        self._environment = os.environ | environment
        self._wanted = Event()
        self._closing = Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper = Thread(target=self._keep, name=f"service {name}")

    @property
    def processes(self) -> list[Process]:
        """Of this life."""
        child = self._child
        return [] if child is None else of_session(child.pid)

    def actors(self, role: str) -> list[Process]:
        """Actors of a class by their titles: ``Camera``."""
        return [each for each in self.processes if each.title.startswith(f"ray::{role}")]

    def kill(self) -> None:
        """``kill -9`` of all of it; it is started again, unless it is held."""
        child = self._child
        if child is not None:
            child.kill()
            kill_session(child.pid)

    def hold(self) -> None:
        """Don't start it again until ``release``."""
        self._wanted.clear()

    def release(self) -> None:
        self._wanted.set()

    def stop(self) -> tuple[int, list[Process]]:
        """End it in order: its exit code, and who is left of it after a while."""
        self.hold()
        self._closing.set()
        self._keeper.join()
        child = self._child
        assert child is not None
        child.terminate()
        code = child.wait(STOP_S)
        deadline_s = time.monotonic() + LEAVE_S
        while (left := of_session(child.pid)) and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
        return code, left

    def __enter__(self) -> Self:
        self.release()
        self._keeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hold()
        self._closing.set()
        self._keeper.join()
        self.kill()
        if self._child is not None:
            self._child.wait()

    def _keep(self) -> None:
        while not self._closing.is_set():
            child = self._child
            if child is None or child.poll() is not None:
                if child is not None:
                    kill_session(child.pid)  # as systemd does with what is left of a service
                    self._closing.wait(RESTART_S)
                if self._wanted.wait(LOOK_S) and not self._closing.is_set():
                    self._start()
            self._closing.wait(LOOK_S)

    def _start(self) -> None:
        with self.said.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.lives += 1
