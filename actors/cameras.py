"""The camera actors of a deployment: which there are, who has which stream, who takes its place.

Not for several threads: the supervisor holds its lock around each call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from actors.jobs import Job, Jobs
from actors.pace import Pace
from actors.parts import Parts, find, kill
from actors.pulse import PartLost
from actors.snapshot import Held, StreamState
from actors.watch import Bounds, CameraWatch
from pipeline.cpus import usable_cpus
from pipeline.errors import SinkError
from pipeline.stream import CameraState

log = logging.getLogger(__name__)


class Cameras:
    """Starts, watches and replaces camera actors."""

    def __init__(
        self,
        parts: Parts,
        jobs: Jobs,
        bounds: Bounds,
        *,
        streams_each: int,
        gone: Callable[[str], None],
        interrupted: Callable[[str], None],
        taken_over: Callable[[StreamState], None],
    ) -> None:
        """``gone`` is told of a stream that was detached and that no actor has, ``interrupted`` of
        a camera whose work was lost: nobody else would end its open events before it is back, and
        ``taken_over`` of how an adopted stream does, which says so at its next change alone.
        """
        self._parts = parts
        self._jobs = jobs
        self._bounds = bounds
        self._gone = gone
        self._interrupted = interrupted
        self._taken_over = taken_over
        self.watches: dict[str, CameraWatch] = {}
        """By the actor's name."""
        self._streams_each = streams_each
        self._paces: dict[str, Pace] = {}
        self.restarts = 0
        """Actors that had to be started again."""
        self._left: dict[str, tuple[str, Held]] = {}
        """Streams that adopted camera actors work on and nobody has attached yet."""
        self._unheard: set[str] = set()
        """Streams that were taken over and have not said yet how they do."""

    def look(self, ask_every_s: float = 0.0) -> None:
        """Look at each once, and do what is due."""
        for name, camera in list(self.watches.items()):
            self._look_at(name, camera, ask_every_s)

    def start(self, name: str, *, times_hung: int = 0) -> None:
        """A new one, in place of what bears the name."""
        actor = self._parts.start_camera(name)
        self.watches[name] = CameraWatch(actor, self._bounds, times_hung=times_hung)
        self._jobs.running[name] = {}

    def free_name(self) -> str:
        """Of one more."""
        names = (self._parts.name_of(f"camera-{n}") for n in range(len(self.watches) + 1))
        return next(name for name in names if name not in self.watches)

    def make_room(self) -> None:
        """Camera actors for all that should run at once: one per core at most."""
        streams = len(self._jobs.all())
        while len(self.watches) < min(streams, usable_cpus()):
            self.start(self.free_name())
        self._streams_each = -(-streams // len(self.watches))

    def note(self, camera: str, states: Sequence[StreamState]) -> None:
        """Take in what a camera says of its streams, and what has to be done about it.

        Raises:
            SinkError: events can't be written.
        """
        for state in states:
            job = self._jobs.note(camera, state)
            if state.stream_id in self._unheard and state.tally.since_s:
                self._unheard.discard(state.stream_id)
                self._taken_over(state)
            if state.fatal and job is not None:
                raise SinkError(state.fatal)
            if state.done:
                self.watches[camera].actor.forget.remote(state.stream_id)
            if job is None:
                continue
            if state.lost is None:
                self._jobs.ended(job)
                if job.detached and state.state != CameraState.DETACHED:  # it ended before it heard
                    self._gone(job.stream_id)
            else:
                self._again(job, state.lost, orphaned=state.orphaned, said=state.orphaned)

    def adopt(self, found: Sequence[str]) -> list[str]:
        """Those that were left; the names of the streams that they work on."""
        names = [name for name in found if name.startswith(self._parts.name_of("camera-"))]
        said = self._parts.held(names)
        for name in set(names) - set(said):
            kill(name)
        for name, held in said.items():
            self.watches[name] = CameraWatch(find(name), self._bounds)
            self._jobs.running[name] = {}
            self._left |= {one.source.stream_id: (name, one) for one in held}
        return list(self._left)

    def take_over(self, job: Job) -> bool:
        """An adopted camera actor works on just this; else what it does under that name ends."""
        camera, held = self._left.pop(job.stream_id, (None, None))
        if camera is None or held is None:
            return False
        if held.source != job.source or held.recognizer not in self._parts.recognizers:
            self._start_again(camera, 0)
            return False
        job.recognizer = held.recognizer
        job.attempts = 1
        self._jobs.add(job, camera)
        self._unheard.add(job.stream_id)
        if held.paused != job.paused:
            self.watches[camera].pause(job.stream_id, job.paused)
        return True

    def let_go_of_the_rest(self) -> None:
        """What was attached to the supervisor before this one, and isn't to this one."""
        for stream_id, (camera, _) in self._left.items():
            self.watches[camera].actor.detach.remote(stream_id)
        self._left.clear()

    def _look_at(self, name: str, camera: CameraWatch, ask_every_s: float) -> None:
        """What a camera actor said, what it is to do, and the next question, in this order."""
        pace = self._paces.setdefault(name, Pace())
        if pace.rests:
            return
        try:
            states = camera.look()
        except PartLost as lost:
            pace.lost()
            self._replace(name, str(lost), times_hung=camera.times_hung)
            return
        if states:
            pace.well()
        self.note(name, states)
        for job in self._jobs.hand_out(name, self._streams_each):
            camera.actor.attach.remote(job.source, job.recognizer, paused=job.paused)
        camera.ask(ask_every_s)

    def _again(self, job: Job, why: str, *, orphaned: bool = False, said: bool = False) -> None:
        """``said``: the death of an actor is why, of which there is a line already."""
        if job.detached:
            self._gone(job.stream_id)
            return
        if job.source.kind == "live":
            self._interrupted(job.stream_id)
        self._jobs.again(job, why, orphaned=orphaned, said=said)

    def _replace(self, name: str, why: str, *, times_hung: int = 0) -> None:
        log.warning("%s %s; it is started again", name, why)
        self.restarts += 1
        self._start_again(name, times_hung)

    def _start_again(self, name: str, times_hung: int) -> None:
        jobs = self._jobs.lost(name)
        for stream_id in [s for s, (camera, _) in self._left.items() if camera == name]:
            del self._left[stream_id]  # attached or not, its work is lost
            self._gone(stream_id)
        self.start(name, times_hung=times_hung)
        for job in jobs:
            self._again(job, "the process that decoded it died", said=True)
