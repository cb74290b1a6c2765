"""Between events and Redis: a sink that returns when the events are on disk.

    write -> hold (SQLite in the state folder) -> the sender's thread -> Redis, each event once

Redis away, full, read-only, refusing: events wait here, in order, and go out when it takes them
again (see ``sender``); ``write`` doesn't notice. A live event that is open when the process dies
is ended by the next one, flagged ``interrupted``, at the end of the last window that was published
to hold it. A file's event isn't: the file is read again, and gives the same ids.

The rule that is easy to get wrong: what ``kill -9`` can do and what a loss of power can do. The
first loses nothing that ``write`` returned for. The second may take what was written in about the
last ``SYNC_S`` seconds before and Redis has not taken, and what is open is known as of the last
``FLOWING_SYNC_S`` seconds; a sync per write would take 20 ms here, in the middle of a path that
promises twice a forward pass of 5 ms.

Bounded by ``Limits``. Beyond it the oldest events of cameras go, counted by stream and reason
(``full``); for a file ``write`` waits, and what is in never goes for a camera's sake: it would not
come again. Where the disk takes nothing, ``MEMORY_EVENTS`` are kept in
memory (beyond it: reason ``memory``) and still sent. Cost: 0.1 to 0.2 ms per write while Redis
takes events.
"""

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.broker import Patience
from pipeline.errors import SinkError
from pipeline.latency import Histogram
from pipeline.records import ActionEvent
from pipeline.sink.event_stream import BATCH, EventStream
from pipeline.sink.hold import Hold
from pipeline.sink.journal_file import Row
from pipeline.sink.sender import REFUSED_WAIT_S, Sender
from pipeline.sink.state import Limits, OutboxState

log = logging.getLogger(__name__)

MEMORY_EVENTS = 10_000  # about 20 MB
SYNC_S = 1.0  # between two syncs of what waits
FLOWING_SYNC_S = 10.0  # and of what is open, while nothing waits
LOOK_S = 0.25  # between two looks whether anything has waited for so long
FLUSH_S = 5.0  # at the end; what is left then stays on disk
DROPPED_AT_ONCE = 100  # a hundredth of the limit, so that each event doesn't drop one
SAY_S = 60.0  # between two lines about dropped events


class Outbox:
    """A sink in front of a Redis that may be away."""

    def __init__(
        self,
        folder: Path,
        stream: EventStream,
        *,
        name: str = "events",
        limits: Limits | None = None,
        patience: Patience | None = None,
        refused_wait_s: float = REFUSED_WAIT_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take over what was left, end what was open then, and begin to send.

        Args:
            folder: where its files lie; made when it isn't there.
            stream: where events go; its client should have no patience of its own.
            name: of its files; another one for another Redis.
            limits: how much may wait.
            patience: ``revive`` for the Redis; ``give_up_s`` and ``stop`` for files that wait.
            refused_wait_s: between two attempts at what somebody has to repair.
            now: the clock.
        """
        self._stream = stream
        self._limits = limits or Limits()
        self._patience = patience or Patience()
        self._now = now
        self._changed = threading.Condition()
        self._hold = Hold(folder, name, now=now)
        self._taken_id = 0
        """Rows up to this one are on their way, or have arrived."""
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._delivery_took = Histogram()
        self._said_at_s = float("-inf")
        self._closed = False
        self.lost = 0
        """Events that nobody took until it was closed: neither Redis nor the disk."""
        self._sender: Sender[Row] = Sender(
            self,
            lambda rows: stream.store([row.event for row in rows]),
            client=stream.client,
            key=stream.key,
            revive=self._patience.revive,
            refused_wait_s=refused_wait_s,
            name="outbox",
        )
        self._closing = threading.Event()
        self._syncer = threading.Thread(target=self._keep_synced, name="outbox sync", daemon=True)
        self._syncer.start()
        self._sender.start()

    @property
    def state(self) -> OutboxState:
        """How it is doing, for health and metrics."""
        with self._changed:
            hold = self._hold
            return OutboxState(
                waiting=hold.waiting,
                bytes=hold.bytes,
                oldest_age_s=self._oldest_age_s(),
                delivery=self._sender.delivery,
                trouble=hold.trouble,
                full=self._nearly_full(),
                repeats=self._stream.repeats,
                dropped=dict(self._dropped),
                delivery_took=self._delivery_took + Histogram(),
            )

    def write(self, events: Sequence[ActionEvent]) -> None:
        """Keep them; they are sent in this order.

        Raises:
            SinkError: it is closed; or they are a file's, and there was no room for too long.
        """
        if not events:
            return
        is_file = any(event.source_kind == "file" for event in events)
        with self._changed:
            if is_file:
                self._wait_for_room(len(events))
            if self._closed or self._sender.crash is not None:
                why = self._sender.crash or "closed already"
                raise SinkError(f"the outbox of {self._stream.key!r} takes no events: {why}")
            self._hold.append(events)
            if not is_file:
                self._bound()
        self._sender.wake(urgent=not is_file)

    def flush(self, timeout_s: float) -> int:
        """Wait until Redis has everything; how many events are left."""
        until_s = time.monotonic() + timeout_s
        reopens = True
        while reopens and time.monotonic() < until_s:
            with self._changed:
                if reopens := self._hold.reopens:
                    self._changed.wait(until_s - time.monotonic())
            self._sender.flush(until_s - time.monotonic())
        with self._changed:
            return self._hold.waiting

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Send what can be sent in this time; what is left is sent by the next run."""
        if self._closed:
            return
        left = self.flush(timeout_s)
        self._sender.close()
        self._closing.set()
        self._syncer.join()
        with self._changed:
            self._closed = True
            self._hold.close()
            self.lost = self._hold.in_memory
            self._changed.notify_all()
        if left > self.lost:
            log.info("%d events wait in the outbox for the next run", left - self.lost)
        if self.lost:
            log.error(
                "%d events are lost: Redis took none (%s), nor did the disk (%s)",
                *(self.lost, self._sender.delivery.reason or "too slow", self._hold.trouble),
            )

    # What follows is called by the sender's thread: it is a Backlog.

    def next(self) -> list[Row]:
        """The oldest events that wait."""
        with self._changed:
            rows = self._hold.oldest(self._hold.arrived_id, BATCH)
            self._taken_id = rows[-1].id if rows else self._hold.arrived_id
            return rows

    def done(self, rows: Sequence[Row]) -> None:
        """Redis has these."""
        with self._changed:
            self._hold.arrived(rows)
            for row in rows:
                self._delivery_took.observe(self._now() - row.written_s)
            self._changed.notify_all()

    def tend(self) -> None:
        """Care for the disk."""
        with self._changed:
            reopens = self._hold.reopens
            self._hold.care()
            self._taken_id = self._hold.arrived_id  # nothing is on its way now
            self._changed.notify_all()
            if reopens and not self._hold.reopens:
                self._sender.wake()

    def _keep_synced(self) -> None:
        """In a thread of its own, as a sync may take 300 ms: what waits is safe in about a second.

        It goes by the age of what waits, because a frozen Redis passes for flowing until its
        time-out; and by the flow, because a clock may be set back.
        """
        pause_s, synced_s = SYNC_S, time.monotonic()
        while not self._closing.wait(pause_s):
            with self._changed:
                is_old = self._oldest_age_s() > SYNC_S
                waiting = is_old or self._sender.delivery.flow != "flowing"
                due = waiting or time.monotonic() - synced_s > FLOWING_SYNC_S
                journal = self._hold.journal_to_sync(due=due)
            pause_s = LOOK_S if journal is None else SYNC_S
            if journal is not None:
                synced_s = time.monotonic()
                with suppress(sqlite3.Error):  # said by whoever writes next
                    journal.sync()

    def _oldest_age_s(self) -> float:
        oldest = self._hold.oldest(self._hold.arrived_id, 1)
        return max(0.0, self._now() - oldest[0].written_s) if oldest else 0.0

    def _wait_for_room(self, count: int) -> None:
        hold, limits, patience = self._hold, self._limits, self._patience
        began_s = time.monotonic()

        def is_full() -> bool:
            return hold.waiting > 0 and (
                hold.waiting + count > limits.max_events
                or hold.bytes > limits.max_bytes
                or (hold.trouble != "" and hold.in_memory + count > MEMORY_EVENTS)
            )

        while is_full():
            self._sender.wake()
            tried_s = time.monotonic() - began_s
            late = patience.give_up_s is not None and tried_s > patience.give_up_s
            if late or self._closed or self._sender.crash or patience.stop.is_set():
                reason = hold.trouble or self._sender.delivery.reason
                room = f"{limits.max_events} events, {limits.max_bytes} bytes"
                raise SinkError(
                    f"{hold.waiting} events wait in the outbox, which is full ({room}): {reason}"
                )
            self._changed.wait(1.0)

    def _nearly_full(self) -> bool:
        """There was no room a moment ago, or soon is none: dropping makes some, a hundredth."""
        share = 1 - 2 / DROPPED_AT_ONCE
        hold, limits = self._hold, self._limits
        return (
            hold.waiting >= share * limits.max_events
            or hold.bytes >= share * limits.max_bytes
            or (hold.trouble != "" and hold.in_memory >= share * MEMORY_EVENTS)
        )

    def _bound(self) -> None:
        """Let the oldest go where too much waits."""
        hold, limits = self._hold, self._limits
        while hold.in_memory > MEMORY_EVENTS and hold.trouble:
            if not self._drop("memory", hold.in_memory // DROPPED_AT_ONCE):
                return
        while hold.waiting > limits.max_events or hold.bytes > limits.max_bytes:
            if not self._drop("full", max(1, hold.waiting // DROPPED_AT_ONCE)):
                return

    def _drop(self, reason: str, count: int) -> bool:
        hold = self._hold
        rows = hold.oldest_live(self._taken_id, count, in_memory_only=reason == "memory")
        if not rows or not hold.drop(rows):
            return False
        self._dropped.update((row.event.stream_id, reason) for row in rows)
        if time.monotonic() - self._said_at_s > SAY_S:
            self._said_at_s = time.monotonic()
            log.error(
                "outbox: %d events dropped so far, the oldest first, because %d wait: %s",
                *(self._dropped.total(), hold.waiting, self._sender.delivery.reason),
            )
        return True
