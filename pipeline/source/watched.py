"""A camera whose every call into FFmpeg has a deadline that is kept from outside.

FFmpeg's own time-outs fail in some cases (a name that isn't resolved, sound that goes on without
pictures, a handshake), and a call that hangs can't be ended from within its process. So a thread of
its own opens and reads; whoever waits for packets waits on a queue, and gives up by the clock. A
thread that doesn't come back then has its connection shut down, which ends its call. Where that
doesn't help (a name is still looked up, or the connection isn't known), it is left behind, counted,
and closes its connection should it ever come back. There may be ``MAX_HUNG`` such per camera; until
one of them comes back, no new connection is tried.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from threading import Event, Lock, Thread, current_thread
from typing import TYPE_CHECKING, Protocol, Self

from pipeline.cameras import CameraKnobs
from pipeline.errors import SourceStalled, SourceTimeout, SourceTooLarge
from pipeline.records import SourceKind
from pipeline.source.backlog import REST_S, Backlog
from pipeline.source.feed import Feed
from pipeline.source.inflow import Inflow
from pipeline.tally import Tally

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

POLL_S = 0.5  # between two looks at the clock while nothing comes: each costs a thread's waking
GRACE_S = 1.0  # FFmpeg's own time-out comes first where it works: its thread is then free
CLOSE_S = 2.0  # a camera that is fine closes within one picture
CUT_S = 1.0  # a call comes back when its connection is shut down: at once
RESTING = 1 / 8  # of the time-out: whoever rests isn't taken for one that stalls
MAX_HUNG = 2
FIRST_PICTURE = 3
"""Times the time-out: after connecting, some cameras send no key frame for tens of seconds."""


class Connects(Protocol):
    """What is watched."""

    @property
    def kind(self) -> SourceKind: ...  # noqa: D102

    @property
    def stream_id(self) -> str: ...  # noqa: D102

    @property
    def shown(self) -> str: ...  # noqa: D102

    @property
    def port(self) -> int | None: ...  # noqa: D102

    def open(self) -> "Feed | WatchedFeed": ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Whom a watched camera tells how it is doing; both are called by whoever takes packets."""

    picture: Callable[[], None] = lambda: None
    """Pictures come out of the decoder."""
    stall: Callable[[str], None] = lambda detail: None
    """None came for half of the time-out, and why that may be."""


class Watched:
    """A source whose feeds keep deadlines."""

    def __init__(
        self,
        source: Connects,
        *,
        knobs: CameraKnobs,
        tally: Tally,
        stopped: Callable[[], bool],
        watch: Watch | None = None,
    ) -> None:
        """``tally.pictures`` tells whether what comes can be decoded."""
        self._source = source
        self.knobs = knobs
        self.kind: SourceKind = source.kind
        self.stream_id = source.stream_id
        self.tally = tally
        self.stopped = stopped
        self.watch = watch or Watch()
        self._hung: set[Thread] = set()
        self._counting = Lock()

    @property
    def shown(self) -> str:
        """The source as messages may name it."""
        return self._source.shown

    @property
    def port(self) -> int | None:
        """Where it listens, if that is known."""
        return self._source.port

    @property
    def hung(self) -> int:
        """Threads that were left behind and have not come back."""
        with self._counting:
            self._hung = {thread for thread in self._hung if thread.is_alive()}
            self.tally.hanging = len(self._hung)
            return self.tally.hanging

    def open(self) -> "WatchedFeed":
        """A new connection.

        Raises:
            SourceError: from the source; or SourceTimeout from the watchdog, or since too many
                earlier calls still hang; or SourceTooLarge, for an answer without end.
        """
        if (hung := self.hung) >= MAX_HUNG:
            raise SourceTimeout(
                f"{self.shown}: {hung} earlier connections hang in FFmpeg; "
                "a new one is tried once one of them ends"
            )
        return WatchedFeed(self, self._source.open)

    def leave_behind(self, thread: Thread) -> None:
        """Count a thread that doesn't come back."""
        with self._counting:
            self.tally.hung += 1
            self._hung.add(thread)
            self.tally.hanging = len(self._hung)

    def came_back(self, thread: Thread) -> None:
        """Count it no more: while a camera is paused, or waits to be tried again, nobody asks."""
        with self._counting:
            self._hung.discard(thread)
            self.tally.hanging = len(self._hung)


class WatchedFeed:
    """Packets of one connection; a context manager. See ``Feed``, whose part it takes."""

    promised_pictures = 0
    promised_end: Fraction | None = None
    created_s: float | None = None
    length_ns = 0

    def __init__(self, owner: Watched, connect: "Callable[[], Feed | WatchedFeed]") -> None:
        self.kind: SourceKind = owner.kind
        self.shown = owner.shown
        self.stopped: Callable[[], bool] = owner.stopped
        self._owner = owner
        rest_s = min(REST_S, owner.knobs.frame_timeout_s * RESTING)
        self._backlog = Backlog(owner.tally, rest_s=rest_s)
        self._opened, self._closing = Event(), Event()
        self._feed: Feed | WatchedFeed | None = None
        self._refused: BaseException | None = None
        self._thread = Thread(
            target=self._read, args=(connect,), name=f"read {owner.stream_id}", daemon=True
        )
        self._inflow = Inflow.of(
            self._thread.start,
            port=owner.port,
            over=lambda: self._opened.is_set() or not self._thread.is_alive(),
        )
        try:
            self._await_opened()
        except BaseException:
            self.close()
            raise

    @property
    def stream(self) -> "VideoStream":
        """The video stream."""
        assert self._feed is not None
        return self._feed.stream

    def rest_until(self, pts: int) -> None:
        """Packets before this timestamp, in ticks, may come late, by ``REST_S`` at most."""
        self._backlog.rest_until = pts

    def packets(self) -> Iterator["Packet[VideoStream]"]:
        """Packets in decoding order, until the source is stopped or ends.

        Raises:
            SourceStalled: no picture came in time, whether or not packets did.
            SourceTooLarge: far more came than a picture has.
            SourceError: from the source.
        """
        tally, clock = self._owner.tally, _StallClock(self._owner, time.monotonic())
        pictures = tally.pictures
        while not self.stopped():
            try:
                packet = self._backlog.take(POLL_S)
            except EOFError:
                return
            now_s = time.monotonic()
            if tally.pictures > pictures:
                pictures = tally.pictures
                clock.picture_came(now_s)
                self._owner.watch.picture()
            clock.judge(now_s, came=packet is not None)
            if packet is None:
                self._judge_inflow()
            else:
                self._inflow.given()
                yield packet
                if tally.pictures > pictures:
                    tally.latency.decode.observe(time.monotonic() - self._backlog.taken_s)

    def close(self) -> None:
        """Let the thread go, which closes the connection; don't wait for it for long."""
        self._closing.set()
        self._backlog.close()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._inflow.cut()
            self._thread.join(CUT_S)
        self._inflow.close()
        if self._thread.is_alive():
            self._owner.leave_behind(self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _await_opened(self) -> None:
        limit_s = self._owner.knobs.open_timeout_s + GRACE_S
        deadline_s = time.monotonic() + limit_s
        while not self._opened.wait(POLL_S):
            if self.stopped():
                raise SourceTimeout(f"{self.shown}: stopped while it was being connected")
            self._judge_inflow()
            if time.monotonic() > deadline_s:
                raise SourceTimeout(f"{self.shown}: no answer within {limit_s:g} s; is it up?")
        if self._refused is not None:
            raise self._refused
        self._inflow.given()

    def _judge_inflow(self) -> None:
        if wasted := self._inflow.wasted():
            raise SourceTooLarge(
                f"{self.shown}: sent {wasted >> 20} MiB that hold no picture; is it a camera?"
            )

    def _read(self, connect: "Callable[[], Feed | WatchedFeed]") -> None:
        """The thread's work: all that FFmpeg does for this connection, from open to close."""
        try:
            self._use(connect)
        finally:
            self._owner.came_back(current_thread())

    def _use(self, connect: "Callable[[], Feed | WatchedFeed]") -> None:
        try:
            feed = connect()
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits for it
            self._refused = error
            self._opened.set()
            return
        try:
            feed.stopped = self._closing.is_set
            self._feed = feed
            self._opened.set()
            self._backlog.fill(feed.packets())
            self._closing.wait()  # the decoder may still be at work on what came
        finally:
            feed.close()


class _StallClock:
    """How long nothing came that helps: no packet, or none that gives a picture."""

    def __init__(self, owner: Watched, now_s: float) -> None:
        self._shown = owner.shown
        self._stall = owner.watch.stall
        self._limit_s = owner.knobs.frame_timeout_s
        self._blind_limit_s = FIRST_PICTURE * self._limit_s
        self._packet_s = self._picture_s = now_s

    def picture_came(self, now_s: float) -> None:
        """The decoder has given a picture."""
        self._picture_s = now_s
        self._blind_limit_s = self._limit_s

    def judge(self, now_s: float, *, came: bool) -> None:
        """Look at the clock after a packet came, or none did.

        Raises:
            SourceStalled: it took too long.
        """
        if came:
            self._packet_s = now_s
        silent_s, blind_s = now_s - self._packet_s, now_s - self._picture_s
        if silent_s > self._limit_s + GRACE_S:
            raise SourceStalled(f"{self._shown}: no picture for {self._limit_s:g} s")
        if came and blind_s > self._blind_limit_s:
            raise SourceStalled(
                f"{self._shown}: sends packets, but none could be decoded for {blind_s:.0f} s; "
                "does it send key frames?"
            )
        if silent_s > self._limit_s / 2:
            self._stall(f"{self._shown}: no picture for {silent_s:.0f} s")
        elif blind_s > self._blind_limit_s / 2:
            self._stall(f"{self._shown}: nothing that could be decoded for {blind_s:.0f} s")
