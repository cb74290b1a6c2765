"""One connection to a source: source, decode and window joined."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from threading import Event
from typing import Protocol

from pipeline.decode import Decoder
from pipeline.errors import SourceError
from pipeline.records import EndReason, Sample, SessionEnd, Window
from pipeline.settings import Settings
from pipeline.source import FileSource, Source
from pipeline.tally import Tally
from pipeline.window import Windower


class Stop(Protocol):
    """Something that says when to stop: an ``Event``, or several of them."""

    def is_set(self) -> bool: ...  # noqa: D102


def windows(
    source: Source, settings: Settings, *, tally: Tally, threads: int = 1, stop: Event | Stop
) -> Iterator[Window | SessionEnd]:
    """One connection to a source: source, decode and window.

    Raises:
        SourceError: it can't be opened, or breaks; the session was ended before, with its tail.
    """
    session_id = source.session_id if isinstance(source, FileSource) else None
    latest: Sample | None = None
    with source.open() as feed:
        windower = Windower(settings.window, size_px=settings.picture.size_px, tally=tally)
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
                if stop.is_set() and source.kind == "file":
                    # What a decoder gives away early lacks pictures that come before it: another
                    # window than the one that the whole file has here.
                    tally.truncated = False  # the rest was not asked for
                    break
                latest = None if isinstance(item, SessionEnd) else item
                if isinstance(item, SessionEnd) and item.reason is EndReason.END and stop.is_set():
                    item = replace(item, reason=EndReason.STOPPED)
                yield from _windowed(windower, item)
                if latest is not None:
                    decoder.rest_until(windower.due)
                if stop.is_set():
                    break
        except SourceError:
            if latest is not None:
                reason = EndReason.STOPPED if stop.is_set() else EndReason.FAILED
                yield from _windowed(windower, _end(latest, reason))
            if stop.is_set():
                return
            raise
        if latest is not None:
            yield from _windowed(windower, _end(latest, EndReason.STOPPED))


def file_windows(
    source: Source, settings: Settings, *, tally: Tally, threads: int, stop: Event
) -> Generator[Window | SessionEnd, None, None]:
    """A file's windows, once."""
    yield from windows(source, settings, tally=tally, threads=threads, stop=stop)


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
