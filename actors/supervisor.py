"""The supervisor: what should run, what does run, and making the second like the first.

Recognizers keep nothing, so Ray itself restarts them and sends their unanswered windows again. A
dead camera actor is started again with its streams: a camera begins a new session, a file begins
anew, and the publisher passes over what it has seen. A dead publisher takes the open events with
it, so every stream begins anew; events that were published already come out with the same ids.
A file whose actor dies under it ``MAX_ATTEMPTS`` times is given up: it may be what kills it.

``attach``, ``detach``, ``pause``, ``resume`` and ``snapshot`` are for any thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, RLock

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from actors.camera import Camera, StreamState
from actors.parts import Parts, kill
from actors.publisher import Publisher
from actors.snapshot import PartSnapshot, StreamSnapshot
from pipeline.config import Config, RedisConfig, Settings
from pipeline.errors import ConfigError, SinkError, SourceError
from pipeline.events import Origin
from pipeline.records import ActionEvent
from pipeline.run import Outcome, usable_cpus
from pipeline.source import Source
from pipeline.stream import CameraState
from pipeline.tally import Tally

POLL_S = 0.2
ANSWER_TIMEOUT_S = 30  # a camera's state is a copy of counters; longer means that it hangs
MAX_ATTEMPTS = 3
MANY_FILES = 4  # fewer don't fill a batch, and would wait for nothing
FILES_PER_CAMERA = 2  # one decodes while the other waits for its windows; larger batches, too


@dataclass(slots=True, kw_only=True)
class _Job:
    """A stream that should run."""

    source: Source
    recognizer: str
    attempts: int = 0
    paused: bool = False
    detached: bool = False
    """It should not run any more, but may not be out yet."""


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
        stays: bool = False,
        name: str = "default",
    ) -> None:
        """Events go to ``redis``, and with ``keep_events`` they wait for ``take_events``.

        With ``stays`` it goes on without a stream, since cameras may be attached.
        """
        self._keep_events = keep_events
        self._stays = stays
        self._origin = origin
        self._redis = redis
        self._live = stays or any(source.kind == "live" for source in sources)
        cameras = min(len(sources), usable_cpus())
        self._cameras_wanted = cameras if stays else max(1, cameras)
        self._parts = Parts(
            name, config, settings, callers=usable_cpus() if stays else self._cameras_wanted
        )
        self.name_of = self._parts.name_of
        self._files_per_camera = FILES_PER_CAMERA
        if self._live and cameras:  # cameras all run at once
            self._files_per_camera = -(-len(sources) // cameras)
        recognizers = self._parts.recognizers
        self._waiting = deque(
            _Job(source=source, recognizer=recognizers[n % len(recognizers)])
            for n, source in enumerate(sources)
        )
        self._at_once = min(len(sources), self._cameras_wanted * self._files_per_camera)
        """Streams that run side by side."""
        self._lock = RLock()
        self._cameras: dict[str, ActorHandle[Camera]] = {}
        self._running: dict[str, dict[str, _Job]] = {}
        self._publisher: ActorHandle[Publisher] | None = None
        self._states: dict[str, StreamState] = {}
        self._kinds = {source.stream_id: source.kind for source in sources}
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
        return {name: state.tally for name, state in self.states.items()}

    def snapshot(self) -> list[StreamSnapshot]:
        """How every stream is doing, as of the last look; waits for nothing."""
        return [
            StreamSnapshot(
                stream_id=name,
                kind=self._kinds.get(name, "live"),
                state=state.state,
                since_s=state.tally.since_s,
                detail=state.detail,
                tally=state.tally,
            )
            for name, state in self.states.items()
        ]

    def parts(self) -> list[PartSnapshot]:
        """Every actor's process, and what recognizers have to do; takes up to a second."""
        return self._parts.snapshot(list(self._cameras))

    def start(self) -> None:
        """Start every actor and wait until the recognizers are ready.

        Raises:
            ActionstreamError: an actor can't do its work with this config.
        """
        for name in self._parts.recognizers:
            many_files = not self._live and self._at_once >= MANY_FILES
            self._parts.start_recognizer(name, wait_for_company=many_files)
        self._start_publisher()
        for n in range(self._cameras_wanted):
            self._start_camera(self.name_of(f"camera-{n}"))
        self._parts.await_recognizers()

    def run(self, stop: Event, look: Callable[[], None] = lambda: None) -> list[Outcome]:
        """Work until every source has ended, or ``stop`` is set; then drain.

        ``look`` is called now and then, for whoever wants to watch ``states``.

        Raises:
            SinkError: events can't be written.
        """
        while (self.busy or self._stays) and not stop.wait(POLL_S):
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
        with self._lock:
            for camera in list(self._cameras):
                self._assign(camera)
                self._look_at(camera)

    def attach(self, source: Source, *, paused: bool = False) -> None:
        """One more stream, beside those that run.

        Raises:
            ConfigError: there is one of that name.
        """
        with self._lock:
            if source.stream_id in self._jobs():
                raise ConfigError(
                    f"a camera named {source.stream_id!r} runs already, and their events would "
                    "mix; choose another name, or detach it first"
                )
            self.outcomes = [o for o in self.outcomes if o.stream_id != source.stream_id]
            job = _Job(source=source, recognizer=self._least_busy(), paused=paused)
            self._waiting.append(job)
            self._kinds[source.stream_id] = source.kind
            self._states[source.stream_id] = StreamState(stream_id=source.stream_id)
            self._make_room()

    def detach(self, stream_id: str) -> None:
        """Stop a stream and end its events; it is gone once ``has`` says so."""
        with self._lock:
            camera, job = self._find(stream_id)
            if job is None:
                self._gone(stream_id)
                return
            job.detached = True
            if camera is not None:
                self._cameras[camera].detach.remote(stream_id)
            else:
                self._waiting.remove(job)
                self._gone(stream_id)

    def note(self, stream_id: str, state: CameraState, detail: str) -> None:
        """Show a camera that can't be attached as it is."""
        tally = Tally()
        tally.enter(state.value, time.time())
        self._kinds[stream_id] = "live"
        self._states[stream_id] = StreamState(
            stream_id=stream_id, state=state.value, detail=detail, tally=tally
        )
        if self._publisher is not None:
            self._publisher.report.remote(stream_id, state.value, detail)

    def has(self, stream_id: str) -> bool:
        """Does a stream of that name run, or wait to?"""
        with self._lock:
            return stream_id in self._jobs()

    def pause(self, stream_id: str, paused: bool = True) -> None:
        """Let go of a camera, or with ``paused=False`` connect it again."""
        with self._lock:
            camera, job = self._find(stream_id)
            if job is None:
                return
            job.paused = paused
            if camera is not None:
                actor = self._cameras[camera]
                (actor.pause if paused else actor.resume).remote(stream_id)

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
        with self._lock:
            draining = [(name, camera.drain.remote()) for name, camera in self._cameras.items()]
            for name, states in draining:
                with suppress(RayActorError):
                    self._note(name, ray.get(states))
            if self._publisher is not None:
                with suppress(RayActorError):
                    ray.get(self._publisher.end_open.remote())
            left = [
                *self._waiting,
                *(job for jobs in self._running.values() for job in jobs.values()),
            ]
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
        for name in [*self._cameras, *self._parts.recognizers, self.name_of("publisher")]:
            kill(name)

    def __enter__(self) -> Supervisor:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_publisher(self) -> None:
        self._publisher = self._parts.start_publisher(
            self._origin, self._redis, keep=self._keep_events
        )

    def _start_camera(self, name: str) -> None:
        self._cameras[name] = self._parts.start_camera(name)
        self._running[name] = {}

    def _jobs(self) -> dict[str, _Job]:
        """All that should run or hasn't ended, by name."""
        jobs = {job.source.stream_id: job for job in self._waiting}
        for running in self._running.values():
            jobs |= running
        return jobs

    def _find(self, stream_id: str) -> tuple[str | None, _Job | None]:
        """A stream's job, and the camera actor that has it."""
        for camera, running in self._running.items():
            if stream_id in running:
                return camera, running[stream_id]
        return None, self._jobs().get(stream_id)

    def _least_busy(self) -> str:
        taken = [job.recognizer for job in self._jobs().values()]
        return min(self._parts.recognizers, key=taken.count)

    def _make_room(self) -> None:
        """Camera actors for all that should run at once: one per core at most."""
        streams = len(self._jobs())
        while len(self._cameras) < min(streams, usable_cpus()):
            self._start_camera(self.name_of(f"camera-{len(self._cameras)}"))
        self._files_per_camera = -(-streams // len(self._cameras))

    def _assign(self, camera: str) -> None:
        """Give a camera actor as many streams as it should have."""
        running = self._running[camera]
        while self._waiting and len(running) < self._files_per_camera:
            job = self._waiting.popleft()
            job.attempts += 1
            running[job.source.stream_id] = job
            attach = self._cameras[camera].attach
            attach.remote(job.source, job.recognizer, paused=job.paused)

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
            job = self._running[camera].get(state.stream_id)
            if job is None:
                continue
            self._states[state.stream_id] = state
            if state.fatal:
                raise SinkError(state.fatal)
            if not state.done:
                continue
            del self._running[camera][state.stream_id]
            self._cameras[camera].forget.remote(state.stream_id)
            if state.lost is None:
                self._outcome(state, job)
            else:
                self._revive_publisher()
                self._again(job, state.lost)

    def _outcome(self, state: StreamState, job: _Job) -> None:
        if job.detached:  # whoever comes and goes all day has one outcome
            self.outcomes = [o for o in self.outcomes if o.stream_id != state.stream_id]
            self._states.pop(state.stream_id, None)
            self._kinds.pop(state.stream_id, None)
        outcome = Outcome(stream_id=state.stream_id, tally=state.tally, error=state.error)
        self.outcomes.append(outcome)
        if self._keep_events:
            self._untaken.append(job)

    def _gone(self, stream_id: str) -> None:
        """Say for a stream that no camera actor has that it is detached."""
        self._states.pop(stream_id, None)
        self._kinds.pop(stream_id, None)
        if self._publisher is not None:
            self._publisher.forget.remote(stream_id)
            self._publisher.report.remote(stream_id, CameraState.DETACHED.value, "")

    def _again(self, job: _Job, why: str) -> None:
        """Put a stream back in the queue, unless it has had its chances."""
        stream_id = job.source.stream_id
        if job.detached:
            self._gone(stream_id)
            return
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
