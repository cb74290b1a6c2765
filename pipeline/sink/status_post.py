"""Changes of state on their way to Redis, without anybody who waits for it.

In memory alone, because a process that begins again says its states again; the newest
``MAX_WAITING`` are kept while Redis is away, each stamped with the time at which it came.

The stream is trimmed, and one camera that comes and goes could push out what a hundred quiet ones
said weeks ago. So the state of each is said again, with the time at which it began, once half a
stream of other lines has followed it, and once an hour: Redis may have come back empty.

Who was killed tells nobody. So each line names its post, and the post says every ``BEAT_S`` that it
lives, in a key that Redis forgets after ``ALIVE_S``: a state whose key is gone held once.
"""

import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import redis
from redis.exceptions import NoPermissionError

from pipeline import wire
from pipeline.broker import Patience, explain, private_client
from pipeline.sink.redis_streams import STATUS_MAXLEN, StatusStream
from pipeline.sink.sender import REFUSED_WAIT_S, Delivery, Sender

log = logging.getLogger(__name__)

MAX_WAITING = 1000
FLUSH_S = 2.0
AGAIN_AFTER = STATUS_MAXLEN // 2  # lines
AGAIN_S = 3600.0
BEAT_S = 10.0
ALIVE_S = 30.0


class _Said(NamedTuple):
    line: wire.StatusLine
    number: int
    """Of all lines so far."""
    at_s: float


class _Beat:
    """That the post lives."""


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
        self._count = 0
        self._latest: OrderedDict[str, _Said] = OrderedDict()
        """Of each stream that isn't gone; what was said longest ago comes first."""
        self._by = secrets.token_hex(4)
        self._beat_at_s = float("-inf")
        self._mute = False
        """Redis doesn't let it say that it lives."""
        self._stream = StatusStream(self._client, prefix)
        self._sender: Sender[wire.StatusLine | _Beat] = Sender(
            self,
            self._store,
            client=self._client,
            key=self._stream.key,
            revive=patience.revive if patience else None,
            refused_wait_s=refused_wait_s,
            name="status",
        )
        self._sender.start()

    @property
    def delivery(self) -> Delivery:
        """How it is doing."""
        return self._sender.delivery

    @property
    def streams(self) -> list[str]:
        """Names of those that are not gone."""
        with self._lock:
            return list(self._latest)

    def write_status(
        self, stream_id: str, state: str, detail: str = "", *, since_s: float | None = None
    ) -> None:
        """Note one change of state; ``detail`` is for people and holds no secret.

        It came now, or ``since_s``, in Unix seconds; one that is older than what is known of the
        stream is passed over.
        """
        at = self._now() if since_s is None else since_s
        line = wire.StatusLine(stream_id=stream_id, state=state, detail=detail, at=at, by=self._by)
        with self._lock:
            known = self._latest.get(stream_id)
            if since_s is not None and known is not None and at <= known.line.at:
                return
            self._say(line)
            self._say_again()
        self._sender.wake()

    def close(self) -> None:
        """Send what can be sent at once, and stop."""
        self._sender.flush(FLUSH_S)
        self._sender.close()
        self._client.close()

    def next(self) -> Sequence[wire.StatusLine | _Beat]:
        """What is due first; called by the sender's thread, as what follows."""
        if time.monotonic() >= self._beat_at_s:
            return [_Beat()]
        with self._lock:
            return [self._lines[0]] if self._lines else []

    def done(self, items: Sequence[wire.StatusLine | _Beat]) -> None:
        """Redis has it."""
        (item,) = items
        if isinstance(item, _Beat):
            self._beat_at_s = time.monotonic() + BEAT_S
            return
        with self._lock:
            if self._lines and self._lines[0] is item:
                self._lines.popleft()

    def tend(self) -> None:
        """Say again what was said long ago."""
        with self._lock:
            self._say_again()

    def _store(self, items: Sequence[wire.StatusLine | _Beat]) -> None:
        (item,) = items
        if not isinstance(item, _Beat):
            self._stream.store([item])
            return
        try:
            self._stream.be_alive(self._by, ALIVE_S)
        except NoPermissionError as error:
            if not self._mute:  # states go on without it
                log.warning("%s; states will be shown as not of now", explain(error))
            self._mute = True

    def _say(self, line: wire.StatusLine) -> None:
        self._count += 1
        self._latest.pop(line.stream_id, None)
        if line.state not in wire.GONE:
            self._latest[line.stream_id] = _Said(line, self._count, self._now())
        self._lines.append(line)
        if len(self._lines) > MAX_WAITING:
            self._lines.popleft()
            self.dropped += 1

    def _say_again(self) -> None:
        """The line that is about to be pushed out, or has not been said for long, if one is."""
        oldest = next(iter(self._latest.values()), None)
        if oldest is None:
            return
        followed, waited_s = self._count - oldest.number, self._now() - oldest.at_s
        if followed >= AGAIN_AFTER or abs(waited_s) >= AGAIN_S:  # a clock may be set back
            self._say(oldest.line)
