"""The supervisor: what should run, what does run, and making the second like the first.

Every part is asked again and again how it does, and none is waited for. Recognizers keep nothing,
so Ray itself starts them again and sends their unanswered windows again. A camera actor that is
dead or silent is started again with its streams: a camera begins a new session, a file begins
anew, and the publisher passes over what it has seen. A dead publisher takes the open events with
it, so every stream that is in a session begins anew; a file's events come out with the same ids.
A file whose actor dies under it ``MAX_ATTEMPTS`` times is given up: it may be what kills it.

Actors that a supervisor before this one left at work are adopted, if they are made of the same.

``attach``, ``detach``, ``pause``, ``resume`` and ``snapshot`` are for any thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, RLock

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from actors.cameras import Cameras
from actors.jobs import Job, Jobs
from actors.parts import Parts, kill, made_of
from actors.plan import Plan
from actors.publishing import Publishing
from actors.snapshot import PartSnapshot, StreamSnapshot, StreamState
from actors.watch import Bounds, RecognizerWatch
from pipeline.broker import settled
from pipeline.config import Config, RedisConfig
from pipeline.errors import ConfigError
from pipeline.events import Origin
from pipeline.records import ActionEvent
from pipeline.settings import Settings
from pipeline.source import Source
from pipeline.stream import CameraState
from pipeline.tally import Outcome, Tally

log = logging.getLogger(__name__)

POLL_S = 0.2
CALM_S = 1.0  # between two questions while nothing is about to change: each costs 4 ms of CPU
TAKE_S = 1.0  # for the publisher's events, which wait there if it is busy
DRAIN_S = 30.0  # last windows are scored, and a connection that hangs is left after 2 s


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
        bounds: Bounds | None = None,
        stop: Event | None = None,
    ) -> None:
        """Events go to ``redis``, and with ``keep_events`` they wait for ``take_events``.

        With ``stays`` it goes on without a stream, since cameras may be attached. ``bounds``: how
        long a part may be silent before it is started again. Once ``stop`` is set, ``start`` waits
        for nothing.
        """
        self._stop = stop or Event()
        self._stays = stays
        self._bounds = bounds or Bounds()
        self._plan = Plan.of(sources, stays=stays)
        self._parts = Parts(name, config, settings, origin, callers=self._plan.most_cameras)
        redis = settled(redis) if redis else None  # actors run where Ray was started
        url = redis.url.get_secret_value() if redis and redis.url else None
        of_config = (config.model, config.recognizer, config.decode)
        self._parts.made_of = made_of(*of_config, settings, origin, redis, url, keep_events)
        self.name_of = self._parts.name_of
        self._lock = RLock()
        self._draining = False
        self._recognizers: dict[str, RecognizerWatch] = {}
        self._jobs = Jobs(keeps_events=keep_events)
        self._publishing = Publishing(
            self._parts,
            self._bounds,
            redis,
            keep=keep_events,
            live=self._plan.live,
            died=self._publisher_died,
        )
        self._cameras = Cameras(
            self._parts,
            self._jobs,
            self._bounds,
            streams_each=self._plan.streams_each,
            gone=self._gone,
            interrupted=self._publishing.interrupt,
            taken_over=self._say_again,
        )
        recognizers = self._parts.recognizers
        for n, source in enumerate(sources):
            self._jobs.add(Job(source=source, recognizer=recognizers[n % len(recognizers)]))
            self._jobs.drop(source.stream_id)  # shown once it runs
            self._jobs.kinds[source.stream_id] = source.kind
        self._restarts = 0

    @property
    def restarts(self) -> int:
        """Actors that had to be started again."""
        return self._restarts + self._cameras.restarts + self._publishing.restarts

    @property
    def lost(self) -> int:
        """Events that neither Redis nor the disk took until it was stopped; said by then."""
        return self._publishing.lost

    @property
    def states(self) -> dict[str, StreamState]:
        """Latest known state of every stream, by its name."""
        return dict(self._jobs.states)

    @property
    def tallies(self) -> dict[str, Tally]:
        """Latest known counts of every stream, by its name."""
        return {name: state.tally for name, state in self.states.items()}

    @property
    def outcomes(self) -> list[Outcome]:
        """Streams that have ended, in the order in which they did."""
        return self._jobs.outcomes

    @property
    def busy(self) -> bool:
        """Is there a stream that has not ended, or whose events are kept and were not taken?"""
        return self._jobs.busy

    def snapshot(self) -> list[StreamSnapshot]:
        """How every stream is doing, as of the last look; waits for nothing."""
        return self._jobs.snapshot()

    def parts(self) -> list[PartSnapshot]:
        """Every actor's process, and what recognizers have to do; takes up to a second."""
        return self._parts.snapshot(list(self._cameras.watches))

    def start(self) -> None:
        """Adopt or start every actor, and wait until the recognizers are ready, or for a stop.

        Raises:
            ActionstreamError: an actor can't do its work with this config.
        """
        found = self._parts.adopt()
        wait = self._plan.waits_for_company
        for name in self._parts.recognizers:
            start = partial(self._parts.start_recognizer, name, wait_for_company=wait)
            if name not in found:
                start()
            self._recognizers[name] = RecognizerWatch(name, start, self._bounds)
        self._publishing.start(adopted=self._publishing.name in found)
        self._publishing.keep_only(self._cameras.adopt(sorted(found)))
        while len(self._cameras.watches) < self._plan.cameras:
            self._cameras.start(self._cameras.free_name())
        self._parts.await_recognizers(self._stop)

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
        """Look at every actor once, and do what is due; waits for none of them."""
        with self._lock:
            self._cameras.let_go_of_the_rest()
            every_s = CALM_S if self._jobs.calm else 0.0
            self._publishing.look(every_s)
            for watch in self._recognizers.values():
                self._restarts += watch.look()
                watch.ask(every_s)
            self._cameras.look(every_s)

    def attach(self, source: Source, *, paused: bool = False) -> None:
        """One more stream, beside those that run.

        Raises:
            ConfigError: there is one of that name, or everything ends just now.
        """
        with self._lock:
            if self._draining:
                raise ConfigError(f"{source.stream_id}: the deployment ends; attach it to the next")
            if source.stream_id in self._jobs.all():
                raise ConfigError(
                    f"a camera named {source.stream_id!r} runs already, and their events would "
                    "mix; choose another name, or detach it first"
                )
            recognizer = self._jobs.least_busy(self._parts.recognizers)
            job = Job(source=source, recognizer=recognizer, paused=paused)
            if not self._cameras.take_over(job):
                self._publishing.forget(source.stream_id)  # of an actor that died unseen
                self._jobs.add(job)
            self._cameras.make_room()

    def detach(self, stream_id: str) -> None:
        """Stop a stream and end its events; it is gone once ``has`` says so."""
        with self._lock:
            camera, job = self._jobs.find(stream_id)
            if job is None:
                self._gone(stream_id)
                return
            job.detached = True
            if camera is not None:
                self._cameras.watches[camera].actor.detach.remote(stream_id)
            else:
                self._jobs.waiting.remove(job)
                self._gone(stream_id)

    def note(self, stream_id: str, state: CameraState, detail: str) -> None:
        """Show a camera that can't be attached as it is."""
        tally = Tally()
        tally.enter(state.value, time.time())
        self._jobs.kinds[stream_id] = "live"
        self._jobs.states[stream_id] = StreamState(
            stream_id=stream_id, state=state.value, detail=detail, tally=tally
        )
        self._publishing.report(stream_id, state.value, detail)

    def has(self, stream_id: str) -> bool:
        """Does a stream of that name run, or wait to?"""
        with self._lock:
            return stream_id in self._jobs.all()

    def pause(self, stream_id: str, paused: bool = True) -> None:
        """Let go of a camera, or with ``paused=False`` connect it again."""
        with self._lock:
            camera, job = self._jobs.find(stream_id)
            if job is None:
                return
            job.paused = paused
            if camera is not None:
                self._cameras.watches[camera].pause(stream_id, paused)

    def take_events(self) -> list[ActionEvent]:
        """Events since the last call, if they are kept; a publisher at work gives them later."""
        try:
            events = self._publishing.take(DRAIN_S if self._draining else TAKE_S)
        except RayActorError:
            with self._lock:
                self._publishing.replace("died")
            return []
        except GetTimeoutError:
            if self._draining:
                log.warning("the publisher is silent; its last events are missing")
            return []
        for job in self._jobs.untaken:
            self._publishing.all_taken(job.stream_id)
        self._jobs.untaken.clear()
        return events

    def drain(self) -> None:
        """Stop every stream, end its open events, and give every stream its outcome."""
        with self._lock:
            self._draining = True
            draining = [
                (name, each.actor.drain.remote()) for name, each in self._cameras.watches.items()
            ]
        deadline_s = time.monotonic() + DRAIN_S
        for name, drained in draining:
            try:
                states = ray.get(drained, timeout=max(0.0, deadline_s - time.monotonic()))
            except RayError:  # it died, is silent, or failed in it
                with self._lock:
                    self._jobs.waiting.extend(self._jobs.lost(name))
            else:
                self._cameras.note(name, states)
        try:
            self._publishing.end_open(DRAIN_S)
        except RayActorError:
            with self._lock:
                self._publishing.replace("died")
        with self._lock:
            self._jobs.stop()

    def stop(self) -> None:
        """End every actor: they are detached, so nobody else would."""
        self._publishing.close()
        for name in [*self._cameras.watches, *self._parts.recognizers, self._publishing.name]:
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

    def _publisher_died(self) -> None:
        """The next has to know all that it knew."""
        self._jobs.publisher_died()
        for state in self._jobs.states.values():
            self._say_again(state)

    def _say_again(self, state: StreamState) -> None:
        """Have a state known to a publisher that may not have heard of it."""
        if since_s := state.tally.since_s:
            self._publishing.report(state.stream_id, state.state, state.detail, since_s=since_s)

    def _gone(self, stream_id: str) -> None:
        """Say for a stream that no camera actor has that it is detached."""
        self._jobs.drop(stream_id)
        self._publishing.forget(stream_id)
        self._publishing.report(stream_id, CameraState.DETACHED.value, "")
