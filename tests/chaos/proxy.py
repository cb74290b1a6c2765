"""A TCP proxy on loopback that lies as networks do: it delays, cuts, refuses and swallows.

    with Proxy(6379) as proxy:
        client = redis.Redis(port=proxy.port)
        proxy.delay_s = 0.2          # every piece of data, each way
        proxy.black_hole = True      # connections stay, nothing passes
        proxy.cut()                  # every connection that is open
        proxy.refuse = True          # and new ones end at once
        proxy.cut_reply_to(b"XADD")  # the server gets the next such request; its answer is lost

A fault holds for connections that are open already, and until it is taken back.
"""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE = 65_536
LOOK_S = 0.02  # how soon a change is noticed


class Proxy:
    """Stands before one port; every connection has two threads, which end with it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.delay_s = 0.0
        self.black_hole = False
        self.refuse = False
        self.connections = 0
        """Accepted so far."""
        self.replies_cut = 0
        self._target = (host, port)
        self._needles: list[bytes] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Break every connection."""
        with self._lock:
            for each in self._open:
                _break(each)

    def cut_reply_to(self, needle: bytes, times: int = 1) -> None:
        """Let the next requests that hold these bytes through, and break before their answers."""
        with self._lock:
            self._needles += [needle] * times

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        _break(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self.connections += 1
            self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with near:
            if self.refuse:
                return
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:
                return
            with far:
                far.settimeout(None)
                with self._lock:
                    self._open |= {near, far}
                doomed = threading.Event()
                up = threading.Thread(target=self._pump, args=(near, far, doomed, True))
                up.start()
                self._pump(far, near, doomed, False)
                up.join()
                with self._lock:
                    self._open -= {near, far}

    def _pump(
        self, source: socket.socket, sink: socket.socket, doomed: threading.Event, is_up: bool
    ) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                if is_up and self._is_needle(piece):
                    doomed.set()
                self._closing.wait(self.delay_s)
                while self.black_hole and not self._closing.wait(LOOK_S):
                    pass
                if doomed.is_set() and not is_up:
                    self.replies_cut += 1
                    break
                sink.sendall(piece)
        _break(source)
        _break(sink)

    def _is_needle(self, piece: bytes) -> bool:
        with self._lock:
            for needle in self._needles:
                if needle in piece:
                    self._needles.remove(needle)
                    return True
        return False


def _break(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
