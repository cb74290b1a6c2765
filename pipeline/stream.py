"""One stream from its source to its windows: source, decode and window joined.

file     opened once, to its end
camera   opened again, with backoff, whenever it is lost; each connection begins a new session
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from threading import Event

from pipeline.config import Settings
from pipeline.decode import Decoder
from pipeline.errors import SourceError
from pipeline.records import EndReason, Sample, SessionEnd, Window
from pipeline.source import FileSource, Source
from pipeline.tally import Tally
from pipeline.window import Windower

RETRY_FIRST_S, RETRY_MAX_S = 1.0, 30.0  # full jitter between: many cameras come back at once

Report = Callable[[str, str, str], None]
"""Called with stream, state and detail whenever a source changes its state."""


def nobody(stream_id: str, state: str, detail: str) -> None:
    """Report to nobody."""


def windows(
    source: Source, settings: Settings, *, tally: Tally, threads: int = 1, stop: Event
) -> Iterator[Window | SessionEnd]:
    """One connection to a source: source, decode and window.

    Raises:
        SourceError: it can't be opened, or breaks; the session was ended before, with its tail.
    """
    session_id = source.session_id if isinstance(source, FileSource) else None
    windower = Windower(settings.window, size_px=settings.picture.size_px, tally=tally)
    latest: Sample | None = None
    with source.open() as feed:
        tally.length_ns = feed.length_ns
        feed.stopped = stop.is_set
        decoder = Decoder(
            feed,
            stream_id=source.stream_id,
            session_id=session_id,
            grid=settings.grid,
            picture=settings.picture,
            hop=settings.window.hop,
            tally=tally,
            threads=threads,
        )
        try:
            for item in decoder.samples():
                latest = None if isinstance(item, SessionEnd) else item
                if isinstance(item, SessionEnd) and item.reason is EndReason.END and stop.is_set():
                    item = replace(item, reason=EndReason.STOPPED, truncated=False)
                    tally.truncated = False  # the rest was not asked for
                yield from _windowed(windower, item)
                if stop.is_set():
                    break
        except SourceError:
            if stop.is_set():
                return
            if latest is not None:
                yield from _windowed(windower, _end(latest, EndReason.FAILED))
            raise
        if latest is not None:
            yield from _windowed(windower, _end(latest, EndReason.STOPPED))


def file_windows(
    source: Source, settings: Settings, *, tally: Tally, threads: int, stop: Event, report: Report
) -> Generator[Window | SessionEnd, None, None]:
    """A file's windows, once."""
    report(source.stream_id, "streaming", "")
    yield from windows(source, settings, tally=tally, threads=threads, stop=stop)


def live_windows(
    source: Source, settings: Settings, *, tally: Tally, threads: int, stop: Event, report: Report
) -> Generator[Window | SessionEnd, None, None]:
    """A camera's windows until ``stop``: connects again, with backoff, whenever it is lost."""
    delay_s = RETRY_FIRST_S
    while not stop.is_set():
        report(source.stream_id, "connecting", "")
        streaming = False
        detail = "the camera ended the stream"
        try:
            for item in windows(source, settings, tally=tally, threads=threads, stop=stop):
                if not streaming and isinstance(item, Window):
                    report(source.stream_id, "streaming", "")
                    streaming, delay_s = True, RETRY_FIRST_S
                yield item
        except SourceError as error:
            detail = str(error)
        if stop.is_set():
            return
        tally.reconnects += 1
        report(source.stream_id, "backoff", detail)
        stop.wait(random.uniform(0, delay_s))
        delay_s = min(2 * delay_s, RETRY_MAX_S)


def _windowed(windower: Windower, item: Sample | SessionEnd) -> Iterator[Window | SessionEnd]:
    """What a sample or a session's end makes: perhaps a window, and the end itself."""
    if isinstance(item, Sample):
        window = windower.push(item)
        if window:
            yield window
        return
    if item.session.kind == "live" and item.reason in (EndReason.END, EndReason.FAILED):
        item = replace(item, reason=EndReason.RECONNECT)  # a camera has no end of its own
    tail = windower.end(item)
    if tail:
        yield tail
    yield item


def _end(latest: Sample, reason: EndReason) -> SessionEnd:
    return SessionEnd(session=latest.session, reason=reason, at_ns=latest.pts_ns)
