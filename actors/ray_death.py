"""Ray's own death: said in one line, and the end of this process.

Two of Ray's servers can't be done without: the raylet of this machine and the cluster's GCS.
Without the first, calls of Ray hang for ever; without the second for a minute, after which Ray ends
the process with words of its own. Nothing that waits for Ray can be trusted to return, so this
process ends at once, with exit code 1, and leaves nothing of a local Ray behind. Actors end with
their raylet (see ``tether``); what they had written is in the outbox, and the next run sends it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import ray
from ray._private import worker

from actors.tether import LOOK_S

KNOCK_S = 1.0
LOCAL_GCS_S = 2.0  # one that was started by us never comes back
JOINED_GCS_S = 30.0  # one of a cluster may, within Ray's own limit of 60 s


@contextmanager
def ends_with_ray(say: Callable[[str], None]) -> Iterator[None]:
    """Within the context this process ends when Ray does; ``say`` is told why."""
    watch, leaving = _RayWatch(), Event()

    def look() -> None:
        why = watch.wait(leaving)
        if why:
            try:
                say(f"{why}; what was not sent yet is in the outbox, and the next run sends it")
                watch.clean_up()
                sys.stderr.flush()  # which may be a full disk's, or a terminal's that was closed
            finally:
                os._exit(1)

    if not watch.can_see:
        yield
        return
    thread = Thread(target=look, name="ray watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join()


class _RayWatch:
    """The two servers, and what else belongs to a Ray of our own."""

    def __init__(self) -> None:
        context = ray.get_runtime_context()
        host, _, port = context.gcs_address.rpartition(":")
        self._gcs = (host.strip("[]"), int(port))
        (path,) = (
            node["RayletSocketName"]
            for node in ray.nodes()
            if node["NodeID"] == context.get_node_id()
        )
        self._raylet_path: str = path
        self._raylet = self._connect()
        self.can_see = self._raylet is not None
        """No: this process is a client of a Ray elsewhere."""
        own = _processes_of_our_own()
        self._own = [process for pid in own for process in _with_children(pid)]
        self._gcs_limit_s = LOCAL_GCS_S if own else JOINED_GCS_S

    def wait(self, leaving: Event) -> str:
        """What died; empty if we leave before."""
        heard_s = time.monotonic()
        while not leaving.is_set():
            if self._raylet_died(KNOCK_S):
                return "Ray died: its raylet on this machine is gone"
            if self._gcs_answers():
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > self._gcs_limit_s:
                return "Ray died: its GCS is gone"
        return ""

    def clean_up(self) -> None:
        """End what a Ray of our own has left, and let its actors end."""
        for process in self._own:
            process.kill()
        if self._own:
            time.sleep(2 * LOOK_S)

    def _connect(self) -> socket.socket | None:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(self._raylet_path)
        except OSError:
            line.close()
            return None
        return line

    def _raylet_died(self, timeout_s: float) -> bool:
        """A line to it is kept open, which the kernel closes when it dies."""
        if self._raylet is None:
            return True
        if select.select([self._raylet], [], [], timeout_s)[0]:
            self._raylet.close()
            self._raylet = self._connect()
        return self._raylet is None

    def _gcs_answers(self) -> bool:
        try:
            socket.create_connection(self._gcs, timeout=KNOCK_S).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    started: str
    """In clock ticks: a number that is used again belongs to another."""

    def kill(self) -> None:
        if _started(self.pid) == self.started:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)


def _processes_of_our_own() -> list[int]:
    """Servers of a Ray that this process has started."""
    node = worker._global_node
    if node is None:
        return []
    return [each.process.pid for several in node.all_processes.values() for each in several]


def _with_children(pid: int) -> Iterator[_Process]:
    """A process and what it has started, less workers: those end by themselves."""
    yield _Process(pid=pid, started=_started(pid))
    for listing in Path("/proc").glob(f"{pid}/task/*/children"):
        with suppress(OSError):
            for child in map(int, listing.read_text().split()):
                if b"Agent" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield _Process(pid=child, started=_started(child))


def _started(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
