"""The TCP connection by which FFmpeg talks to a camera: what it brings for nothing, and its end.

FFmpeg gathers what an answer says is still to come, a description or the fragments of one picture,
with no bound on memory; and now and then a call hangs in spite of its time-out. So whoever waits
for it looks at the kernel's own count of the connection's bytes, and shuts it down where it brings
``MAX_BYTES`` for nothing, or is to be let go: the call ends then, and all of it is freed.

FFmpeg doesn't say which connection is its own. It is the one to the camera's port that appears in
this process while nobody but this camera connects: cameras begin one after the other, each until
its connection is there (a few milliseconds; a slow name server isn't waited for). One that isn't
found that way, like that to a name's second address or to where a camera leads on, has time-outs
alone; so have those that begin until it has connected. So have all but on Linux.
"""

import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Self

MAX_BYTES = 128 << 20  # a camera's largest pictures have a hundredth of it
FOUND_S = 0.2  # it appears at once, unless its name has to be asked for
TURN_S = 1.0  # for others that begin
LATE_S = 60.0  # until then every name server has answered, or was given up
LOOK_S = 0.002
COUNT = struct.Struct("=Q")
COUNT_AT = 128  # tcp_info.tcpi_bytes_received, by linux/tcp.h; since Linux 4.1

_beginning = Lock()
_at_large: list[tuple[float, Callable[[], bool]]] = []
"""Of each whose connection wasn't found: until when that may yet appear, and whether it has, or
never will."""


class Inflow:
    """A second descriptor of a camera's connection, if it was found; close it."""

    def __init__(self, connection: socket.socket | None = None, port: int | None = None) -> None:
        self._connection = connection
        self._port = port
        self._before: int | None = 0
        """What it had brought when FFmpeg last gave something; None: not looked at since."""

    @classmethod
    def of(
        cls, connect: Callable[[], object], *, port: int | None, over: Callable[[], bool]
    ) -> Self:
        """Have another thread connect, and look for what appears.

        Args:
            connect: begins it, and returns at once.
            port: the camera's; None: nothing is looked for.
            over: it is connected, or nothing more will appear.

        Raises:
            Exception: what ``connect`` raised.
        """
        if port is None:
            connect()
            return cls()
        late = (time.monotonic() + LATE_S, over)
        if not _beginning.acquire(timeout=TURN_S):
            _at_large.append(late)
            connect()
            return cls()
        try:
            _at_large[:] = [
                (until_s, settled)
                for until_s, settled in _at_large
                if time.monotonic() < until_s and not settled()
            ]
            others = None if _at_large else _inodes()
            connect()
            if others is not None and (found := _found(others, port, over)) is not None:
                return cls(found, port)
            _at_large.append(late)
            return cls()
        finally:
            _beginning.release()

    def given(self) -> None:
        """FFmpeg gave something: all that came before is spent."""
        self._before = None

    def wasted(self) -> int:
        """Bytes that were brought for nothing, if too many: the connection is shut down; or 0."""
        brought = self._brought()
        if self._before is None:
            self._before = brought
        for_nothing = brought - self._before
        if for_nothing <= MAX_BYTES:
            return 0
        self.cut()
        return for_nothing

    def cut(self) -> None:
        """Shut it down: a call that waits for it ends."""
        if connection := self._connected():
            with suppress(OSError):  # it is down already
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it; it ends once FFmpeg has closed it, too."""
        if self._connection is not None:
            self._connection.close()

    def _brought(self) -> int:
        """Bytes so far; 0 where nobody counts."""
        if connection := self._connected():
            size = COUNT_AT + COUNT.size
            with suppress(OSError):
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
                if len(info) == size:
                    return int(COUNT.unpack_from(info, COUNT_AT)[0])
        return 0

    def _connected(self) -> socket.socket | None:
        """The connection, while it leads to the camera."""
        if self._connection is not None and _peer_port(self._connection) == self._port:
            return self._connection
        return None


def _inodes() -> frozenset[int] | None:
    """Of all sockets of this process; None: they can't be told."""
    try:
        return frozenset(inode for _, inode in _sockets())
    except OSError:  # no Linux, or no descriptor left to look with
        return None


def _found(others: frozenset[int], port: int, over: Callable[[], bool]) -> socket.socket | None:
    """A connection to this port that appears in time beside those that were there."""
    until_s = time.monotonic() + FOUND_S
    while time.monotonic() < until_s:
        last = over()
        if (found := _other_than(others, port)) is not None or last:
            return found
        time.sleep(LOOK_S)
    return None


def _other_than(others: frozenset[int], port: int) -> socket.socket | None:
    """A second descriptor of a TCP socket to this port that isn't one of these."""
    with suppress(OSError):
        for descriptor, inode in _sockets():
            if inode not in others and (found := _second(descriptor, inode)):
                if _peer_port(found) in (None, port):
                    return found
                found.close()
    return None


def _peer_port(connection: socket.socket) -> int | None:
    """None: it isn't connected yet, or no more."""
    with suppress(OSError):
        return int(connection.getpeername()[1])
    return None


def _second(descriptor: int, inode: int) -> socket.socket | None:
    """Another descriptor of that socket, if it is TCP.

    Raises:
        OSError: it was closed, or no descriptor is left.
    """
    copy = os.dup(descriptor)
    if os.fstat(copy).st_ino == inode:  # else it is another's by now
        found = socket.socket(fileno=copy)
        internet = found.family in (socket.AF_INET, socket.AF_INET6)
        if internet and found.type == socket.SOCK_STREAM:
            return found
        copy = found.detach()
    os.close(copy)
    return None


def _sockets() -> Iterator[tuple[int, int]]:
    """Descriptor and inode of each.

    Raises:
        OSError: they can't be listed.
    """
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        try:
            status = os.fstat(descriptor)
        except OSError:  # it was closed by now
            continue
        if stat.S_ISSOCK(status.st_mode):
            yield descriptor, status.st_ino
