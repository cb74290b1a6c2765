"""Which connection is a camera's, what it brings for nothing, and how it is ended."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread

import pytest

from pipeline.source.inflow import FOUND_S, Inflow

MAX_BYTES = 1 << 20
CHUNK = bytes(1 << 16)


@pytest.fixture(autouse=True)
def _less_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.source.inflow.MAX_BYTES", MAX_BYTES)
    monkeypatch.setattr("pipeline.source.inflow._at_large", [])


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@dataclass(frozen=True, slots=True)
class Connection:
    """One end is the camera's, the other this process's; both are here."""

    near: socket.socket
    far: socket.socket

    def bring(self, amount: int) -> None:
        """Bytes that come, and are read."""
        for _ in range(0, amount, len(CHUNK)):
            self.far.sendall(CHUNK)
            left = len(CHUNK)
            while left:
                left -= len(self.near.recv(left))

    @property
    def lives(self) -> bool:
        """Not shut down."""
        with suppress(OSError):
            self.far.sendall(b"x")
            return self.near.recv(1) == b"x"
        return False


@contextmanager
def connected(server: socket.socket) -> Iterator[Connection]:
    near = socket.create_connection(server.getsockname())
    far, _ = server.accept()
    with near, far:
        yield Connection(near, far)


@contextmanager
def found(server: socket.socket, *others: socket.socket) -> Iterator[tuple[Inflow, Connection]]:
    """A camera's connection, made while there are others, and some that come just before it."""
    with ExitStack() as stack:
        made: list[Connection] = []

        def connect() -> None:
            for other in others:
                stack.enter_context(connected(other))
            made.append(stack.enter_context(connected(server)))

        inflow = Inflow.of(connect, port=server.getsockname()[1], over=lambda: False)
        yield inflow, made[0]
        inflow.close()


def test_only_a_camera_s_own_connection_is_shut_down(server: socket.socket) -> None:
    """All three lead to the same port, and bring too much."""
    with (
        connected(server) as before,
        found(server) as (inflow, own),
        connected(server) as after,
    ):
        assert inflow.wasted() == 0
        for each in (before, own, after):
            each.bring(2 * MAX_BYTES)
        assert inflow.wasted() == 2 * MAX_BYTES
        assert [each.lives for each in (before, own, after)] == [True, False, True]


def test_a_connection_to_another_port_is_not_the_camera_s(server: socket.socket) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        found(server, elsewhere) as (inflow, own),
    ):
        inflow.cut()
        assert not own.lives


def test_what_was_given_for_is_spent(server: socket.socket) -> None:
    with found(server) as (inflow, own):
        for _ in range(4):
            assert inflow.wasted() == 0
            own.bring(MAX_BYTES // 2)
            assert inflow.wasted() == 0
            inflow.given()
            own.bring(MAX_BYTES // 2)
        assert inflow.wasted() == 0, "it begins anew"
        own.bring(MAX_BYTES)
        assert inflow.wasted() == 0, "as much as is allowed"
        own.bring(len(CHUNK))
        assert inflow.wasted() == MAX_BYTES + len(CHUNK)
        assert not own.lives


def test_a_call_that_waits_ends_with_its_connection(server: socket.socket) -> None:
    with found(server) as (inflow, own):
        waiting = Thread(target=own.near.recv, args=(1,))
        waiting.start()
        inflow.cut()
        waiting.join(10)
        assert not waiting.is_alive()


def test_nothing_is_found_where_nothing_connects(server: socket.socket) -> None:
    began_s = time.monotonic()
    inflow = Inflow.of(lambda: None, port=1, over=lambda: False)
    assert time.monotonic() - began_s < 20 * FOUND_S
    with connected(server) as later:
        later.bring(2 * MAX_BYTES)
        assert inflow.wasted() == 0
        inflow.cut()
        assert later.lives
    inflow.close()


def test_a_connection_that_comes_late_is_nobody_else_s(server: socket.socket) -> None:
    """One camera's name takes long; meanwhile another begins, and connects to the same port."""
    opened = Event()
    Inflow.of(lambda: None, port=server.getsockname()[1], over=opened.is_set).close()
    with ExitStack() as stack:
        late: list[Connection] = []
        other = Inflow.of(
            lambda: late.append(stack.enter_context(connected(server))),
            port=server.getsockname()[1],
            over=lambda: True,
        )
        other.cut()
        assert late[0].lives, "whose it is can't be told"
        other.close()
        opened.set()
        with found(server) as (inflow, own):
            inflow.cut()
            assert not own.lives, "from now on it can be"


def test_cameras_begin_one_after_the_other() -> None:
    at_work: set[int] = set()
    most: list[int] = []

    def begin(number: int) -> None:
        looks = iter(range(3))

        def connect() -> None:
            at_work.add(number)

        def over() -> bool:
            if number not in at_work:
                return True
            most.append(len(at_work))
            if next(looks, None) is None:
                at_work.remove(number)
                return True
            return False

        Inflow.of(connect, port=1, over=over).close()

    threads = [Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8 * 4


def test_without_a_descriptor_to_look_with_it_begins_all_the_same(
    monkeypatch: pytest.MonkeyPatch, server: socket.socket
) -> None:
    def refused(_: object) -> Iterator[tuple[int, int]]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("pipeline.source.inflow.Path.iterdir", refused)
    with found(server) as (inflow, own):
        inflow.cut()
        assert own.lives
