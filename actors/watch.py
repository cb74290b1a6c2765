"""Watching one actor of each kind: what it is asked, and what makes it as good as dead.

    camera       silent; or threads of its streams hang in FFmpeg and don't come back
    recognizer   silent; a batch that takes for ever; nothing but batches that fail (a lost device)
    publisher    silent

Bounds are generous, because to end a part that is merely slow makes everything slower.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle

from actors.camera import Camera
from actors.pace import Pace
from actors.parts import START_TIMEOUT_S, find
from actors.publisher import GIVE_UP_S, Publisher
from actors.pulse import PartDied, PartLost, Pulse
from actors.recognizer import Recognizer
from actors.snapshot import RecognizerLoad, StreamState
from pipeline.backoff import backoff_s
from pipeline.source.watched import MAX_HUNG

log = logging.getLogger(__name__)

MAX_HUNG_S = 3600.0
FORGIVEN_S = 86_400.0  # a day without threads that hang
BROKEN = 2  # batches in a row; one may be the fault of what is in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """For how long a part may do nothing before it is started again."""

    answer_s: float = 10.0
    """To say how it does: a copy of counters."""
    compute_s: float = 60.0
    """One batch; the first may have to be compiled, on a machine that is busy."""
    hung_s: float = 60.0
    """With so many threads in FFmpeg that a stream can't be connected again. Twice as long each
    time, since the other streams of the process are started again as well."""


class CameraWatch:
    """A camera actor."""

    def __init__(self, actor: ActorHandle[Camera], bounds: Bounds, *, times_hung: int = 0) -> None:
        self.actor = actor
        self.times_hung = times_hung
        """How often one of this name was started again since its threads hung."""
        self._first_hung_limit_s = bounds.hung_s
        self._hung_since_s: dict[str, float] = {}
        """Of each stream that can't be connected again, as too many of its threads hang."""
        self._good_since_s = time.monotonic()
        self._pulse: Pulse[list[StreamState]] = Pulse(
            actor.states.remote, start_s=START_TIMEOUT_S, answer_s=bounds.answer_s
        )
        self.ask = self._pulse.ask

    def look(self) -> Sequence[StreamState]:
        """What it said since the last look.

        Raises:
            PartLost: it has to be started again.
        """
        states = self._pulse.look()
        if states is None:
            return ()
        now_s = time.monotonic()
        hung = [
            state.stream_id
            for state in states
            if state.tally.hanging >= MAX_HUNG and state.state != "paused"
        ]
        self._hung_since_s = {name: self._hung_since_s.get(name, now_s) for name in hung}
        if not hung:
            if now_s - self._good_since_s > FORGIVEN_S:
                self.times_hung = 0
            return states
        self._good_since_s = now_s
        if now_s - min(self._hung_since_s.values()) > self._hung_limit_s:
            self.times_hung += 1
            raise PartLost("has threads that hang in FFmpeg")
        return states

    @property
    def _hung_limit_s(self) -> float:
        return backoff_s(self._first_hung_limit_s, self.times_hung + 1, at_most_s=MAX_HUNG_S)

    def pause(self, stream_id: str, paused: bool) -> None:
        """Let go of a camera, or connect it again."""
        (self.actor.pause if paused else self.actor.resume).remote(stream_id)


class PublisherWatch:
    """The publisher."""

    def __init__(self, actor: ActorHandle[Publisher], bounds: Bounds, *, live: bool) -> None:
        """A publisher of files alone may wait long for room in its outbox."""
        self.actor = actor
        self._pulse: Pulse[list[str]] = Pulse(
            actor.ready.remote,
            start_s=START_TIMEOUT_S,
            answer_s=bounds.answer_s + (0.0 if live else GIVE_UP_S),
        )
        self.ask, self.look = self._pulse.ask, self._pulse.look


class RecognizerWatch:
    """A recognizer, which Ray starts again where it can."""

    def __init__(self, name: str, start: Callable[[], None], bounds: Bounds) -> None:
        """``start``: a new one of that name, where Ray can't."""
        self._name = name
        self._start = start
        self._bounds = bounds
        self._pid = 0
        self._actor: ActorHandle[Recognizer] = find(name)
        self._pulse: Pulse[RecognizerLoad] = Pulse(
            lambda: self._actor.load.options(max_task_retries=0).remote(),
            start_s=START_TIMEOUT_S,
            answer_s=bounds.answer_s,
        )
        self.ask = self._pulse.ask
        self._pace = Pace()

    def look(self) -> int:
        """How often it was started again since the last look."""
        started = 0
        if self._pace.rests:
            return started
        try:
            load = self._pulse.look()
            if load is not None:
                started = int(self._pid not in (0, load.pid))
                self._pid = load.pid
                self._judge(load)
                self._pace.well()
        except PartLost as lost:
            self._pace.lost()
            log.warning("%s %s; it is started again", self._name, lost)
            self._replace(dead=isinstance(lost, PartDied))
        return started

    def _judge(self, load: RecognizerLoad) -> None:
        if load.computing_s > self._bounds.compute_s:
            raise PartLost(f"has worked on one batch for {load.computing_s:.0f} s")
        if load.failures >= BROKEN:
            raise PartLost(f"could not score {load.failures} batches in a row")

    def _replace(self, *, dead: bool) -> None:
        if dead:
            self._start()
            self._actor = find(self._name)
        else:  # Ray starts it again, and sends it what it had not answered
            with suppress(ValueError):
                ray.kill(self._actor, no_restart=False)
        self._pulse.begin()
