"""The publisher of a deployment: started, watched, replaced, and what it is told and asked.

Not for several threads: the supervisor holds its lock around each call but ``take``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError

from actors.pace import Pace
from actors.parts import Parts, find
from actors.publisher import Publisher
from actors.pulse import PartLost
from actors.watch import Bounds, PublisherWatch
from pipeline.config import RedisConfig
from pipeline.records import ActionEvent, EventType, Flag

log = logging.getLogger(__name__)

CLOSE_S = 30.0  # it waits 5 s for Redis


class Heard:
    """What was taken of the files under way: one that begins anew makes its first events again."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, ActionEvent]] = {}
        """What was last heard of each event, by stream."""

    def new(self, events: Iterable[ActionEvent]) -> list[ActionEvent]:
        """Those that were not taken before.

        An end that comes sooner than the first time got, because the second was stopped, follows
        what was heard: or the event would stay open.
        """
        return [new for event in events if (new := self._new(event)) is not None]

    def forget(self, stream_id: str) -> None:
        """A stream has ended."""
        self._last.pop(stream_id, None)

    def _new(self, event: ActionEvent) -> ActionEvent | None:
        if event.source_kind == "live":  # begins a new session, with other events
            return event
        heard = self._last.setdefault(event.stream_id, {})
        last = heard.get(event.event_id)
        if last is not None and event.seq <= last.seq:
            if Flag.INTERRUPTED not in event.flags or last.type is EventType.END:
                return None
            event = replace(event, seq=last.seq + 1)
        heard[event.event_id] = event
        return event


class Publishing:
    """The publisher that there is at the moment."""

    def __init__(
        self,
        parts: Parts,
        bounds: Bounds,
        redis: RedisConfig | None,
        *,
        keep: bool,
        live: bool,
        died: Callable[[], None],
    ) -> None:
        """``died`` is called once there is another one; see ``Publisher`` for the rest."""
        self.name = parts.name_of("publisher")
        self.restarts = 0
        self.lost = 0
        """Events that nobody took until the end."""
        self._parts = parts
        self._bounds = bounds
        self._redis = redis
        self._keep = keep
        self._live = live
        self._died = died
        self._watch: PublisherWatch | None = None
        self._taken = 0
        """Events that this one has given us."""
        self._heard = Heard()
        self._pace = Pace()

    def start(self, *, adopted: bool) -> None:
        """A new one, unless one that is there was ``adopted``."""
        if not adopted:
            self._parts.start_publisher(self._redis, keep=self._keep)
        actor: ActorHandle[Publisher] = find(self.name)
        self._watch = PublisherWatch(actor, self._bounds, live=self._live)
        self._taken = 0

    def look(self, ask_every_s: float) -> None:
        """See whether it is there, and do what is due."""
        assert self._watch is not None
        if self._pace.rests:
            return
        try:
            said = self._watch.look()
        except PartLost as lost:
            self._pace.lost()
            self.replace(str(lost))
        else:
            if said is not None:
                self._pace.well()
            for line in said or ():
                log.warning("%s", line)
        self._watch.ask(ask_every_s)

    def replace(self, why: str) -> None:
        """Another one in its place."""
        log.warning("%s %s; it is started again", self.name, why)
        self.restarts += 1
        self.start(adopted=False)
        self._died()

    def take(self, limit_s: float) -> list[ActionEvent]:
        """Events since the last call, if they are kept; each once, whoever dies in between.

        Raises:
            RayActorError: it is dead.
            GetTimeoutError: it is busy, and has them still.
        """
        assert self._watch is not None
        asked = self._watch.actor.take.remote(self._taken)
        events: list[ActionEvent] = ray.get(asked, timeout=limit_s)
        self._taken += len(events)
        return self._heard.new(events)

    def all_taken(self, stream_id: str) -> None:
        """A stream has ended, and its last events were taken."""
        self._heard.forget(stream_id)

    def report(
        self, stream_id: str, state: str, detail: str, *, since_s: float | None = None
    ) -> None:
        """Have a stream's change of state written; of now, or of some Unix seconds."""
        if self._watch is not None:
            self._watch.actor.report.remote(stream_id, state, detail, since_s)

    def forget(self, stream_id: str) -> None:
        """Have what a stream left open ended."""
        if self._watch is not None:
            self._watch.actor.forget.remote(stream_id)

    def keep_only(self, stream_ids: Collection[str]) -> None:
        """Have all other streams forgotten, and what they left open ended."""
        if self._watch is not None:
            self._watch.actor.keep_only.remote(stream_ids)

    def interrupt(self, stream_id: str) -> None:
        """Have what is open on a stream ended: nobody works on it just now."""
        if self._watch is not None:
            self._watch.actor.interrupt.remote(stream_id)

    def end_open(self, limit_s: float) -> None:
        """Have ended what is open on all streams.

        Raises:
            RayActorError: it is dead; another one in its place ends what was.
        """
        if self._watch is not None:
            try:
                ray.get(self._watch.actor.end_open.remote(), timeout=limit_s)
            except GetTimeoutError:
                log.warning("%s is silent; the next run ends what is open", self.name)

    def close(self) -> None:
        """Nothing more will come."""
        if self._watch is not None:
            with suppress(RayError):
                lost, said = ray.get(self._watch.actor.close.remote(), timeout=CLOSE_S)
                self.lost += lost
                for line in said:
                    log.warning("%s", line)
