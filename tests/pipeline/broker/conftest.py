"""Redis servers with settings of their own, and servers that aren't Redis."""

import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pipeline.broker import find_server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def start_redis(wait_until: Callable[..., None]) -> Iterator[Callable[..., int]]:
    """Start a server on loopback with these settings; gives its port."""
    running: list[subprocess.Popen[bytes]] = []
    folder = tempfile.mkdtemp(prefix="as-")

    def start(*settings: str) -> int:
        port = free_port()
        command = [str(find_server()), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--dir", folder, "--save", "", "--logfile", f"{folder}/log", *settings]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.append(process)

        def answers() -> bool:
            assert process.poll() is None, Path(folder, "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
            return True

        wait_until(answers, "the server to listen")
        return port

    try:
        yield start
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(folder)


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Web(BaseHTTPRequestHandler):
    """Python's own: it answers by HTML and hangs up."""

    def log_message(self, *_: object) -> None:
        pass


class _StrictWeb(socketserver.BaseRequestHandler):
    """As nginx answers what is no HTTP."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@pytest.fixture(params=[_Web, _StrictWeb])
def http_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A web server's port."""
    with serving(request.param) as port:
        yield port


class _Answer(socketserver.BaseRequestHandler):
    """Speaks Redis's protocol, and says that it is an old one."""

    def handle(self) -> None:
        while request := self.request.recv(4096):
            text = b"redis_version:6.0.16\r\n" if b"INFO" in request.upper() else None
            if text is None:
                self.request.sendall(b"+PONG\r\n" if b"PING" in request else b"+OK\r\n" * 2)
            else:
                self.request.sendall(b"$%d\r\n%s\r\n" % (len(text), text))


@pytest.fixture
def old_redis_port() -> Iterator[int]:
    """The port of what says it is Redis 6.0."""
    with serving(_Answer) as port:
        yield port


class _Babble(socketserver.BaseRequestHandler):
    """Begins like Redis's protocol."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b":one\r\n" * 9)


class _Mimic(socketserver.BaseRequestHandler):
    """Knows what a Redis says to most commands, and counts where it should describe itself."""

    def handle(self) -> None:
        while said := self.request.recv(4096):
            for command in said.split(b"*")[1:]:
                name = command.split(b"\r\n")[2]
                self.request.sendall(
                    {b"PING": b"+PONG", b"INFO": b":1"}.get(name, b"+OK") + b"\r\n"
                )


@pytest.fixture
def mimicking_port() -> Iterator[int]:
    """The port of what answers as a Redis does, but to INFO."""
    with serving(_Mimic) as port:
        yield port


@pytest.fixture
def babbling_port() -> Iterator[int]:
    """The port of what answers by numbers that are none."""
    with serving(_Babble) as port:
        yield port


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself; its key stands in the same file."""
    path = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-keyout", str(path), "-out", str(tmp_path / "certificate.pem")]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "certificate.pem").read_text())
    return path


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    return free_port()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])
