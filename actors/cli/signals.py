"""Ctrl-C, SIGTERM and a terminal that closes end a run in order: what is known is written."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_S = 0.2  # ``timeout`` sends one to its child and one to the group; nobody types so fast


@contextmanager
def stopped_by_signals(stop: Event | None = None) -> Iterator[Event]:
    """An event that the first signal sets; a second one interrupts at once.

    A SIGHUP that is ignored, as ``nohup`` has it, stays so. A second one is of the same terminal:
    the shell passes it on, and so does the kernel.
    """
    stop = stop or Event()
    stopped_s = float("-inf")

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopped_s
        if not stop.is_set():
            stopped_s = time.monotonic()
            stop.set()
        elif number != signal.SIGHUP and time.monotonic() - stopped_s > SAME_S:
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, handle)
        for number in SIGNALS
        if not (number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
