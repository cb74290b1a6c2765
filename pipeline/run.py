"""The six stages joined in one process: the executable specification of what the actors do.

    source -> decode -> window -> model -> events -> sink
    `---- stream -------------'    Lane    Detector   Sink

One thread per stream decodes; the network has threads of its own (``Batcher``); the caller's
thread takes the answers in order, derives events and writes them. ``answers()`` is the part that
a camera actor runs as it is, with another ``submit``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock

from pipeline.answers import answers
from pipeline.batcher import Asked, Batcher, Given
from pipeline.config import Config, RecognizerConfig
from pipeline.cpus import usable_cpus
from pipeline.errors import SourceError
from pipeline.events import Detector
from pipeline.model import Recognizer, share_cpu
from pipeline.records import ActionEvent, Scores, Window
from pipeline.settings import Settings
from pipeline.settle import origin_of, settle
from pipeline.sink import Sink
from pipeline.source import Source
from pipeline.stream import CameraState, Report, nobody
from pipeline.tally import Outcome, Tally


def run_stream(
    source: Source,
    settings: Settings,
    detector: Detector,
    submit: Callable[[Window], Future[Scores]],
    write: Callable[[Sequence[ActionEvent]], None],
    *,
    tally: Tally,
    threads: int = 1,
    stop: Event,
    report: Report = nobody,
) -> SourceError | None:
    """One source from its first packet to its last event; the error that ended it, if one did."""
    try:
        with answers(
            source, settings, submit, tally=tally, threads=threads, stop=stop, report=report
        ) as stream:
            for answer in stream:
                events = detector.take(answer)
                tally.events += len(events)
                if events:
                    write(events)
    except SourceError as error:
        tally.enter(CameraState.FAILED.value, time.time())
        report(source.stream_id, CameraState.FAILED.value, str(error))
        return error
    tally.enter(CameraState.ENDED.value, time.time())
    report(source.stream_id, CameraState.ENDED.value, "")
    return None


def run(
    sources: Sequence[Source],
    recognizer: Recognizer,
    config: Config,
    sink: Sink,
    *,
    stop: Event | None = None,
    report: Report = nobody,
    tallies: dict[str, Tally] | None = None,
) -> list[Outcome]:
    """Files one after another, cameras side by side until ``stop``; how each of them ended.

    ``tallies`` is filled as the run goes, for whoever wants to watch.

    Raises:
        ConfigError: the config doesn't go with the weights.
        SinkError: events can't be written; the run stopped there.
    """
    settings = settle(config, recognizer.spec)
    stop = stop or Event()
    tallies = {} if tallies is None else tallies
    writing = Lock()

    def write(events: Sequence[ActionEvent]) -> None:
        with writing:
            sink.write(events)

    def one(source: Source) -> Outcome:
        tally = tallies.setdefault(source.stream_id, Tally())
        if stop.is_set():
            return Outcome(stream_id=source.stream_id, tally=tally)
        error = run_stream(
            source,
            settings,
            Detector(settings.events, origin_of(recognizer, settings.seen_by(source.knobs))),
            batcher.submit,
            write,
            tally=tally,
            threads=config.decode.threads,
            stop=stop,
            report=report,
        )
        return Outcome(stream_id=source.stream_id, tally=tally, error=error)

    side_by_side = max(1, sum(source.kind == "live" for source in sources))
    with (
        batcher_for(recognizer, recognizer.scores, config.recognizer) as batcher,
        ThreadPoolExecutor(side_by_side, thread_name_prefix="stream") as pool,
    ):
        try:
            return list(pool.map(one, sources))
        except BaseException:
            stop.set()
            raise


def batcher_for(
    recognizer: Recognizer,
    score: Callable[[Sequence[Asked]], list[Given]],
    config: RecognizerConfig,
) -> Batcher[Asked, Given]:
    """Workers that share the machine: one per core with a thread each, or one on a GPU.

    ``score`` is the recognizer's, of windows or of their frames; it is warm when this returns.
    """
    on_gpu = recognizer.on_gpu
    workers = config.workers or (1 if on_gpu else max(1, usable_cpus() // config.threads))
    share_cpu(config.threads)
    recognizer.warm()
    return Batcher(
        score,
        batch_size=config.batch_size,
        timeout_s=(config.batch_timeout_ms or 0) / 1000,
        workers=workers,
        adapts=not on_gpu,
    )
