"""The supervisor: what should run, what does run, and making the second like the first.

Recognizers keep nothing, so Ray itself restarts them and sends their unanswered windows again. A
dead camera actor is started again with its streams: a camera begins a new session, a file begins
anew, and the publisher passes over what it has seen. A dead publisher takes the open events with
it, so every stream begins anew; events that were published already come out with the same ids.
A file whose actor dies under it ``MAX_ATTEMPTS`` times is given up: it may be what kills it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from actors.camera import CALLS, Camera, StreamState
from actors.cluster import NAMESPACE
from actors.publisher import Publisher
from actors.recognizer import Recognizer
from pipeline.config import Config, RecognizerConfig, RedisConfig, Settings
from pipeline.errors import ActionstreamError, SinkError, SourceError
from pipeline.events import Origin
from pipeline.records import ActionEvent
from pipeline.run import Outcome, usable_cpus
from pipeline.source import Source
from pipeline.tally import Tally

POLL_S = 0.2
START_TIMEOUT_S = 120  # a recognizer imports torch and loads its weights: 10 s on a busy machine
SPARE_CALLS = 4  # to a recognizer, beside those that every camera actor may have under way
ANSWER_TIMEOUT_S = 30  # a camera's state is a copy of counters; longer means that it hangs
MAX_ATTEMPTS = 3
ARCHIVE_BATCH_TIMEOUT_MS = 10.0  # a batch of 4 takes the CPU 0.6 of four windows one by one
MANY_FILES = 4  # fewer don't fill a batch, and would wait for nothing
FILES_PER_CAMERA = 2  # one decodes while the other waits for its windows; larger batches, too


@dataclass(slots=True, kw_only=True)
class _Job:
    """A stream that should run."""

    source: Source
    recognizer: str
    attempts: int = 0


class Supervisor:
    """One deployment: recognizers, cameras and a publisher; a context manager.

    Must be used within ``actors.cluster.cluster``.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: Config,
        settings: Settings,
        origin: Origin,
        *,
        redis: RedisConfig | None,
        keep_events: bool = False,
        name: str = "default",
    ) -> None:
        """Events go to ``redis``, and with ``keep_events`` they wait for ``take_events``."""
        self._keep_events = keep_events
        self._config = config
        self._settings = settings
        self._origin = origin
        self._redis = redis
        self._name = name
        self._live = any(source.kind == "live" for source in sources)
        self._cameras_wanted = max(1, min(len(sources), usable_cpus()))
        self._files_per_camera = FILES_PER_CAMERA
        self._recognizers = [
            self.name_of(f"recognizer-{n}") for n in range(config.recognizer.count)
        ]
        self._waiting = deque(
            _Job(source=source, recognizer=self._recognizers[n % len(self._recognizers)])
            for n, source in enumerate(sources)
        )
        if self._live:  # cameras all run at once
            self._files_per_camera = -(-len(sources) // self._cameras_wanted)
        self._at_once = min(len(sources), self._cameras_wanted * self._files_per_camera)
        """Streams that run side by side."""
        self._cameras: dict[str, ActorHandle[Camera]] = {}
        self._running: dict[str, dict[str, _Job]] = {}
        self._publisher: ActorHandle[Publisher] | None = None
        self._states: dict[str, StreamState] = {}
        self._untaken: list[_Job] = []
        """Streams that have ended, but whose last events nobody has taken yet."""
        self.restarts = 0
        """Actors that had to be started again."""
        self.outcomes: list[Outcome] = []
        """Streams that have ended, in the order in which they did."""

    @property
    def states(self) -> dict[str, StreamState]:
        """Latest known state of every stream, by its name."""
        return dict(self._states)

    @property
    def tallies(self) -> dict[str, Tally]:
        """Latest known counts of every stream, by its name."""
        return {name: state.tally for name, state in self._states.items()}

    def start(self) -> None:
        """Start every actor and wait until the recognizers are ready.

        Raises:
            ActionstreamError: an actor can't do its work with this config.
        """
        for name in self._recognizers:
            self._start_recognizer(name)
        self._start_publisher()
        for n in range(self._cameras_wanted):
            self._start_camera(self.name_of(f"camera-{n}"))
        for name in self._recognizers:
            recognizer = ray.get_actor(name, namespace=NAMESPACE)
            try:
                ray.get(recognizer.ready.remote(), timeout=START_TIMEOUT_S)
            except (RayActorError, GetTimeoutError) as error:
                raise ActionstreamError(
                    f"the recognizer did not start: {_last_line(error)}"
                ) from None

    def run(self, stop: Event, look: Callable[[], None] = lambda: None) -> list[Outcome]:
        """Work until every source has ended, or ``stop`` is set; then drain.

        ``look`` is called now and then, for whoever wants to watch ``states``.

        Raises:
            SinkError: events can't be written.
        """
        while self.busy and not stop.wait(POLL_S):
            self.step()
            look()
        if stop.is_set():
            self.drain()
        return self.outcomes

    def run_to_end(self, every_s: float = POLL_S) -> list[Outcome]:
        """Work until every source has ended.

        Raises:
            SinkError: events can't be written.
        """
        while self.busy:
            self.step()
            time.sleep(every_s)
        return self.outcomes

    def step(self) -> None:
        """Look at every actor once, and do what is due."""
        for camera in list(self._cameras):
            self._assign(camera)
            self._look_at(camera)

    @property
    def busy(self) -> bool:
        """Is there a stream that has not ended?"""
        return bool(self._waiting or any(self._running.values()))

    def take_events(self) -> list[ActionEvent]:
        """Events since the last call, if they are kept."""
        assert self._publisher is not None
        try:
            taken: list[ActionEvent] = ray.get(self._publisher.take.remote())
        except RayActorError:
            self._revive_publisher()
            return []
        self._untaken.clear()
        return taken

    def drain(self) -> None:
        """Stop every stream, end its open events, and give every stream its outcome."""
        draining = [(name, camera.drain.remote()) for name, camera in self._cameras.items()]
        for name, states in draining:
            with suppress(RayActorError):
                self._note(name, ray.get(states))
        if self._publisher is not None:
            with suppress(RayActorError):
                ray.get(self._publisher.end_open.remote())
        left = [*self._waiting, *(job for jobs in self._running.values() for job in jobs.values())]
        for job in left:
            stream_id = job.source.stream_id
            state = self._states.get(stream_id, StreamState(stream_id=stream_id))
            self.outcomes.append(Outcome(stream_id=stream_id, tally=state.tally))
        self._waiting.clear()
        for jobs in self._running.values():
            jobs.clear()

    def stop(self) -> None:
        """End every actor: they are detached, so nobody else would."""
        if self._publisher is not None:
            with suppress(RayError):
                ray.get(self._publisher.close.remote(), timeout=ANSWER_TIMEOUT_S)
        names = [*self._cameras, *self._recognizers, self.name_of("publisher")]
        for name in names:
            _kill(name)

    def __enter__(self) -> Supervisor:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def name_of(self, part: str) -> str:
        """Ray's name for an actor: ``camera-0``, ``recognizer-0``, ``publisher``."""
        return f"{self._name}/{part}"

    def _start_recognizer(self, name: str) -> None:
        _kill(name)
        gpus = ray.cluster_resources().get("GPU", 0)
        wants_gpu = self._config.model.device != "cpu" and gpus >= 1
        ray.remote(Recognizer).options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            num_gpus=1 / math.ceil(len(self._recognizers) / gpus) if wants_gpu else 0,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=CALLS * self._cameras_wanted + SPARE_CALLS,
        ).remote(self._config.model, self._batching())

    def _batching(self) -> RecognizerConfig:
        config = self._config.recognizer
        changes: dict[str, object] = {}
        if config.batch_timeout_ms is None and not self._live and self._at_once >= MANY_FILES:
            changes["batch_timeout_ms"] = ARCHIVE_BATCH_TIMEOUT_MS
        if config.workers is None and config.count > 1:
            changes["workers"] = max(1, usable_cpus() // (config.count * config.threads))
        return config.model_copy(update=changes)

    def _start_publisher(self) -> None:
        name = self.name_of("publisher")
        _kill(name)
        self._publisher = (
            ray.remote(Publisher)
            .options(name=name, namespace=NAMESPACE, lifetime="detached", num_cpus=0)
            .remote(self._settings.events, self._origin, self._redis, keep=self._keep_events)
        )

    def _start_camera(self, name: str) -> None:
        _kill(name)
        self._cameras[name] = (
            ray.remote(Camera)
            .options(name=name, namespace=NAMESPACE, lifetime="detached", num_cpus=0)
            .remote(
                self._settings,
                self._config.decode,
                self._config.recognizer.batch_size,
                self.name_of("publisher"),
            )
        )
        self._running[name] = {}

    def _assign(self, camera: str) -> None:
        """Give a camera actor as many streams as it should have."""
        running = self._running[camera]
        while self._waiting and len(running) < self._files_per_camera:
            job = self._waiting.popleft()
            job.attempts += 1
            running[job.source.stream_id] = job
            self._cameras[camera].attach.remote(job.source, job.recognizer)

    def _look_at(self, camera: str) -> None:
        try:
            states = ray.get(self._cameras[camera].states.remote(), timeout=ANSWER_TIMEOUT_S)
        except (RayActorError, GetTimeoutError):
            self._restart_camera(camera)
            return
        self._note(camera, states)

    def _note(self, camera: str, states: Sequence[StreamState]) -> None:
        """Take in what a camera says of its streams, and what has to be done about it."""
        for state in states:
            self._states[state.stream_id] = state
            if state.fatal:
                raise SinkError(state.fatal)
            if not state.done:
                continue
            job = self._running[camera].pop(state.stream_id, None)
            if job is None:
                continue
            self._cameras[camera].forget.remote(state.stream_id)
            if state.lost is None:
                self._outcome(state, job)
            else:
                self._revive_publisher()
                self._again(job, state.lost)

    def _outcome(self, state: StreamState, job: _Job) -> None:
        outcome = Outcome(stream_id=state.stream_id, tally=state.tally, error=state.error)
        self.outcomes.append(outcome)
        if self._keep_events:
            self._untaken.append(job)

    def _again(self, job: _Job, why: str) -> None:
        """Put a stream back in the queue, unless it has had its chances."""
        stream_id = job.source.stream_id
        if job.source.kind == "live" or job.attempts < MAX_ATTEMPTS:
            self._waiting.append(job)
            return
        error = SourceError(f"{stream_id}: given up after {job.attempts} attempts: {why}")
        tally = self._states.get(stream_id, StreamState(stream_id=stream_id)).tally
        self.outcomes.append(Outcome(stream_id=stream_id, tally=tally, error=error))

    def _restart_camera(self, name: str) -> None:
        self.restarts += 1
        jobs = list(self._running[name].values())
        self._start_camera(name)
        for job in jobs:
            self._again(job, "the process that decoded it died")

    def _revive_publisher(self) -> None:
        """Start the publisher again if it is what the stream was lost to."""
        assert self._publisher is not None
        try:
            ray.get(self._publisher.__ray_ready__.remote(), timeout=ANSWER_TIMEOUT_S)
        except GetTimeoutError:
            return  # it lives, and waits for Redis
        except RayActorError:
            self.restarts += 1
            self._start_publisher()
            again = {job.source.stream_id for job in self._untaken}
            self.outcomes = [o for o in self.outcomes if o.stream_id not in again]
            self._waiting.extend(self._untaken)
            self._untaken.clear()


def _kill(name: str) -> None:
    """End an actor by name, if there is one: ours, or one that a dead supervisor left."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:  # until the name is free
            ray.get_actor(name, namespace=NAMESPACE)
            time.sleep(0.01)


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
