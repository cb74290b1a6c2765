"""Processes as Linux's /proc shows them: who belongs together, and what each holds."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SESSION, STARTED, STATE = 3, 19, 0
"""Places in ``/proc/PID/stat`` after the name."""


@dataclass(frozen=True, slots=True)
class Process:
    """One that lives; told from a later one with the same number by when it started."""

    pid: int
    started: int

    @property
    def title(self) -> str:
        """Its command line; Ray's actors have ``ray::Camera``."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return ""

    @property
    def lives(self) -> bool:
        fields = _stat(self.pid)
        return fields is not None and int(fields[STARTED]) == self.started

    def kill(self) -> None:
        if self.lives:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a process holds."""

    mib: float
    """Memory that nobody shares."""
    threads: int
    descriptors: int


def of_session(leader: int) -> list[Process]:
    """Every living process of a session: what began in it stays in it, whoever its parent is."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields is not None and int(fields[SESSION]) == leader:
            found.append(Process(int(folder.name), int(fields[STARTED])))
    return sorted(found, key=lambda process: process.started)


def kill_session(leader: int, timeout_s: float = 10.0) -> None:
    """End all of it at once, and see it gone."""
    deadline_s = time.monotonic() + timeout_s
    while left := of_session(leader):
        for process in left:
            process.kill()
        assert time.monotonic() < deadline_s, f"{left} outlive kill -9"
        time.sleep(0.02)


def holdings(process: Process) -> Holdings | None:
    """What it holds now; None if it is gone."""
    folder = Path(f"/proc/{process.pid}")
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
        kib = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        threads = sum(1 for _ in (folder / "task").iterdir())
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
    except (OSError, ValueError):
        return None
    return Holdings(mib=kib / 1024, threads=threads, descriptors=descriptors)


def _stat(pid: int) -> list[str] | None:
    """Fields after the name, of a process that isn't dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[STATE] in "ZX" else fields
