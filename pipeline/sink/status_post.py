"""Changes of state on their way to Redis, without anybody who waits for it.

In memory alone, because a process that begins again says its states again; the newest
``MAX_WAITING`` are kept while Redis is away, each stamped with the time at which it came.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import redis

from pipeline import wire
from pipeline.broker import Patience, private_client
from pipeline.sink.redis_streams import StatusStream
from pipeline.sink.sender import REFUSED_WAIT_S, Delivery, Sender

MAX_WAITING = 1000
FLUSH_S = 2.0


class StatusPost:
    """Appends what sources do (connected, ended, failed) to ``<prefix>:status``, in its time."""

    def __init__(
        self,
        client: redis.Redis,
        prefix: str = wire.DEFAULT_PREFIX,
        *,
        patience: Patience | None = None,
        refused_wait_s: float = REFUSED_WAIT_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        """The client's settings are copied; of ``patience``, only ``revive`` matters here."""
        self.dropped = 0
        """Changes of state that were too old to wait longer."""
        self._client = private_client(client)
        self._now = now
        self._lock = threading.Lock()
        self._lines: deque[wire.StatusLine] = deque()
        stream = StatusStream(self._client, prefix)
        self._sender: Sender[wire.StatusLine] = Sender(
            self,
            stream.store,
            client=self._client,
            key=stream.key,
            revive=patience.revive if patience else None,
            refused_wait_s=refused_wait_s,
            name="status",
        )
        self._sender.start()

    @property
    def delivery(self) -> Delivery:
        """How it is doing."""
        return self._sender.delivery

    def write_status(self, stream_id: str, state: str, detail: str = "") -> None:
        """Note one change of state; ``detail`` is for people and holds no secret."""
        line = wire.StatusLine(stream_id=stream_id, state=state, detail=detail, at=self._now())
        with self._lock:
            self._lines.append(line)
            if len(self._lines) > MAX_WAITING:
                self._lines.popleft()
                self.dropped += 1
        self._sender.wake()

    def close(self) -> None:
        """Send what can be sent at once, and stop."""
        self._sender.flush(FLUSH_S)
        self._sender.close()
        self._client.close()

    def next(self) -> Sequence[wire.StatusLine]:
        """The oldest; called by the sender's thread, as what follows."""
        with self._lock:
            return [self._lines[0]] if self._lines else []

    def done(self, lines: Sequence[wire.StatusLine]) -> None:
        """Redis has it."""
        with self._lock:
            if self._lines and self._lines[0] is lines[0]:
                self._lines.popleft()

    def tend(self) -> None:
        """Nothing to do."""
