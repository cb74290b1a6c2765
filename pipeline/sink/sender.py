"""The thread that moves a backlog into Redis, in order, whatever happens to Redis.

    flowing    batches go out and Redis acknowledges them
    waiting    a fault that passes by itself: the same batch again after 0.1 s, 0.2 s … 5 s, half of
               it by chance, without end
    refused    a fault that somebody has to repair (WRONGTYPE, a password, rights): the same batch
               again every 30 s, so that the repair heals it

Each change is one line in the log. Nothing is skipped: what comes later waits behind.

What isn't urgent (a file's events: nobody waits for them) is gathered for ``GATHER_S`` and goes
together: a trip to Redis takes longer than what goes with it.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import redis
from redis.exceptions import ReadOnlyError, RedisError

from pipeline.broker import Revival, explain, passes, pause_s, place
from pipeline.sink.redis_streams import advice

log = logging.getLogger(__name__)

Item = TypeVar("Item")

TEND_S = 1.0  # between two looks at a backlog, while nothing moves
BUSY_TEND_S = 10.0  # and while it never rests
REFUSED_WAIT_S = 30.0
GATHER_S = 0.05

Flow = Literal["flowing", "waiting", "refused"]


class Backlog(Protocol[Item]):
    """What waits to be sent. Called by the sender's thread."""

    def next(self) -> Sequence[Item]:
        """The oldest that wait, as many as go together; empty for none."""

    def done(self, items: Sequence[Item]) -> None:
        """These have arrived."""

    def tend(self) -> None:
        """There is time for what is due now and then, and nothing is on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the sender is doing."""

    flow: Flow
    reason: str = ""
    """Why nothing moves, and what to do, in one line."""
    since_s: float = 0.0
    """Unix seconds at which this flow began."""


class Sender(Generic[Item]):
    """Sends until it is closed."""

    def __init__(
        self,
        backlog: Backlog[Item],
        store: Callable[[Sequence[Item]], object],
        *,
        client: redis.Redis,
        key: str,
        revive: Callable[[], None] | None = None,
        refused_wait_s: float = REFUSED_WAIT_S,
        name: str = "sender",
    ) -> None:
        """``store`` puts a batch into ``key`` of ``client``, or raises RedisError.

        ``revive`` is called before each new attempt; ``Broker.revive`` fits.
        """
        self._refused_wait_s = refused_wait_s
        self._backlog = backlog
        self._store = store
        self._client = client
        self._revival = Revival(revive)
        self._where = f"{place(client)}, stream {key!r}"
        self._failures = 0
        self._tend_at_s = 0.0
        self._closing = threading.Event()
        self._woken = threading.Event()
        self._urgent = threading.Event()
        self._hurried = threading.Event()
        self._settled = threading.Condition()
        self._resting = False
        self.delivery = Delivery(flow="flowing", since_s=time.time())
        self.crash: BaseException | None = None
        """What ended the thread, which nothing should."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self, *, urgent: bool = True) -> None:
        """There is something to send, at once or with what comes in the next ``GATHER_S``."""
        with self._settled:
            self._resting = False
            if urgent:
                self._urgent.set()
            self._woken.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is left, trying again at once where it waited; whether that came."""
        self._hurried.set()
        with self._settled:
            if not self._resting:
                self._urgent.set()
            return self._settled.wait_for(
                lambda: self._resting or not self._thread.is_alive(), timeout_s
            )

    def close(self) -> None:
        """Stop after the batch in hand; what was not sent stays in the backlog."""
        self._closing.set()
        self._woken.set()
        self._urgent.set()
        self._hurried.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._step()
        except BaseException as error:
            log.exception("%s: the sender died", self._where)
            self.crash = error
        with self._settled:
            self._settled.notify_all()

    def _step(self) -> None:
        self._woken.clear()
        self._urgent.clear()
        if self._closing.is_set():
            return
        items = self._backlog.next()
        if not items:
            with self._settled:
                self._resting = not self._woken.is_set()
                self._settled.notify_all()
            if not self._woken.wait(TEND_S) or time.monotonic() > self._tend_at_s:
                self._tend()
            else:
                self._urgent.wait(GATHER_S)
            return
        try:
            self._store(items)
        except RedisError as error:
            self._failed(error)
        else:
            self._backlog.done(items)
            self._succeeded()

    def _succeeded(self) -> None:
        if self.delivery.flow != "flowing":
            away_s = time.time() - self.delivery.since_s
            log.warning("%s: takes entries again, after %.0f s", self._where, away_s)
            self._become("flowing", "")
        self._failures = 0

    def _failed(self, error: RedisError) -> None:
        self._failures += 1
        reason = advice(error) or explain(error)
        flow: Flow = "waiting" if passes(error) else "refused"
        if (flow, reason) != (self.delivery.flow, self.delivery.reason):
            self._become(flow, reason)
            doing = (
                "trying again" if flow == "waiting" else f"again every {self._refused_wait_s:g} s"
            )
            log.warning("%s: %s; %s", self._where, reason, doing)
        self._tend()
        self._wait(pause_s(self._failures) if flow == "waiting" else self._refused_wait_s)
        if isinstance(error, ReadOnlyError):
            # The old primary still answers; the address may lead to the new one by now.
            self._client.connection_pool.disconnect()
        if not self._closing.is_set():
            self._revival.attempt()

    def _become(self, flow: Flow, reason: str) -> None:
        since_s = self.delivery.since_s
        if (flow == "flowing") != (self.delivery.flow == "flowing"):
            since_s = time.time()
        self.delivery = Delivery(flow=flow, reason=reason, since_s=since_s)

    def _tend(self) -> None:
        self._backlog.tend()
        self._tend_at_s = time.monotonic() + BUSY_TEND_S

    def _wait(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while (left_s := until_s - time.monotonic()) > 0:
            if self._hurried.wait(min(left_s, TEND_S)):
                break
            self._tend()
        if not self._closing.is_set():
            self._hurried.clear()
