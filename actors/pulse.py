"""One question to one actor, asked again and again and never waited for.

    ask() -> … look(): nothing yet … look(): the answer -> ask() -> …

``look`` raises once the actor is dead, or has been silent for too long. It can only be silent while
it is asked, and somebody is there to hear it: a process that was stopped and goes on, or a machine
that stood still, must not take all parts for dead. Cost: 0.1 ms a look.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from pipeline.errors import ActionstreamError

T = TypeVar("T")

STILL_S = 2.0  # between two looks: more, and it was us who stood still


class PartLost(ActionstreamError, RuntimeError):
    """An actor that is dead, or as good as dead; the message says what it does."""


class PartDied(PartLost):
    """An actor that is dead."""


class Pulse(Generic[T]):
    """Whether an actor answers, and what."""

    def __init__(
        self,
        question: Callable[[], ray.ObjectRef[T]],
        *,
        start_s: float,
        answer_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``start_s``: how long its first answer may take, after each start; ``answer_s``: others.

        Where Ray starts an actor again by itself, the question must not be asked again by Ray.
        """
        self._question = question
        self._start_s = start_s
        self._answer_s = answer_s
        self._now = now
        self._ref: ray.ObjectRef[T] | None = None
        self._asked_s = -math.inf
        self._looked_s = now()
        self.begin()

    def begin(self) -> None:
        """It is starting, now."""
        self._limit_s, self._since_s = self._start_s, self._now()
        self._well = False
        """It has answered, and was asked nothing since."""

    def ask(self, every_s: float = 0.0) -> None:
        """Ask, unless a question waits for its answer, or the last one was asked just now."""
        now_s = self._now()
        if self._ref is None and now_s - self._asked_s >= every_s:
            self._ref, self._asked_s = self._question(), now_s
            if self._well:
                self._well, self._since_s = False, now_s

    def look(self) -> T | None:
        """An answer, if there is a new one.

        Raises:
            PartDied: it is dead.
            PartLost: it is silent.
        """
        now_s = self._now()
        still_s, self._looked_s = now_s - self._looked_s, now_s
        if still_s > STILL_S:
            self._since_s += still_s
        if self._ref is not None and ray.wait([self._ref], timeout=0)[0]:
            ref, self._ref = self._ref, None
            try:
                answer: T = ray.get(ref)
            except ActorUnavailableError:  # Ray starts it again
                if self._limit_s != self._start_s:
                    self.begin()
            except RayActorError as error:
                raise PartDied(f"died{_why(error)}") from error
            except RayError:  # its answer could not be packed; it may be better at the next
                pass
            else:
                self._limit_s, self._well = self._answer_s, True
                return answer
        silent_s = now_s - self._since_s
        if silent_s > self._limit_s and not self._well:
            raise PartLost(f"has not answered for {silent_s:.0f} s")
        return None


def _why(error: RayActorError) -> str:
    """What kept it from starting, if that is an error of ours, which holds no secret."""
    name, _, message = str(error).strip().rpartition("\n")[2].partition(": ")
    return f": {message}" if name.startswith("pipeline.errors.") else ""
