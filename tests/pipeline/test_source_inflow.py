import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from pipeline.source.inflow import Inflow

MAX_BYTES = 1 << 20
CHUNK = bytes(1 << 16)


@pytest.fixture(autouse=True)
def _less_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.source.inflow.MAX_BYTES", MAX_BYTES)


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
def connected() -> Iterator[Connection]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        yield Connection(near, far)


def test_only_connections_made_while_a_camera_opened_are_its_own() -> None:
    """All three bring too much, and the camera's alone is shut down."""
    with connected() as before:
        inflow = Inflow()
        with connected() as own:
            inflow.opened()
            with connected() as after:
                assert inflow.wasted() == 0
                for each in (before, own, after):
                    each.bring(2 * MAX_BYTES)
                assert inflow.wasted() == 2 * MAX_BYTES
                assert [each.lives for each in (before, own, after)] == [True, False, True]


def test_a_camera_that_cannot_be_opened_is_looked_at_too() -> None:
    """What came before its connection was seen for the first time was for nothing, as well."""
    with connected() as before:
        inflow = Inflow()
        with connected() as own:
            for each in (before, own):
                each.bring(2 * MAX_BYTES)
            assert inflow.wasted() == 2 * MAX_BYTES
            assert [before.lives, own.lives] == [True, False]


def test_what_was_given_for_is_spent() -> None:
    inflow = Inflow()
    with connected() as own:
        inflow.opened()
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
