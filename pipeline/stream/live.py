"""A camera's windows for as long as it is wanted, whatever happens to its connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import Event

from pipeline.cameras import CameraKnobs
from pipeline.errors import SourceError, SourceUnreachable
from pipeline.records import SessionEnd, Window
from pipeline.settings import Settings
from pipeline.source import Source, Watch, Watched
from pipeline.stream.connection import windows
from pipeline.stream.life import FINAL, CameraLife, CameraState, fault_of
from pipeline.tally import Tally

LOOK_S = 0.1  # between two looks at what is wanted, while nothing else is to be done

Report = Callable[[str, str, str], None]
"""Called with stream, state and detail whenever a source changes its state."""


def nobody(stream_id: str, state: str, detail: str) -> None:
    """Report to nobody."""


def live_windows(
    source: Source,
    settings: Settings,
    *,
    tally: Tally,
    threads: int,
    stop: Event,
    report: Report,
    pause: Event | None = None,
) -> Generator[Window | SessionEnd, None, None]:
    """A camera's windows until ``stop``: connects again, with backoff, whenever it is lost.

    While ``pause`` is set, nothing is connected. Each connection begins a new session. Every state
    but the last is reported here; the last is for whoever knows that the events are out, too.

    Raises:
        SourceError: it failed ``max_attempts`` times in a row, or may not be opened at all.
    """
    wanted = _Wanted(stop=stop, pause=pause or Event())
    knobs = source.knobs or CameraKnobs()

    def changed(state: CameraState, detail: str) -> None:
        if state not in FINAL:
            tally.enter(state.value, time.time())
            report(source.stream_id, state.value, detail)

    life = CameraLife(knobs.retry, changed)
    watch = Watch(picture=life.picture, stall=life.stall)
    watched = Watched(source, knobs=knobs, tally=tally, stopped=wanted.is_set, watch=watch)
    while not stop.is_set():
        if wanted.pause.is_set():
            life.pause()
            wanted.wait_until_resumed()
            continue
        wanted.given_up = False
        life.connect()
        error: SourceError | None = None
        try:
            yield from windows(watched, settings, tally=tally, threads=threads, stop=wanted)
        except SourceError as raised:
            error = raised
        if stop.is_set():
            return
        if wanted.is_set() or wanted.given_up:
            life.pause()  # and not lost, even if it is resumed by now
        else:
            wanted.wait(_lost(life, watched.shown, error, tally))


def _lost(life: CameraLife, shown: str, error: SourceError | None, tally: Tally) -> float:
    """Seconds until a lost camera is tried again.

    Raises:
        SourceError: it is given up.
    """
    fault = fault_of(error)
    tally.reconnects += 1
    tally.faults[fault.value] += 1
    reason = error or SourceUnreachable(f"{shown}: the camera ended the stream")
    delay_s = life.lose(fault, str(reason))
    if delay_s is None:
        raise reason
    return delay_s


@dataclass(slots=True, kw_only=True)
class _Wanted:
    """Whether a connection is to be given up: for good, or for a pause."""

    stop: Event
    pause: Event
    given_up: bool = False
    """Somebody was told that it is."""

    def is_set(self) -> bool:
        now = self.stop.is_set() or self.pause.is_set()
        self.given_up |= now
        return now

    def wait(self, timeout_s: float) -> None:
        """Until the time is over, or something is wanted."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0 and not self.pause.is_set():
            if self.stop.wait(min(left_s, LOOK_S)):
                return

    def wait_until_resumed(self) -> None:
        while self.pause.is_set() and not self.stop.wait(LOOK_S):
            pass
