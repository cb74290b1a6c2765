"""The camera actor: source + decode + window of some streams, each in a thread of its own.

It holds the windows until they are answered, so a recognizer may die and be restarted between;
the answers go to the publisher in order, one call ahead at most.

    decode -> Lane --.
    decode -> Lane ---> Batcher -> calls of the recognizer, each with all that is due
    decode -> Lane --'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

import ray
from ray.actor import ActorHandle

from actors.recognizer import Recognizer
from pipeline.config import DecodeConfig, Settings
from pipeline.errors import ActionstreamError, SourceError
from pipeline.model import Batcher
from pipeline.records import Scores, SessionEnd, SourceKind, Window
from pipeline.run import answers
from pipeline.source import Source
from pipeline.stream import Report
from pipeline.tally import Tally

PER_CALL: dict[SourceKind, int] = {"live": 1, "file": 8}
"""Answers per call of the publisher: a camera's are urgent; a call takes about 1 ms of CPU."""

CALLS = 2
"""Under way to a recognizer at any time: one being computed, one that waits there. What is due
meanwhile goes together in the next, so calls grow with the load and nothing waits for company."""


def calls_to(recognizer: ActorHandle[Recognizer], batch_size: int) -> Batcher:
    """Turns single windows into calls of a recognizer that carry up to ``batch_size`` of them."""

    def scores(windows: Sequence[Window]) -> list[Scores]:
        answers: list[Scores] = ray.get(recognizer.scores.remote(windows))
        return answers

    return Batcher(scores, batch_size=batch_size, workers=CALLS)


@dataclass(slots=True, kw_only=True)
class StreamState:
    """How one stream is doing, as the supervisor sees it."""

    stream_id: str
    state: str = "starting"
    tally: Tally = field(default_factory=Tally)
    detail: str = ""
    """What people should know about the state."""
    error: SourceError | None = None
    """What was wrong with the input."""
    lost: str | None = None
    """What was wrong with us: the stream has to be started again."""
    fatal: str | None = None
    """What keeps events from being written: no stream can go on."""

    @property
    def done(self) -> bool:
        """No thread works on it any more."""
        return self.state in ("ended", "failed", "lost")


class Camera:
    """Some streams of one process."""

    def __init__(
        self, settings: Settings, decode: DecodeConfig, batch_size: int, publisher: str
    ) -> None:
        self._settings = settings
        self._decode = decode
        self._batch_size = batch_size
        self._publisher = publisher
        self._calls: dict[str, Batcher] = {}
        self._connecting = Lock()
        self._states: dict[str, StreamState] = {}
        self._threads: dict[str, tuple[Thread, Event]] = {}

    def attach(self, source: Source, recognizer: str) -> None:
        """Begin to work on a source, its windows scored by the recognizer of that name."""
        state = self._states[source.stream_id] = StreamState(stream_id=source.stream_id)
        stop = Event()
        thread = Thread(
            target=self._work,
            args=(source, recognizer, state, stop),
            name=f"stream {source.stream_id}",
        )
        self._threads[source.stream_id] = (thread, stop)
        thread.start()

    def states(self) -> list[StreamState]:
        """How each stream is doing."""
        return list(self._states.values())

    def forget(self, stream_id: str) -> None:
        """Drop a stream that is done."""
        thread, _ = self._threads.pop(stream_id)
        thread.join()
        del self._states[stream_id]

    def drain(self) -> list[StreamState]:
        """Stop all streams, see their last answers published, and say how they were left."""
        for _, stop in self._threads.values():
            stop.set()
        for thread, _ in self._threads.values():
            thread.join()
        return self.states()

    def _work(
        self,
        source: Source,
        recognizer_name: str,
        state: StreamState,
        stop: Event,
    ) -> None:
        def report(stream_id: str, now: str, detail: str) -> None:
            ray.get(publisher.report.remote(stream_id, now, detail))
            state.state, state.detail = now, detail

        try:
            submit = self._calls_to(recognizer_name).submit
            publisher = ray.get_actor(self._publisher)
            try:
                self._pump(source, submit, publisher, state, stop, report)
                report(source.stream_id, "ended", "")
            except SourceError as error:
                state.error = error
                report(source.stream_id, "failed", str(error))
        except ActionstreamError as error:  # from another actor; starting again would not help
            state.fatal, state.state = str(getattr(error, "cause", error)), "lost"
        except Exception as error:  # noqa: BLE001 - the supervisor starts the stream again
            last_line = str(error).strip().rpartition("\n")[2]
            state.lost, state.state = f"{type(error).__name__}: {last_line}", "lost"

    def _calls_to(self, recognizer: str) -> Batcher:
        """One for all streams that are pinned to it."""
        with self._connecting:
            if recognizer not in self._calls:
                self._calls[recognizer] = calls_to(ray.get_actor(recognizer), self._batch_size)
            return self._calls[recognizer]

    def _pump(
        self,
        source: Source,
        submit: Callable[[Window], Future[Scores]],
        publisher: ActorHandle[object],
        state: StreamState,
        stop: Event,
        report: Report,
    ) -> None:
        """Carry answers to the publisher, one call ahead."""
        ahead: ray.ObjectRef[int] | None = None
        together: list[Scores | SessionEnd] = []
        with answers(
            source,
            self._settings,
            submit,
            tally=state.tally,
            threads=self._decode.threads,
            stop=stop,
            report=report,
        ) as stream:
            for answer in stream:
                together.append(answer)
                if len(together) < PER_CALL[source.kind] and isinstance(answer, Scores):
                    continue
                if ahead is not None:
                    state.tally.events += ray.get(ahead)
                ahead = publisher.publish.remote(source.stream_id, together)
                together = []
            if ahead is not None:
                state.tally.events += ray.get(ahead)
            if together:
                state.tally.events += ray.get(publisher.publish.remote(source.stream_id, together))
