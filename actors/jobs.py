"""The streams of a deployment: what should run, who has it, what it came to. Knows no Ray.

A stream outlives the actors that work on it: what is counted of it goes on from where the last of
them left it, and what that one had begun and nobody saw the end of is counted as lost.

    waiting -> with a camera actor -> an outcome
       ^--- lost: after a wait ---'

Not for several threads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace

from actors.snapshot import StreamSnapshot, StreamState
from pipeline.backoff import backoff_s
from pipeline.errors import SourceError
from pipeline.printable import without_passwords
from pipeline.records import SourceKind
from pipeline.source import Source
from pipeline.tally import Outcome, Tally

MAX_ATTEMPTS = 3
MAX_ORPHANED = 30  # the publisher may die many times under an archive, or be killed by a file
AGAIN_S = 1.0  # before the second attempt, then twice as long each time
MAX_AGAIN_S = 10.0
INTERNAL = "internal"
"""What is counted among the faults of a camera, and was none of its own."""
MAX_DETACHED = 1000  # outcomes: cameras may come and go under new names for months


@dataclass(slots=True, kw_only=True)
class Job:
    """A stream that should run."""

    source: Source
    recognizer: str
    attempts: int = 0
    orphaned: int = 0
    """Those of them that another actor's death ended."""
    paused: bool = False
    detached: bool = False
    """It should not run any more, but may not be out yet."""
    before: Tally | None = None
    """Counts of earlier attempts."""
    failures: int = 0
    """Attempts in a row that were lost."""
    not_before_s: float = 0.0
    unheard: bool = False
    """Events of this attempt died with whoever kept them."""

    @property
    def stream_id(self) -> str:
        """The stream's name."""
        return self.source.stream_id


@dataclass(slots=True, kw_only=True)
class Jobs:
    """All of them."""

    keeps_events: bool = False
    """Somebody takes the events, and has them only then."""
    waiting: deque[Job] = field(default_factory=deque)
    running: dict[str, dict[str, Job]] = field(default_factory=dict)
    """By camera actor, then by stream."""
    states: dict[str, StreamState] = field(default_factory=dict)
    """Latest known state of every stream."""
    kinds: dict[str, SourceKind] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    """Streams that have ended, in the order in which they did; of those that were detached, the
    last ``MAX_DETACHED``."""
    detached: deque[str] = field(default_factory=deque)
    """Names of those that were."""
    untaken: list[Job] = field(default_factory=list)
    """Streams that have ended, but whose last events nobody has taken yet."""
    now: Callable[[], float] = time.monotonic

    @property
    def busy(self) -> bool:
        """Is there a stream that has not ended, or whose last events nobody has taken?"""
        return bool(self.waiting or any(self.running.values()) or self.untaken)

    @property
    def calm(self) -> bool:
        """Is every stream a camera that does what it should?"""
        running = [job for jobs in self.running.values() for job in jobs.values()]
        return not self.waiting and all(map(self._settled, running))

    def all(self) -> dict[str, Job]:
        """All that should run or hasn't ended, by name."""
        jobs = {job.stream_id: job for job in self.waiting}
        for running in self.running.values():
            jobs |= running
        return jobs

    def find(self, stream_id: str) -> tuple[str | None, Job | None]:
        """A stream's job, and the camera actor that has it."""
        for camera, running in self.running.items():
            if stream_id in running:
                return camera, running[stream_id]
        return None, self.all().get(stream_id)

    def add(self, job: Job, camera: str | None = None) -> None:
        """One more; ``camera`` works on it already."""
        self._forget_outcome(job.stream_id)
        self.kinds[job.stream_id] = job.source.kind
        self.states[job.stream_id] = StreamState(stream_id=job.stream_id)
        if camera is None:
            self.waiting.append(job)
        else:
            self.running[camera][job.stream_id] = job

    def hand_out(self, camera: str, room: int) -> list[Job]:
        """Give a camera actor the next that are due, up to so many in all."""
        given: list[Job] = []
        running = self.running[camera]
        for job in list(self.waiting):
            if len(running) >= room:
                break
            if job.not_before_s <= self.now():
                self.waiting.remove(job)
                job.attempts += 1
                job.unheard = False
                running[job.stream_id] = job
                given.append(job)
        return given

    def note(self, camera: str, state: StreamState) -> Job | None:
        """Take in how a stream does; its job, if the actor is done with it."""
        job = self.running[camera].get(state.stream_id)
        if job is None:
            return None
        if job.before is not None:
            state = replace(state, tally=state.tally.after(job.before))
        self.states[state.stream_id] = state
        if state.state == "streaming" and state.tally.scored > (job.before or Tally()).scored:
            job.failures = 0
        if not state.done:
            return None
        del self.running[camera][state.stream_id]
        return job

    def ended(self, job: Job) -> None:
        """A stream came to its end."""
        if job.unheard:
            self._anew([job])
            return
        state = self.states[job.stream_id]
        if job.detached:
            self._forget_outcome(job.stream_id)  # whoever comes and goes all day has one
            self.drop(job.stream_id)
            self.detached.append(job.stream_id)
            if len(self.detached) > MAX_DETACHED:
                self._forget_outcome(self.detached[0])
        self._outcome(state, state.error)
        if self.keeps_events:
            self.untaken.append(job)

    def drop(self, stream_id: str) -> None:
        """Show a stream no longer."""
        self.states.pop(stream_id, None)
        self.kinds.pop(stream_id, None)

    def lost(self, camera: str) -> list[Job]:
        """A camera actor died: its jobs, with what they had counted."""
        jobs = list(self.running[camera].values())
        self.running[camera] = {}
        for job in jobs:
            state = self._state(job)
            tally = deepcopy(state.tally)
            tally.close_accounts()
            self.states[job.stream_id] = replace(state, tally=tally)
        return jobs

    def again(self, job: Job, why: str, *, orphaned: bool = False, said: bool = False) -> bool:
        """Put a stream back in the queue; False: it has had its chances, and is given up.

        ``orphaned``: another actor died, which is hardly the file's fault. ``said``: people know
        why; else the stream's state tells them.
        """
        state = self._state(job)
        job.orphaned += orphaned
        tired = job.attempts - job.orphaned >= MAX_ATTEMPTS or job.orphaned >= MAX_ORPHANED
        if job.source.kind == "file" and tired:
            text = f"{job.stream_id}: given up after {job.attempts} attempts: {why}"
            self._outcome(state, SourceError(text))
            return False
        job.before = state.tally
        detail = ""
        if not said:
            job.before.faults[INTERNAL] += 1
            detail = without_passwords(f"{job.source.shown}: {why}")
        self.states[job.stream_id] = StreamState(
            stream_id=job.stream_id, tally=replace(state.tally, state="starting"), detail=detail
        )
        job.failures += 1
        job.not_before_s = self.now() + backoff_s(AGAIN_S, job.failures, at_most_s=MAX_AGAIN_S)
        self.waiting.append(job)
        return True

    def publisher_died(self) -> None:
        """Events that nobody had taken died with it: their streams run again once they end."""
        if not self.keeps_events:
            return
        for running in self.running.values():
            for job in running.values():
                job.unheard = job.source.kind == "file"
        untaken, self.untaken = self.untaken, []
        self._anew(untaken)

    def _anew(self, jobs: Sequence[Job]) -> None:
        """Run streams once more that have ended."""
        names = {job.stream_id for job in jobs}
        self.outcomes = [o for o in self.outcomes if o.stream_id not in names]
        for job in jobs:
            job.before = self._state(job).tally
        self.waiting.extend(jobs)

    def stop(self) -> None:
        """Nothing runs any more: an outcome for each that did."""
        for job in self.all().values():
            self._outcome(self._state(job), None)
        self.waiting.clear()
        for jobs in self.running.values():
            jobs.clear()

    def snapshot(self) -> list[StreamSnapshot]:
        """How every stream is doing."""
        return [
            StreamSnapshot(
                stream_id=name,
                kind=self.kinds.get(name, "live"),
                state=state.state,
                since_s=state.tally.since_s,
                detail=state.detail,
                tally=state.tally,
            )
            for name, state in list(self.states.items())
        ]

    def least_busy(self, recognizers: Sequence[str]) -> str:
        """The recognizer with the fewest streams."""
        taken = [job.recognizer for job in self.all().values()]
        return min(recognizers, key=taken.count)

    def _settled(self, job: Job) -> bool:
        wanted = "paused" if job.paused else "streaming"
        live = job.source.kind == "live"
        return live and not job.detached and self._state(job).state == wanted

    def _state(self, job: Job) -> StreamState:
        return self.states.get(job.stream_id, StreamState(stream_id=job.stream_id))

    def _forget_outcome(self, stream_id: str) -> None:
        self.outcomes = [o for o in self.outcomes if o.stream_id != stream_id]
        with suppress(ValueError):
            self.detached.remove(stream_id)

    def _outcome(self, state: StreamState, error: SourceError | None) -> None:
        self.outcomes.append(Outcome(stream_id=state.stream_id, tally=state.tally, error=error))
