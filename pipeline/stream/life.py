r"""The life of a camera: its states, and when it is tried again. Pure: clock and chance are given.

    starting -> connecting -> streaming <-> stalled
                    ^   \         |          /
                    |    v        v         v
                    '---------- backoff ----------> failed
    any of these <-> paused;  any of these -> ended, detached

Waits grow exponentially with full jitter, and begin anew only after a stream was good for a while:
a camera that sends one picture and dies is a camera that fails.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import StrEnum

from pipeline.backoff import backoff_s
from pipeline.cameras import RetryConfig
from pipeline.errors import (
    NotAVideo,
    PictureTooLarge,
    SourceElsewhere,
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceStalled,
    SourceTimeout,
    SourceTooLarge,
    SourceUnauthorized,
    SourceUnreachable,
)


class CameraState(StrEnum):
    """What a camera is doing."""

    STARTING = "starting"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    STALLED = "stalled"
    """Still connected, but no picture came for half of ``frame_timeout_s``."""
    BACKOFF = "backoff"
    """The connection failed or was lost, and is tried again after a wait."""
    PAUSED = "paused"
    FAILED = "failed"
    """Given up."""
    ENDED = "ended"
    DETACHED = "detached"


FINAL = frozenset({CameraState.FAILED, CameraState.ENDED, CameraState.DETACHED})
CONNECTED = frozenset({CameraState.CONNECTING, CameraState.STREAMING, CameraState.STALLED})
IDLE = frozenset({CameraState.STARTING, CameraState.BACKOFF, CameraState.PAUSED})


class Fault(StrEnum):
    """Why a connection failed or was lost."""

    AUTHENTICATION = "authentication"
    NOT_FOUND = "not found"
    UNREACHABLE = "unreachable"
    """Refused, reset, or no route."""
    TIMEOUT = "time-out"
    """No answer to the opening."""
    STALL = "stall"
    """Open, but no pictures any more."""
    CODEC = "codec"
    """No video, or none that can be decoded."""
    TOO_LARGE = "too large"
    FORBIDDEN = "forbidden"
    """An address at which cameras may not be."""
    ELSEWHERE = "elsewhere"
    """A name that leads to such an address, now."""
    ENDED = "ended"
    """The camera ended the stream, or its host died."""
    OTHER = "other"


SLOW = frozenset({Fault.AUTHENTICATION, Fault.CODEC, Fault.TOO_LARGE, Fault.ELSEWHERE})
"""Faults that stay until somebody sets something right; and a camera locks out who tries often."""

_FAULTS: dict[type[SourceError], Fault] = {
    SourceUnauthorized: Fault.AUTHENTICATION,
    SourceNotFound: Fault.NOT_FOUND,
    SourceUnreachable: Fault.UNREACHABLE,
    SourceStalled: Fault.STALL,
    SourceTimeout: Fault.TIMEOUT,
    NotAVideo: Fault.CODEC,
    PictureTooLarge: Fault.TOO_LARGE,
    SourceTooLarge: Fault.TOO_LARGE,
    SourceElsewhere: Fault.ELSEWHERE,
    SourceForbidden: Fault.FORBIDDEN,
}


def fault_of(error: SourceError | None) -> Fault:
    """The class of an error; None stands for a stream that simply ended."""
    if error is None:
        return Fault.ENDED
    return next((fault for kind, fault in _FAULTS.items() if isinstance(error, kind)), Fault.OTHER)


def wait_s(retry: RetryConfig, failures: int, fault: Fault, chance: float) -> float:
    """How long to wait after so many failures in a row; ``chance`` is in [0, 1)."""
    if fault in SLOW:
        return retry.max_delay_s * (1 + chance)
    return chance * backoff_s(
        retry.initial_delay_s,
        failures,
        at_most_s=retry.max_delay_s,
        multiplier=retry.multiplier,
    )


class CameraLife:
    """The state of one camera. A step that makes no sense in a state is an error of the caller."""

    def __init__(
        self,
        retry: RetryConfig,
        changed: Callable[[CameraState, str], None],
        *,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``changed`` is called with each new state and what people should know about it."""
        self.state = CameraState.STARTING
        self.failures = 0
        """In a row, since a stream was last good for a while."""
        self._retry = retry
        self._changed = changed
        self._now = now
        self._chance = chance
        self._streaming_since_s: float | None = None
        self._picture_s = 0.0
        """When the last one came."""

    def connect(self) -> None:
        """A connection is tried."""
        self._expect(self.state in IDLE, "connect")
        self._streaming_since_s = None
        self._enter(CameraState.CONNECTING)

    def picture(self) -> None:
        """A picture came: the first of a connection, the first after a stall, or any other."""
        self._expect(self.state in CONNECTED, "picture")
        self._picture_s = self._now()
        if self.state is CameraState.STREAMING:
            return
        if self._streaming_since_s is None:
            self._streaming_since_s = self._picture_s
        self._enter(CameraState.STREAMING)

    def stall(self, detail: str) -> None:
        """No picture came for a while, and the connection is still there."""
        self._expect(self.state in CONNECTED, "stall")
        if self.state is CameraState.STREAMING:
            self._enter(CameraState.STALLED, detail)

    def lose(self, fault: Fault, detail: str) -> float | None:
        """The connection failed or was lost: seconds to wait, or None if it is given up."""
        self._expect(self.state in CONNECTED, "lose")
        since_s = self._streaming_since_s
        if since_s is not None and self._picture_s - since_s >= self._retry.max_delay_s:
            self.failures = 0
        self.failures += 1
        if fault is Fault.FORBIDDEN or 0 <= self._retry.max_attempts <= self.failures:
            self._enter(CameraState.FAILED, detail)
            return None
        self._enter(CameraState.BACKOFF, detail)
        return wait_s(self._retry, self.failures, fault, self._chance())

    def pause(self) -> None:
        """Nothing is to be done until ``connect``."""
        self._expect(self.state not in FINAL, "pause")
        if self.state is not CameraState.PAUSED:
            self._enter(CameraState.PAUSED)

    def end(self, state: CameraState = CameraState.ENDED) -> None:
        """It is over: ended, or detached."""
        self._expect(self.state not in FINAL and state in FINAL, "end")
        self._enter(state)

    def _enter(self, state: CameraState, detail: str = "") -> None:
        self.state = state
        self._changed(state, detail)

    def _expect(self, sensible: bool, step: str) -> None:
        assert sensible, f"a camera that is {self.state} can't {step}"
