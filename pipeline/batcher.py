"""Windows of many streams, computed together.

Each worker takes what is waiting, up to ``batch_size`` windows of one shape (fewer, where those are
cheaper, if it ``adapts``), and waits at most ``timeout_s`` for company; an ``eager`` one only while
another worker is busy. Callers hold at most two windows per stream, which bounds the queue.

Streams are served in turn: whoever was served last is behind all others, and has no second window
in a batch that another's first doesn't fit into. In order of arrival, a stream that is alone in its
process would be served more often than others, whose windows come together and are answered so.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread, get_ident
from typing import Generic, Self, TypeVar

from pipeline.batch_size import BatchSize
from pipeline.records import Frames

Asked = TypeVar("Asked", bound=Frames)
Given = TypeVar("Given")

KNOWN = 1024  # streams whose last turn is remembered


class Ticket(Future[Given], Generic[Asked, Given]):
    """An answer to come, to a window that can be changed for a newer one until a batch takes it."""

    def __init__(self, window: Asked, lock: Condition) -> None:
        super().__init__()
        self.window = window
        self.since_s = time.monotonic()
        self.taken = False
        self._lock = lock

    def swap(self, window: Asked) -> bool:
        """Have another window scored in this one's turn; False: it is too late."""
        with self._lock:
            if not self.taken:
                self.window = window
            return not self.taken


class Batcher(Generic[Asked, Given]):
    """Threads that turn single windows, or their frames, into batches; a context manager."""

    def __init__(
        self,
        score: Callable[[Sequence[Asked]], list[Given]],
        *,
        batch_size: int = 8,
        timeout_s: float = 0.0,
        workers: int = 1,
        eager: bool = False,
        adapts: bool = False,
    ) -> None:
        self._score = score
        self._batch_size = batch_size
        self._paying = BatchSize(batch_size) if adapts else None
        self._warm: set[int] = set()
        self._timeout_s = timeout_s
        self._eager = eager
        self._busy = 0
        self._queue: deque[Ticket[Asked, Given]] = deque()
        self._served: dict[str, int] = {}
        """Windows that had been taken when a stream had its last turn; the latest comes last."""
        self._changed = Condition()
        self._closed = False
        self.sizes: Counter[int] = Counter()
        """Batches by the number of their windows."""
        self.batches = 0
        self.windows = 0
        self.failures = 0
        """Batches in a row that could not be scored."""
        self._began_s: dict[int, float] = {}
        self._workers = [
            Thread(target=self._work, name=f"network {n}", daemon=True) for n in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def waiting(self) -> int:
        """Windows that no batch has taken yet."""
        return len(self._queue)

    @property
    def computing_s(self) -> float:
        """For how long the oldest batch that is being computed has been; 0 where none is."""
        began_s = list(self._began_s.values())
        return time.monotonic() - min(began_s) if began_s else 0.0

    def submit(self, window: Asked) -> Ticket[Asked, Given]:
        """An answer to come.

        Raises:
            RuntimeError: the batcher is closed.
        """
        return self.submit_all([window])[0]

    def submit_all(self, windows: Sequence[Asked]) -> list[Ticket[Asked, Given]]:
        """Answers to come; no batch begins between the first of these windows and the last.

        Raises:
            RuntimeError: the batcher is closed.
        """
        tickets: list[Ticket[Asked, Given]] = [Ticket(window, self._changed) for window in windows]
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            idle = not self._queue
            self._queue += tickets
            if idle or len(self._queue) >= self._most:  # else somebody waits for company
                self._changed.notify()
        return tickets

    def close(self) -> None:
        """Compute what is still waiting, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _most(self) -> int:
        """Windows of a batch."""
        return self._batch_size if self._paying is None else self._paying.most

    def _learn(self, worker: int, windows: int, took_s: float) -> None:
        """From all but each worker's first batch, which waits for its network to be made ready."""
        if self._paying is None:
            return
        with self._changed:
            if worker in self._warm:
                self._paying.learn(windows, took_s)
            self._warm.add(worker)

    def _work(self) -> None:
        while taken := self._next_batch():
            self._answer([ticket for ticket in taken if ticket.set_running_or_notify_cancel()])
            with self._changed:
                self._busy -= 1

    def _answer(self, batch: Sequence[Ticket[Asked, Given]]) -> None:
        if not batch:
            return
        worker = get_ident()
        self._began_s[worker] = time.monotonic()
        try:
            answers = self._score([ticket.window for ticket in batch])
            took_s = time.monotonic() - self._began_s[worker]
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to {len(batch)} windows")
        except Exception as error:  # noqa: BLE001 - each caller gets it, the worker goes on
            self.failures += 1
            for ticket in batch:
                ticket.set_exception(error)
        else:
            self.failures = 0
            for ticket, answer in zip(batch, answers, strict=True):
                ticket.set_result(answer)
            self._learn(worker, len(batch), took_s)
        finally:
            del self._began_s[worker]

    def _next_batch(self) -> list[Ticket[Asked, Given]]:
        """What is computed next; empty when the batcher is closed and nothing is left."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return []
                waits = self._busy > 0 or not self._eager
                timeout_s = self._timeout_s if waits else 0.0
                left_s = self._queue[0].since_s + timeout_s - time.monotonic()
                if len(self._queue) >= self._most or left_s <= 0 or self._closed:
                    return self._take()
                self._changed.wait(left_s)

    def _take(self) -> list[Ticket[Asked, Given]]:
        crowded = len(self._queue) > self._most
        in_turn = self._in_turn() if crowded else list(self._queue)
        shape = in_turn[0].window.shape
        batch = [ticket for ticket in in_turn if ticket.window.shape == shape][: self._most]
        for n, ticket in enumerate(batch, start=self.windows + 1):
            self._queue.remove(ticket)
            ticket.taken = True
            stream = ticket.window.stream_id
            self._served.pop(stream, None)
            self._served[stream] = n
        while len(self._served) > KNOWN:
            del self._served[next(iter(self._served))]
        self._busy += 1
        if self._queue:
            self._changed.notify()
        self.sizes[len(batch)] += 1
        self.batches += 1
        self.windows += len(batch)
        return batch

    def _in_turn(self) -> list[Ticket[Asked, Given]]:
        before: Counter[str] = Counter()

        def turn(ticket: Ticket[Asked, Given]) -> tuple[int, int]:
            stream = ticket.window.stream_id
            before[stream] += 1
            return before[stream], self._served.get(stream, 0)

        return sorted(self._queue, key=turn)
