"""One stream's windows on their way to the network and back, in order and bounded.

At most two windows are unanswered at any time. A file's decoder waits for its turn. A camera can't
wait: a new window takes the turn of the one before it, that one the turn of the one before, as far
as no batch has taken them, and what is left over is dropped and counted. So a slow network costs
windows, never latency: scores are of what was newest when their batch was put together.

    decode thread:   push(window) ... push(end) ... close()
    other thread:    for answer in lane: ...     scores and session ends, in order
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from threading import Condition, RLock

from pipeline.batcher import Ticket
from pipeline.records import Scores, SessionEnd, Window
from pipeline.tally import Tally

UNANSWERED = 2  # one being computed, one that waits: the network never idles for the way between


@dataclass(slots=True, eq=False)
class _Entry:
    item: Window | SessionEnd
    pushed_s: float
    """Unix seconds at which it was handed on."""
    answer: Future[Scores] | None = None


class Lane:
    """Bounded, ordered way of one stream through whatever computes scores."""

    def __init__(
        self,
        submit: Callable[[Window], Future[Scores]],
        *,
        live: bool,
        tally: Tally,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._submit = submit
        self._now = now
        self._live = live
        self._tally = tally
        self._line: deque[_Entry] = deque()
        self._lock = RLock()  # an answer may come while we submit
        self._room = Condition(self._lock)
        """For the decoder of a file."""
        self._step = Condition(self._lock)
        """For the reader: to wake a thread takes longer than all the rest that is done here."""
        self._closed = False
        self._abandoned = False
        self._error: BaseException | None = None

    def push(self, item: Window | SessionEnd) -> bool:
        """Add what comes next; for a file this waits until there is room. False: nobody reads."""
        with self._lock:
            if isinstance(item, SessionEnd):
                self._push_end(item)
            elif self._live:
                self._push_live(item)
            else:
                self._room.wait_for(lambda: self._abandoned or self._waiting() < UNANSWERED)
                self._append(item)
            self._send_due()
            if self._live:
                self._overtake()
            self._wake_reader()
            return not self._abandoned

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will come; ``error`` reaches the reader after all that came before it."""
        with self._lock:
            self._closed, self._error = True, error
            self._wake_reader()

    def abandon(self) -> None:
        """The reader is gone: nothing waits any longer, what is left is counted as dropped."""
        with self._lock:
            self._abandoned = True
            self._drop_rest()
            self._room.notify()
            self._wake_reader()

    def __iter__(self) -> Iterator[Scores | SessionEnd]:
        """Answers in order, until the lane is closed.

        Raises:
            BaseException: what ``close`` was given, or what the network raised for a window.
        """
        while True:
            with self._lock:
                self._step.wait_for(self._can_step)
                if not self._line:
                    if self._error is not None:
                        raise self._error
                    return
                entry = self._line.popleft()
                self._send_due()
                self._room.notify()
            yield entry.item if isinstance(entry.item, SessionEnd) else self._scores(entry)

    def _scores(self, entry: _Entry) -> Scores:
        assert entry.answer is not None
        try:
            scores = entry.answer.result()
        except (Exception, CancelledError):
            self._tally.windows_dropped["failed"] += 1
            raise
        answered_s = self._now()
        latency = self._tally.latency
        latency.queue.observe(answered_s - entry.pushed_s - scores.inference_s)
        latency.inference.observe(scores.inference_s)
        self._tally.scored += 1
        return replace(scores, answered_s=answered_s)

    def _append(self, item: Window | SessionEnd) -> None:
        now_s = self._now()
        if isinstance(item, Window):
            self._tally.latency.window.observe(now_s - item.span.arrived_s)
        self._line.append(_Entry(item, now_s))

    def _can_step(self) -> bool:
        if not self._line:
            return self._closed
        head = self._line[0]
        return isinstance(head.item, SessionEnd) or (head.answer is not None and head.answer.done())

    def _waiting(self) -> int:
        return sum(isinstance(entry.item, Window) for entry in self._line)

    def _push_end(self, end: SessionEnd) -> None:
        if self._line and isinstance(self._line[-1].item, SessionEnd):
            return  # a session without a window: nobody has to hear that it ended
        self._append(end)

    def _push_live(self, window: Window) -> None:
        for n, entry in enumerate(self._line):
            if isinstance(entry.item, Window) and entry.answer is None:
                self._drop(n)
                break
        self._append(window)

    def _overtake(self) -> None:
        """A window that found no room takes the turn of the one before it, and so on."""
        if not self._line or self._line[-1].answer is not None:
            return
        newest = left = self._line[-1]
        for entry in list(self._line)[-2::-1]:
            if isinstance(left.item, SessionEnd) or not isinstance(entry.answer, Ticket):
                break
            if not entry.answer.swap(left.item):
                break
            newer, left = left, _Entry(entry.item, entry.pushed_s)
            entry.item, entry.pushed_s = newer.item, newer.pushed_s
        if left is not newest:
            self._line.pop()
            self._tally.windows_dropped["overload"] += 1

    def _drop(self, n: int) -> None:
        """A due window; with the last of a session goes its end, or ends would pile up."""
        del self._line[n]
        self._tally.windows_dropped["overload"] += 1
        around = [entry.item for entry in list(self._line)[max(0, n - 1) : n + 1]]
        if len(around) == 2 and all(isinstance(item, SessionEnd) for item in around):
            del self._line[n]

    def _send_due(self) -> None:
        """Send windows while fewer than two are on their way."""
        if self._abandoned:
            self._drop_rest()
            return
        sent = sum(entry.answer is not None for entry in self._line)
        for entry in self._line:
            if sent >= UNANSWERED:
                return
            if isinstance(entry.item, Window) and entry.answer is None:
                entry.answer = self._submitted(entry.item)
                entry.answer.add_done_callback(self._answered)
                sent += 1

    def _submitted(self, window: Window) -> Future[Scores]:
        try:
            return self._submit(window)
        except Exception as error:  # noqa: BLE001 - the reader gets it, in its place
            refused: Future[Scores] = Future()
            refused.set_exception(error)
            return refused

    def _answered(self, _: Future[Scores]) -> None:
        with self._lock:
            self._wake_reader()

    def _wake_reader(self) -> None:
        if self._can_step():
            self._step.notify()

    def _drop_rest(self) -> None:
        self._tally.windows_dropped["stopped"] += self._waiting()
        self._line.clear()
