"""A source's way to its scores: decoded in a thread of its own, scored wherever ``submit`` leads.

    source -> decode -> window -> Lane -> submit
                                  Lane <- scores

A camera actor runs this part and no more, so nothing here imports torch: it would take seconds
of each start, and 180 MiB of each process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event, Thread

from pipeline.errors import SourceError
from pipeline.lane import Lane
from pipeline.records import Scores, SessionEnd, Window
from pipeline.settings import Settings
from pipeline.source import Source
from pipeline.stream import CameraState, Report, file_windows, live_windows, nobody
from pipeline.tally import Tally


@contextmanager
def answers(
    source: Source,
    settings: Settings,
    submit: Callable[[Window], Future[Scores]],
    *,
    tally: Tally,
    threads: int = 1,
    stop: Event,
    pause: Event | None = None,
    report: Report = nobody,
) -> Iterator[Iterator[Scores | SessionEnd]]:
    """Scores and session ends of one source, in order, while a thread of its own decodes.

    A file ends by itself; a camera when ``stop`` is set, which an exception in the context does
    too; while ``pause`` is set, it isn't connected. The iterator raises the SourceError of a file
    after all that could be read of it, and that of a camera that is given up.
    """
    live = source.kind == "live"
    lane = Lane(submit, live=live, tally=tally)
    settings = settings.seen_by(source.knobs)
    if live:
        feed = live_windows(
            source,
            settings,
            tally=tally,
            threads=threads,
            stop=stop,
            pause=pause,
            report=report,
        )
    else:
        tally.enter(CameraState.STREAMING.value, time.time())
        report(source.stream_id, CameraState.STREAMING.value, "")
        feed = file_windows(source, settings, tally=tally, threads=threads, stop=stop)
    decoder = Thread(target=_fill, args=(lane, feed), name=f"decode {source.stream_id}")
    decoder.start()
    try:
        yield iter(lane)
    except SourceError:
        raise  # the matter of this source alone
    except BaseException:
        stop.set()
        raise
    finally:
        lane.abandon()
        decoder.join()


def _fill(lane: Lane, feed: Generator[Window | SessionEnd, None, None]) -> None:
    """The decode thread: whatever ends it reaches the reader through the lane."""
    error: BaseException | None = None
    try:
        for item in feed:
            if not lane.push(item):
                break
    except BaseException as raised:  # noqa: BLE001 - carried to the reader, which raises it
        error = raised
    finally:
        feed.close()
        lane.close(error)
