"""Health and metrics of a deployment, over HTTP; on loopback unless told otherwise.

    /healthz   200 while the supervisor's loop turns: what else would start it again
    /readyz    200 while windows are scored and events are kept; else 503 and the reasons, as JSON
    /metrics   what Prometheus reads, counted elsewhere and looked at now

``/healthz`` asks nobody. The others ask every actor, one caller at a time, and their answer serves
all who ask within a second. A port that is taken costs the metrics, not the cameras: it is said in
one line, and the deployment goes on.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socketserver import TCPServer
from threading import BoundedSemaphore, Lock, Thread, Timer
from typing import cast

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from actors.metrics import families
from actors.seen import Observed, Part, Seen, look
from pipeline.config import HealthConfig
from pipeline.errors import ConfigError
from pipeline.subscribe import GroupState

log = logging.getLogger(__name__)

ALIVE_S = 120.0  # a step waits for nobody, but for a machine that swaps
START_S = 600.0  # Redis, Ray and recognizers, one after the other, may each take two minutes
SEEN_S = 1.0  # a look is shared by all who ask within this time
CLIENTS = 16  # at once: a page is never what fills the memory
TURN_S = 0.05  # for a page to be done
LEAVE_S = 0.5  # for a client that is hung up on
CLIENT_S = 10.0  # from its connection to the end of its page
POLL_S = 0.1  # how long the end of the server takes

Page = tuple[int, str, bytes]
"""Status, content type, body."""


class Health:
    """What the pages say."""

    def __init__(
        self,
        *,
        alive_s: float = ALIVE_S,
        start_s: float = START_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``alive_s``: how long the loop may stand still; ``start_s``: until it first turns."""
        self._alive_s = alive_s
        self._start_s = start_s
        self._turns = False
        self._now = now
        self._turned_s = now()
        self._deployment: Observed | None = None
        self._groups: Callable[[], Sequence[GroupState]] = lambda: ()
        self._looking = Lock()
        self._seen = Seen()
        self._seen_s = float("-inf")

    def watch(
        self, deployment: Observed, groups: Callable[[], Sequence[GroupState]] = lambda: ()
    ) -> None:
        """It has started; ``groups`` asks how far its consumers are, and doesn't take long."""
        self._deployment, self._groups = deployment, groups
        self.turn()

    def turn(self) -> None:
        """The supervisor's loop has turned once more."""
        self._turned_s, self._turns = self._now(), True

    def healthz(self) -> Page:
        """Does the loop turn?"""
        silent_s = self._now() - self._turned_s
        alive = silent_s <= (self._alive_s if self._turns else self._start_s)
        return _json(200 if alive else 503, {"alive": alive, "turned_s_ago": round(silent_s, 3)})

    def readyz(self) -> Page:
        """Does the deployment do its work?"""
        seen = self._look()
        reasons = list(_unready(seen.parts)) if self._deployment else ["it is starting"]
        states = Counter(stream.state for stream in seen.streams)
        body = {"ready": not reasons, "reasons": reasons, "streams": dict(states)}
        return _json(503 if reasons else 200, body)

    def metrics(self, accept: str) -> Page:
        """The format is the one that the client would rather have."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(families(self._look())))
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it names a version that is none
            encode, content_type = choose_encoder("")
        return 200, content_type, encode(registry)

    def _look(self) -> Seen:
        with self._looking:
            if self._deployment and self._now() - self._seen_s > SEEN_S:
                self._seen = look(self._deployment, self._groups)
                self._seen_s = self._now()
            return self._seen


def _unready(parts: Iterable[Part]) -> Iterator[str]:
    """Why windows aren't scored, or events aren't kept. A camera that is down is no reason."""
    for part in parts:
        if part.role == "camera":
            continue
        if part.answer is None:
            yield f"{part.role} {part.name}: no answer; it may be starting again"
            continue
        outbox = part.answer.outbox
        if outbox is None:
            continue
        if outbox.full:
            yield (
                f"the outbox is full: {outbox.waiting} events wait, and the oldest of cameras are "
                f"dropped ({outbox.delivery.reason or 'Redis is too slow'})"
            )
        if outbox.trouble and outbox.delivery.flow != "flowing":
            yield (
                f"events are kept in memory alone: the disk takes none ({outbox.trouble}), "
                f"nor does Redis ({outbox.delivery.reason})"
            )


class _Once(Collector):
    def __init__(self, metrics: Iterator[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class HealthServer(ThreadingHTTPServer):
    """Serves the pages; bound when it is made."""

    daemon_threads = True

    def __init__(self, health: Health, host: str, port: int) -> None:
        self.health = health
        self._room = BoundedSemaphore(CLIENTS)
        self._lines: dict[int, socket.socket] = {}
        """Of clients that are served, the oldest first."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of a name that HTTPServer does, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: object, client_address: object) -> None:
        """A thread per client, up to a number; then who has been here longest has to go.

        A page takes milliseconds, so that is somebody who says nothing.
        """
        line = cast(socket.socket, request)
        if not self._room.acquire(timeout=TURN_S):
            for oldest in list(self._lines.values())[:1]:
                _hang_up(oldest)
            if not self._room.acquire(timeout=LEAVE_S):
                self.shutdown_request(line)
                return
        self._lines[id(line)] = line
        try:
            super().process_request(line, client_address)
        except BaseException:  # no thread was to be had
            self._gone(line)
            raise

    def process_request_thread(self, request: object, client_address: object) -> None:
        """The thread of a client, which is hung up on where it takes too long in all."""
        line = cast(socket.socket, request)
        patience = Timer(CLIENT_S, _hang_up, (line,))
        patience.daemon = True
        try:
            patience.start()
            super().process_request_thread(line, client_address)
        finally:
            patience.cancel()
            self._gone(line)

    def _gone(self, line: socket.socket) -> None:
        del self._lines[id(line)]
        self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away: no traceback."""


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        line.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_S
    server_version = "actionstream"
    sys_version = ""

    def do_GET(self) -> None:
        status, content_type, body = self._page()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Scrapes are no news."""

    def _page(self) -> Page:
        health = cast(HealthServer, self.server).health
        path = self.path.partition("?")[0]
        try:
            if path == "/healthz":
                return health.healthz()
            if path == "/readyz":
                return health.readyz()
            if path == "/metrics":
                return health.metrics(self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 - a page that fails is no reason to end
            log.warning("%s: %s", path, type(error).__name__)  # its text may hold a secret
            return _json(500, {"error": type(error).__name__})
        return _json(404, {"pages": ["/healthz", "/readyz", "/metrics"]})


@contextmanager
def served(health: Health, config: HealthConfig, say: Callable[[str], None]) -> Iterator[str]:
    """The pages are there within the context; yields where, or nothing where they aren't.

    Raises:
        ConfigError: no address of this machine, or a port that only root may use.
    """
    server = _bound(health, config, say) if config.port else None
    if server is None:
        yield ""
        return
    thread = Thread(target=server.serve_forever, args=(POLL_S,), name="health", daemon=True)
    thread.start()
    url = f"http://{_bracketed(config.host)}:{server.server_port}"
    try:
        if not _is_loopback(config.host):
            say(f"health and metrics: anyone who reaches {url} can read the names of streams")
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _bound(health: Health, config: HealthConfig, say: Callable[[str], None]) -> HealthServer | None:
    assert config.port is not None
    where = f"{_bracketed(config.host)}:{config.port}"
    try:
        return HealthServer(health, config.host, config.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            say(
                f"health and metrics: {where} is taken; this run goes on without them "
                "(choose another health.port, or 0 for none)"
            )
            return None
        raise ConfigError(
            f"health: can't listen at {where}: {error.strerror or error}; give an address of this "
            "machine as health.host, and a port above 1023"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _json(status: int, body: dict[str, object]) -> Page:
    return status, "application/json", json.dumps(body).encode() + b"\n"
