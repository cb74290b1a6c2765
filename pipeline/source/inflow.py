"""What the network brings for a camera while FFmpeg gives nothing for it.

FFmpeg gathers what an answer says is still to come, a description or the fragments of one picture,
with no bound on memory. So whoever waits for it looks at the kernel's own count of each
connection's bytes, and shuts down one that brings ``MAX_BYTES`` for nothing: the call ends then,
and all of it is freed.

FFmpeg doesn't tell which connections are its own. Those that appeared in this process while a
camera was being opened are taken for that camera's; of another one, opened in the same moment, a
connection would be shut down only if it brought so much while this one is silent, and be made
again. Linux alone tells all this; elsewhere nothing is found.
"""

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 128 << 20  # a camera's largest pictures have a hundredth of it
COUNT = struct.Struct("=Q")
COUNT_AT = 128  # tcp_info.tcpi_bytes_received, by linux/tcp.h; since Linux 4.1


class Inflow:
    """The connections of a camera that is about to be opened."""

    def __init__(self) -> None:
        self._others = frozenset(inode for inode, _ in _connections())
        self._own: frozenset[int] | None = None
        """None: the camera is still being opened."""
        self._before: dict[int, int] | None = {}
        """What each had brought when FFmpeg last gave something; None: not looked at since."""

    def opened(self) -> None:
        """The camera is open: what appears from now on isn't its own."""
        self._own = frozenset(inode for inode, _ in _connections()) - self._others
        self.given()

    def given(self) -> None:
        """FFmpeg gave something: all that came before is spent."""
        self._before = None

    def wasted(self) -> int:
        """Bytes that a connection brought for nothing, if too many: it is shut down; or 0."""
        came, most = {}, 0
        for inode, connection in _connections():
            if inode in self._others or (self._own is not None and inode not in self._own):
                continue
            came[inode] = _received(connection)
            for_nothing = 0 if self._before is None else came[inode] - self._before.get(inode, 0)
            if for_nothing > MAX_BYTES:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                most = max(most, for_nothing)
        if self._before is None:
            self._before = came
        return most


def _connections() -> Iterator[tuple[int, socket.socket]]:
    """TCP connections of this process, by their inode.

    A second descriptor of each, while it is looked at: one that is closed meanwhile isn't taken for
    another that gets its number.
    """
    try:
        descriptors = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:  # no Linux, or no descriptor left to look with
        return
    for descriptor in descriptors:
        with suppress(OSError):  # it was closed by now, or isn't connected
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                if connection.family in (socket.AF_INET, socket.AF_INET6):
                    connection.getpeername()
                    yield os.fstat(connection.fileno()).st_ino, connection


def _received(connection: socket.socket) -> int:
    """Bytes that a connection has brought; 0 for one that isn't TCP, or an old kernel's."""
    with suppress(OSError):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, COUNT_AT + COUNT.size)
        if len(info) == COUNT_AT + COUNT.size:
            return int(COUNT.unpack_from(info, COUNT_AT)[0])
    return 0
