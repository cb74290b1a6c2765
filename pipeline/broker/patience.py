"""Waiting for a Redis that is away: exponential backoff with jitter, which somebody can end.

Jitter (half of each wait) keeps many clients from returning in step and felling it again.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from pipeline.backoff import backoff_s
from pipeline.broker.faults import explain, passes
from pipeline.errors import ActionstreamError, ConfigError

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0  # how late a returned Redis is noticed at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for a Redis that is away, and what to do about it meanwhile."""

    give_up_s: float | None = None
    """Seconds of trying in vain; None: until ``stop``."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set by another thread, it ends the wait at once."""
    revive: Callable[[], None] | None = None
    """Called before each new attempt; ``Broker.revive`` starts an embedded server again."""

    def __post_init__(self) -> None:
        if self.give_up_s is not None and not self.give_up_s >= 0:
            raise ConfigError(f"give_up_s must not be negative; got {self.give_up_s}")


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row: 0.1, 0.2 … 5 s, half of it by chance."""
    return backoff_s(FIRST_WAIT_S, failures, at_most_s=LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


class Revival:
    """``revive``, called again and again: what keeps it from working is said once."""

    def __init__(self, revive: Callable[[], None] | None) -> None:
        self._revive = revive
        self._said = ""

    def attempt(self) -> None:
        """Call it; a failure is one line, unless the attempt before failed with the same."""
        if self._revive is None:
            return
        said = ""
        try:
            self._revive()
        except ActionstreamError as failed:
            said = str(failed)
            if said != self._said:
                log.warning("%s", said)
        self._said = said


class Trial:
    """One command that is tried until it works."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since_s = 0.0
        self._failures = 0
        self._revival = Revival(patience.revive)

    def succeeded(self) -> None:
        """The next failure starts anew."""
        self._failures = 0

    def failed(self, error: RedisError, where: str) -> str | None:
        """Wait a while; then None for another attempt, or why there must be none.

        ``where`` names the server in the log.
        """
        if not passes(error):
            return explain(error)
        if not self._failures:
            self._since_s = time.monotonic()
            log.warning("%s: %s; trying again", where, explain(error))
        self._failures += 1
        wait_s = pause_s(self._failures)
        if self._patience.give_up_s is not None:
            tried_s = time.monotonic() - self._since_s
            left_s = self._patience.give_up_s - tried_s
            if left_s <= 0:
                return f"gave up after {tried_s:.0f} s: {explain(error)}"
            wait_s = min(wait_s, left_s)
        if self._patience.stop.wait(wait_s):
            return f"stopped while waiting: {explain(error)}"
        self._revival.attempt()
        return None
