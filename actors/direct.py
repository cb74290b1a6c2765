"""Calls between two actors of one machine that don't go through Ray.

A call of Ray's takes 1.6 ms of CPU at each of its ends, as much as half a window of a small
network; one that goes through here takes a third of it. Ray still starts the actors, finds them and
starts them again: whoever calls asks an actor, through Ray, where its door is. An actor that dies
closes its lines, so nobody waits for it.

    actor:   self._door = Door({"answers": self.answers})
    caller:  with Line(address) as line: answer = line.lend("answers", pixels)

A call travels over a Unix socket, pickled. Its arrays may be lent: they lie on a shelf, memory that
both processes see, until the answer comes, so the method may look at them, and keeps none. Both
ends hang up on another user's process. The socket's name is no file, so an actor that is killed
leaves none.
"""

from __future__ import annotations

import mmap
import os
import pickle
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from threading import Thread
from typing import Any, Self

import ray

HEAD = struct.Struct("=QI")  # bytes of the shelf, arrays on it; then the length of each
PEER = struct.Struct("=iII")  # unix(7), struct ucred: process, user, group
REST_S = 0.05  # after nobody could be let in
ALIGNMENT = 64  # of an array on the shelf: a cache line


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a door is."""

    node: str
    name: str

    @property
    def here(self) -> bool:
        """Is it on this process's machine, by Ray's account?"""
        return self.node == _node()


class HungUp(ConnectionError):
    """The actor behind a door died, or can't be reached; a call may have been heard or not."""


class Line:
    """A connection to a door; one call at a time."""

    def __init__(self, address: Address) -> None:
        """Raises HungUp: nobody is there any more."""
        with _own_failures():
            end = socket.socket(socket.AF_UNIX)
            try:
                end.connect(address.name)
            except OSError:
                end.close()
                raise
            self._connection = _connection(end)
        self._shelf: mmap.mmap | None = None

    def call(self, method: str, *arguments: object) -> Any:
        """What the method returns.

        Raises:
            HungUp: the actor died, before or after it did what was asked.
            Exception: what the method raised.
        """
        return self._answer(pickle.dumps((method, arguments), protocol=5), [])

    def lend(self, method: str, *arguments: object) -> Any:
        """The same, for a method that keeps none of the arrays: they are copied once."""
        buffers: list[pickle.PickleBuffer] = []
        text = pickle.dumps((method, arguments), protocol=5, buffer_callback=buffers.append)
        return self._answer(text, [buffer.raw() for buffer in buffers])

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, text: bytes, arrays: Sequence[memoryview]) -> Any:
        lengths = [len(array) for array in arrays]
        with _own_failures(), self._shelf_for(sum(map(_room, lengths))) as new:
            size = 0
            if self._shelf is not None:
                size = len(self._shelf)
                for place, array in zip(_places(lengths), arrays, strict=True):
                    self._shelf[place] = array
            head = HEAD.pack(size, len(arrays)) + struct.pack(f"={len(arrays)}Q", *lengths)
            self._connection.send_bytes(head + text)
            if new is not None:
                send_handle(self._connection, new, 0)
        with _own_failures():
            raised, value = self._connection.recv()
        if raised:
            raise value
        return value

    @contextmanager
    def _shelf_for(self, size: int) -> Iterator[int | None]:
        """Room for so much; if that takes a new shelf, its descriptor, open within the context."""
        if size <= (0 if self._shelf is None else len(self._shelf)):
            yield None
            return
        size = 1 << max(16, (size - 1).bit_length())
        new = os.memfd_create("actionstream")
        try:
            os.ftruncate(new, size)
            self._shelf = mmap.mmap(new, size)
            yield new
        finally:
            os.close(new)


class Door:
    """Where an actor is called; a thread for each line, so methods must be fit for several."""

    possible = sys.platform == "linux"
    """Elsewhere there is no memory without a name, and no name without a file."""

    def __init__(self, methods: Mapping[str, Callable[..., object]]) -> None:
        self._methods = methods
        self.address = Address(node=_node(), name=f"\0actionstream-{secrets.token_hex(16)}")
        self._end = socket.socket(socket.AF_UNIX)
        self._end.bind(self.address.name)
        self._end.listen()
        Thread(target=self._welcome, name="door", daemon=True).start()

    def _welcome(self) -> None:
        while True:
            try:
                end, _ = self._end.accept()
            except OSError:  # no descriptor is free
                time.sleep(REST_S)
                continue
            with suppress(OSError):  # another user's process
                line = _connection(end)
                try:
                    Thread(target=self._serve, args=(line,), name="line", daemon=True).start()
                except RuntimeError:  # no thread is free: whoever called goes through Ray
                    line.close()

    def _serve(self, line: Connection) -> None:
        shelf: mmap.mmap | None = None
        with line, suppress(OSError, EOFError):
            while True:
                message = memoryview(line.recv_bytes())
                size, count = HEAD.unpack_from(message)
                lengths = struct.unpack_from(f"={count}Q", message, HEAD.size)
                if size != (0 if shelf is None else len(shelf)):
                    handle = recv_handle(line)
                    try:
                        shelf = mmap.mmap(handle, size, prot=mmap.PROT_READ)
                    finally:
                        os.close(handle)
                arrays: Sequence[memoryview] = ()
                if shelf is not None:
                    arrays = [memoryview(shelf)[place] for place in _places(lengths)]
                method, arguments = pickle.loads(message[HEAD.size + 8 * count :], buffers=arrays)
                line.send_bytes(self._answer(method, arguments))

    def _answer(self, method: str, arguments: Sequence[Any]) -> bytes:
        try:
            return pickle.dumps((False, self._methods[method](*arguments)), protocol=5)
        except Exception as error:  # noqa: BLE001 - raised by whoever called
            with suppress(Exception):
                return pickle.dumps((True, error), protocol=5)
            return pickle.dumps((True, RuntimeError(f"{type(error).__name__}: {error}")))


@contextmanager
def _own_failures() -> Iterator[None]:
    """Tell failures of a line from what a method raised."""
    try:
        yield
    except (OSError, EOFError) as error:
        raise HungUp(f"an actor hung up: {str(error) or 'it died'}") from error


def _places(lengths: Sequence[int]) -> Iterator[slice]:
    """Where on the shelf arrays of these lengths lie."""
    begin = 0
    for length in lengths:
        yield slice(begin, begin + length)
        begin += _room(length)


def _room(length: int) -> int:
    return (length // ALIGNMENT + 1) * ALIGNMENT  # for nothing, too


def _connection(end: socket.socket) -> Connection:
    """Raises OSError: at its other end is another user."""
    with end:
        _, user, _ = PEER.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        if user != os.geteuid():
            raise PermissionError("another user's process")
        return Connection(end.detach())


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())
