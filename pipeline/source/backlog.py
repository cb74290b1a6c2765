"""Packets between the network and the decoder: bounded, and never old.

A camera doesn't wait. What the decoder can't take in time is dropped here, in whole groups from
one key frame to the next, because nothing else can be decoded without them; so a slow machine
loses pictures, and never falls behind by more than ``MAX_LAG_S``.

    one thread:      fill(packets)
    another thread:  take(timeout_s) until it raises

Waking the decoder costs as much as decoding a small picture, and a decoder that slept finds none of
its memory in the caches. So packets that nobody waits for rest here, and are taken together: once
one comes that is wanted, or to decode them will take ``WORK_S``, or the oldest has rested for long.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median
from threading import Condition, Lock
from typing import TYPE_CHECKING

from pipeline.tally import Tally

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

MAX_LAG_S = 2.0  # a GOP of most cameras; shorter, and a pause of the machine would cost pictures
MAX_PACKETS = 1024  # a camera that sends what it has kept, all at once: 40 s at 25 per second
MAX_BYTES = 64 << 20  # 40 s at 12 Mbit/s
REST_S = 0.5  # from one window to the next, mostly
WORK_S = 0.05  # what is wanted comes so long after the packet that ends the rest: see decode
MEASURED = 17  # the work of one packet in so many; key frames, which make more, come otherwise
LATEST = 5
"""So many works are looked at, and the middle one counts: by the clock, some last for as long as
the CPU was away. Whoever asks a busy machine for CPU time loses the CPU, and Python's lock goes
with it, for which other cameras wait."""


class Backlog:
    """Packets that have come and were not decoded yet."""

    def __init__(
        self,
        tally: Tally,
        *,
        rest_s: float = REST_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rest_s``: for how long packets may rest at most."""
        self._tally = tally
        self._rest_s = rest_s
        self._now = now
        self._line: deque[tuple[float, Packet[VideoStream]]] = deque()
        self._bytes = 0
        self.taken_s = 0.0
        """Monotonic seconds at which the packet that was taken last had come and had to rest no
        more."""
        self.rest_until: int | None = None
        """Timestamp of the packet that is wanted next; those before it may rest."""
        self._resting = True
        """Nobody has to be told of what is in line, if anything is."""
        self._woken_s = 0.0
        self._taken = 0
        """Packets that were taken."""
        self._began_s: float | None = None
        """When the last one was, if its work is measured."""
        self._works_s: deque[float] = deque(maxlen=LATEST)
        self._work_s = 0.0
        """What it takes to decode one, by recent ones."""
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._starved = False
        """What comes before the next key frame can't be decoded: packets before it are gone."""
        self._closed = False
        self._ended = False
        self._error: BaseException | None = None

    def fill(self, packets: "Iterable[Packet[VideoStream]]") -> None:
        """Take in packets to their end; whatever ends them reaches whoever takes them."""
        error: BaseException | None = None
        try:
            for packet in packets:
                self.push(packet)
        except BaseException as raised:  # noqa: BLE001 - carried over
            error = raised
        with self._lock:
            self._ended, self._error = True, error
            self._changed.notify()

    def push(self, packet: "Packet[VideoStream]") -> None:
        """A packet from the network."""
        with self._lock:
            if self._closed:
                return
            self._starved &= not packet.is_keyframe
            if self._starved:
                self._tally.packets_dropped["overload"] += 1
                return
            self._line.append((self._now(), packet))
            self._bytes += packet.size
            while self._too_much():
                self._skip()
            if self._line and self._resting and self._is_due(packet):
                self._wake()
                self._changed.notify()

    def close(self) -> None:
        """Nobody takes any more."""
        with self._lock:
            self._closed = self._resting = True
            self._line.clear()

    def take(self, timeout_s: float) -> "Packet[VideoStream] | None":
        """The oldest packet, or None if none came in time, or those that did may rest.

        Raises:
            EOFError: the camera has ended the stream, and all of it was taken.
            BaseException: what ended the stream, once all that came before was taken.
        """
        with self._lock:
            self._learn()
            if not self._is_over():
                self._changed.wait_for(self._is_over, min(timeout_s, self._rest_left_s()))
            if self._line:
                rests = not self._is_over() and self._rest_left_s() > 0
                return None if rests else self._next()
            if self._error is not None:
                raise self._error
            if self._ended:
                raise EOFError
            return None

    def _is_over(self) -> bool:
        """Has the wait of whoever takes an end?"""
        return not self._resting or self._ended

    def _next(self) -> "Packet[VideoStream]":
        if self._resting:
            self._wake()
        came_s, packet = self._line.popleft()
        self.taken_s = max(came_s, self._woken_s)
        self._bytes -= packet.size
        self._resting = not self._line
        if self._taken % MEASURED == 0:
            self._began_s = self._now()
        self._taken += 1
        return packet

    def _learn(self) -> None:
        """How long the packet that was taken last took whoever took it, if that is measured."""
        if self._began_s is not None:
            self._works_s.append(self._now() - self._began_s)
            self._work_s, self._began_s = median(self._works_s), None

    def _is_due(self, packet: "Packet[VideoStream]") -> bool:
        """Does the rest end with this packet?"""
        until = self.rest_until
        wanted = until is None or packet.pts is None or packet.pts >= until
        return wanted or len(self._line) * self._work_s >= WORK_S

    def _rest_left_s(self) -> float:
        """How long what is here may rest, by the clock."""
        return self._line[0][0] + self._rest_s - self._now() if self._line else math.inf

    def _wake(self) -> None:
        self._resting, self._woken_s = False, self._now()

    def _too_much(self) -> bool:
        lag_s = self._now() - self._line[0][0] if self._line else 0
        return lag_s > MAX_LAG_S or len(self._line) > MAX_PACKETS or self._bytes > MAX_BYTES

    def _skip(self) -> None:
        """Go on at the newest key frame, here or still to come: that here may be old itself."""
        keys = [n for n, (_, packet) in enumerate(self._line) if packet.is_keyframe]
        drop = keys[-1] if keys and keys[-1] > 0 else len(self._line)
        for _ in range(drop):
            _, packet = self._line.popleft()
            self._bytes -= packet.size
        self._tally.packets_dropped["overload"] += drop
        self._starved = not self._line
        self._resting |= not self._line
