"""The camera actor: source + decode + window of some streams, each in a thread of its own.

It holds the windows until they are answered, so a recognizer may die and be restarted between;
the answers go to the publisher in order.

    decode -> Lane --.                                                       .-- Carrier ->
    decode -> Lane ---> Calls of the recognizer, each with all that is due ---- Carrier -> publisher
    decode -> Lane --'                                                       '-- Carrier ->
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from actors.calls import Calls
from actors.carrier import Carrier
from actors.direct import HungUp
from actors.garbage import spare_what_is_there
from actors.recognizer import Recognizer
from actors.reporter import Reporter
from actors.snapshot import Held, StreamState
from actors.tether import end_with_parent
from pipeline.answers import answers
from pipeline.config import DecodeConfig
from pipeline.errors import ActionstreamError, SourceError
from pipeline.records import Scores, Window
from pipeline.settings import Settings
from pipeline.source import Source
from pipeline.stream import CameraState

LAST_WORD_S = 10.0  # a publisher that died is back by then; one that hangs may hang for ever


@dataclass(slots=True, kw_only=True)
class _Work:
    """One stream, and what is wanted of it."""

    source: Source
    recognizer: str
    state: StreamState
    stop: Event = field(default_factory=Event)
    pause: Event = field(default_factory=Event)
    detach: bool = False
    thread: Thread | None = None

    def join(self) -> None:
        """Wait until no thread works on it."""
        if self.thread is not None:
            self.thread.join()


class Camera:
    """Some streams of one process."""

    def __init__(
        self,
        settings: Settings,
        decode: DecodeConfig,
        batch_size: int,
        publisher: str,
        *,
        made_of: str = "",
    ) -> None:
        """``publisher`` is a name; ``made_of``: see ``Parts``."""
        end_with_parent()
        self.made_of = made_of
        self._settings = settings
        self._decode = decode
        self._batch_size = batch_size
        self._publisher = publisher
        self._reporter = Reporter(publisher)
        self._calls: dict[str, tuple[ActorHandle[Recognizer], Calls]] = {}
        self._connecting = Lock()
        self._works: dict[str, _Work] = {}
        spare_what_is_there()

    def attach(self, source: Source, recognizer: str, *, paused: bool = False) -> None:
        """Begin to work on a source, its windows scored by the recognizer of that name."""
        state = StreamState(stream_id=source.stream_id)
        work = _Work(source=source, recognizer=recognizer, state=state)
        if paused:
            work.pause.set()
        if source.kind == "live":
            state.tally.enter(state.state, time.time())
            self._reporter.report(source.stream_id, state.state, "")
        self._works[source.stream_id] = work
        thread = Thread(target=self._work, args=(work,), name=f"stream {source.stream_id}")
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads for us
            state.lost, state.state = str(error), "lost"
        else:
            work.thread = thread

    def states(self) -> list[StreamState]:
        """How each stream is doing."""
        states, now_s = [work.state for work in self._works.values()], time.time()
        for state in states:
            state.counted_s = now_s
        return states

    def held(self) -> list[Held]:
        """What it works on."""
        return [
            Held(source=work.source, recognizer=work.recognizer, paused=work.pause.is_set())
            for work in self._works.values()
            if not work.detach
        ]

    def pause(self, stream_id: str) -> None:
        """Let go of a camera until it is resumed; a stream that is done stays as it is."""
        if work := self._works.get(stream_id):
            work.pause.set()

    def resume(self, stream_id: str) -> None:
        """Connect a camera that was paused."""
        if work := self._works.get(stream_id):
            work.pause.clear()

    def detach(self, stream_id: str) -> None:
        """Stop one stream for good; its state says when its last events are out."""
        if work := self._works.get(stream_id):
            work.detach = True
            work.stop.set()

    def forget(self, stream_id: str) -> None:
        """Drop a stream that is done."""
        if work := self._works.pop(stream_id, None):
            work.join()

    def drain(self) -> list[StreamState]:
        """Stop all streams, see their last answers published, and say how they were left."""
        for work in self._works.values():
            work.stop.set()
        for work in self._works.values():
            work.join()
        return self.states()

    def _work(self, work: _Work) -> None:
        state = work.state
        try:
            submit = self._calls_to(work.recognizer).submit
            try:
                self._pump(work, submit)
                if work.detach:
                    ray.get(ray.get_actor(self._publisher).forget.remote(state.stream_id))
                self._finish(state, CameraState.DETACHED if work.detach else CameraState.ENDED)
            except SourceError as error:
                state.error = error
                self._finish(state, CameraState.FAILED, str(error))
        except ActionstreamError as error:  # from another actor; starting again would not help
            state.fatal, state.state = str(getattr(error, "cause", error)), "lost"
        except (HungUp, RayError) as error:  # another actor died; the supervisor knows or will
            state.orphaned = True
            state.lost, state.state = f"an actor died under it: {_last_line(error)}", "lost"
        except Exception as error:  # noqa: BLE001 - the supervisor starts the stream again
            state.lost, state.state = f"{type(error).__name__}: {_last_line(error)}", "lost"

    def _finish(self, state: StreamState, now: CameraState, detail: str = "") -> None:
        """Say how a stream ended; all before has been said then, or the publisher is gone."""
        state.tally.enter(now.value, time.time())
        self._reporter.report(state.stream_id, now.value, detail).wait(LAST_WORD_S)
        state.state, state.detail = now.value, detail

    def _calls_to(self, recognizer: str) -> Calls:
        """One for all streams that are pinned to it, until another takes its name."""
        with self._connecting:
            actor = ray.get_actor(recognizer)
            known, calls = self._calls.get(recognizer, (None, None))
            if calls is None or known != actor:
                if calls is not None:
                    calls.close()
                calls = Calls(actor, self._batch_size)
                self._calls[recognizer] = actor, calls
            return calls

    def _pump(self, work: _Work, submit: Callable[[Window], Future[Scores]]) -> None:
        """Carry answers to the publisher."""
        source, state = work.source, work.state
        carrier = Carrier(
            self._publisher,
            state.stream_id,
            source.kind,
            settings_digest=self._settings.seen_by(source.knobs).digest(),
            tally=state.tally,
        )

        def report(stream_id: str, now: str, detail: str) -> None:
            self._reporter.report(stream_id, now, detail)
            state.state, state.detail = now, detail

        with (
            carrier,
            answers(
                source,
                self._settings,
                submit,
                tally=state.tally,
                threads=self._decode.threads,
                stop=work.stop,
                pause=work.pause,
                report=report,
            ) as stream,
        ):
            for answer in stream:
                carrier.take(answer)
            carrier.finish()


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2]
