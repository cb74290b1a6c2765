"""Small files that may be anything: what should be a few lines may be a pipe, or have no end."""

import os
import stat
from pathlib import Path


class NoFile(OSError):
    """A folder, a pipe or a device."""


def read_small(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """The first ``limit`` bytes of a file, which waits for nobody, and what the system says of it.

    Raises:
        NoFile: it is none.
        OSError: it can't be read.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise NoFile(0, "a folder, pipe or device; give a file")
        return file.read(limit), status


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that nobody writes to would never be opened."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
