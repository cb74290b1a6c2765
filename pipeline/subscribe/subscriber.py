"""A consumer of action events that may die at any time, and of which there may be several.

    for event in Subscriber("redis://host", group="alarms"):
        ring(event)                                # acknowledged when the next one is asked for

    Subscriber(client, group="alarms").run(ring)   # or: acknowledged when ring() has returned

Algorithm. Consumers of a group share its events; each is given to one of them.

1. Own pending entries first (``XREADGROUP … 0``): what was being handled when we last died.
2. Then new ones (``>``), in batches, blocking for less than the socket's time-out.
3. Every ``sweep_s``: take over what nobody acknowledged for ``claim_idle_s`` (``XAUTOCLAIM``, a
   batch per sweep until the cursor is back at 0-0), then 1 again. This also retries what our own
   handler refused, and finds a batch whose delivery was lost with its connection.
4. What was begun ``max_deliveries`` times and never acknowledged is copied to
   ``<prefix>:dead`` and acknowledged; what is no event of this schema, at once.

What holds. Every event is handled at least once while it is in the stream, in stream order unless
it is retried. A repeat (same ``event_id, seq``) is dropped if the group acknowledged it among its
last ``remember`` events, whichever consumer it was and through restarts: the memory is a sorted set
in Redis. It is handled twice when the process dies between the handler's return and the
acknowledgement, when two consumers hold original and repeat at the same moment, and when a handler
takes longer than ``claim_idle_s``. What Redis trims before it is read is lost (``maxlen``); what it
trims while pending is counted as ``trimmed``.

Cost: two round trips per event and one per batch; about 100 bytes in Redis per remembered event.
Consumers of one group must have different names, and the same streams and labels: an event that
its consumer doesn't want is acknowledged for the whole group.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypeVar

import redis
from pydantic import SecretStr
from redis.exceptions import RedisError

from pipeline import wire
from pipeline.broker import Patience, Trial, code, connect, place, private_client
from pipeline.config import RedisConfig
from pipeline.errors import BrokerError
from pipeline.printable import printable
from pipeline.records import ActionEvent
from pipeline.subscribe.advice import advice
from pipeline.subscribe.choice import Choice
from pipeline.subscribe.consumers import GONE_S, make_up_name
from pipeline.subscribe.entries import FIRST, Entry, just_before
from pipeline.subscribe.group import Group
from pipeline.subscribe.repeats import Recent, identity
from pipeline.subscribe.rules import Rules

log = logging.getLogger(__name__)

Reply = TypeVar("Reply")


@dataclass(slots=True)
class _Delivery:
    entry: Entry
    event: ActionEvent
    failure: Exception | None = None


class _Stopped(Exception):
    """``stop`` was called while Redis was away."""


class Subscriber:
    """An iterator of events, each acknowledged when the next is asked for."""

    def __init__(
        self,
        source: redis.Redis | str,
        *,
        group: str,
        consumer: str | None = None,
        prefix: str = wire.DEFAULT_PREFIX,
        start: str = "$",
        streams: Collection[str] = (),
        labels: Collection[str] = (),
        rules: Rules | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Connect; nothing is read before the first event is asked for, but the group exists then.

        Args:
            source: an address, or a client whose settings are copied.
            group: consumers of the same group share the events.
            consumer: a name that no living consumer of the group has, and that a restarted one
                has again; by default a new one, so that what it left is only taken over
                after ``claim_idle_s``.
            prefix: of the keys.
            start: of a group that is new: ``$`` from now on, ``0`` from the oldest kept.
            streams: only these, if any are given.
            labels: only these, if any are given.
            rules: see ``Rules``.
            patience: for a Redis that goes away; by default without end.

        Raises:
            BrokerError: Redis can't be reached or refuses.
            ConfigError: the address can't be made out.
        """
        self.counts: Counter[str] = Counter()
        """Events: handled, failed, repeat, unwanted, malformed, dead, trimmed, lost_to_others."""
        self._rules = rules or Rules()
        self._patience = patience or Patience()
        self._choice = Choice(streams=streams, labels=labels)
        self._recent = Recent(self._rules.remember)
        self._named = consumer is not None
        self._start = start
        if isinstance(source, str):
            with connect(RedisConfig(url=SecretStr(source))) as client:
                own = private_client(client)
        else:
            own = private_client(source)
        self._group = Group(
            client=own, prefix=prefix, name=group, consumer=consumer or make_up_name()
        )
        self._fetched: list[Entry] = []
        self._sweep_at_s = 0.0
        self._forget_at_s = 0.0
        self._cursor = FIRST
        self._own_after: str | None = FIRST
        self._insist(lambda: self._group.create(start))

    @property
    def consumer(self) -> str:
        """Its name in the group."""
        return self._group.consumer

    def stop(self) -> None:
        """End the iteration after the event in hand; from another thread or a signal handler."""
        self._patience.stop.set()

    def close(self) -> None:
        """Give back the connections, and what was fetched and not begun.

        An event that was begun and not acknowledged stays pending: a consumer of this name gets
        it at once, others after ``claim_idle_s``.
        """
        self.stop()
        with suppress(_Stopped, BrokerError):  # others take it over later then
            if self._fetched:
                self._leave()
        self._group.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[ActionEvent]:
        """Events; one that the loop's body left by an exception or ``break`` stays pending.

        The next loop goes on behind it, and gets it again after ``sweep_s``.
        """
        for delivery in self._deliveries():
            yield delivery.event

    def run(self, handler: Callable[[ActionEvent], object]) -> None:
        """Call the handler with each event until ``stop``; one that it refuses comes again."""
        for delivery in self._deliveries():
            try:
                handler(delivery.event)
            except Exception as failure:
                log.exception("event %s was refused by its handler", identity(delivery.event))
                delivery.failure = failure

    def _deliveries(self) -> Iterator[_Delivery]:
        try:
            self._keep()  # what an earlier loop had fetched, and left
            while not self._stopped:
                self._fetched = self._fetched or self._next_batch()
                fetched_s = time.monotonic()
                while self._fetched and not self._stopped:
                    delivery = self._open(self._fetched.pop(0))
                    if delivery is not None:
                        yield delivery
                        self._settle(delivery)
                    if time.monotonic() - fetched_s > self._rules.claim_idle_s / 2:
                        self._keep()
                        fetched_s = time.monotonic()
            self._leave()
        except _Stopped:
            return

    def _leave(self) -> None:
        """Let others have what was fetched and not begun; a name that won't come back goes."""
        fetched, self._fetched = self._fetched, []
        if fetched:
            self._insist(lambda: self._group.hand_back(fetched))
        if not self._named:
            self._insist(self._group.leave)

    @property
    def _stopped(self) -> bool:
        return self._patience.stop.is_set()

    def _next_batch(self) -> list[Entry]:
        if self._own_after is not None:
            after = self._own_after
            entry = self._insist(lambda: self._group.read_own(after))
            self._own_after = entry.id if entry else None
            return [entry] if entry else []
        if time.monotonic() >= self._sweep_at_s:
            self._sweep()
            return []
        return self._insist(lambda: self._group.read_new(self._rules.batch, self._rules.block_s))

    def _sweep(self) -> None:
        start, idle_s = self._cursor, self._rules.claim_idle_s
        after, trimmed = self._insist(lambda: self._group.claim(start, idle_s))
        if trimmed:
            log.warning("%d entries were trimmed before they were handled", trimmed)
            self.counts["trimmed"] += trimmed
        # In a later part of a round, only what it took over: the refused were tried in the first.
        self._own_after = just_before(start)
        self._cursor = after or FIRST
        if after is None:
            self._sweep_at_s = time.monotonic() + self._rules.sweep_s
            self._forget_gone()

    def _forget_gone(self) -> None:
        if time.monotonic() < self._forget_at_s:
            return
        self._forget_at_s = time.monotonic() + GONE_S
        with suppress(RedisError):  # a user may lack the rights, and nothing depends on it
            self._group.forget_gone(GONE_S)

    def _keep(self) -> None:
        """Before others take us for dead: tell that we live, and see what they took already."""
        fetched = self._fetched
        self._fetched = self._insist(lambda: self._group.keep(fetched))
        self.counts["lost_to_others"] += len(fetched) - len(self._fetched)

    def _open(self, entry: Entry) -> _Delivery | None:
        """The event to be handled, or None where the entry was settled without."""
        if not entry.fields:
            log.warning("entry %s was trimmed before it was handled", entry.id)
            self._pass_over(entry, "trimmed")
            return None
        if entry.deliveries > self._rules.max_deliveries:
            begun = entry.deliveries - 1  # this delivery is the one that buries it
            reason = f"begun {begun} times, never acknowledged"
            self._bury(replace(entry, deliveries=begun), "dead", reason)
            return None
        try:
            event = wire.from_fields(entry.fields)
        except ValueError as error:
            self._bury(entry, "malformed", str(error))
            return None
        name = identity(event)
        if name in self._recent or self._insist(lambda: self._group.knows(name)):
            self._pass_over(entry, "repeat")
            return None
        if not self._choice.wants(event):
            self._pass_over(entry, "unwanted")
            return None
        return _Delivery(entry, event)

    def _settle(self, delivery: _Delivery) -> None:
        entry, name = delivery.entry, identity(delivery.event)
        if delivery.failure is None:
            self._recent.add(name)  # before Redis is asked: it may be away and give it again
            self.counts["handled"] += 1
            self._insist(lambda: self._group.acknowledge(entry, name, self._rules.remember))
            return
        self.counts["failed"] += 1
        if entry.deliveries >= self._rules.max_deliveries:
            failure = delivery.failure
            self._bury(entry, "dead", f"{type(failure).__name__}: {failure}"[:500])

    def _bury(self, entry: Entry, reason_counted: str, reason: str) -> None:
        reason = printable(reason)  # it may quote the event
        log.warning("entry %s goes to the dead letters: %s", entry.id, reason)
        self.counts[reason_counted] += 1
        self._insist(lambda: self._group.bury(entry, reason))

    def _pass_over(self, entry: Entry, reason: str) -> None:
        self.counts[reason] += 1
        self._insist(lambda: self._group.acknowledge(entry))

    def _insist(self, command: Callable[[], Reply]) -> Reply:
        """Carry out a command, again where Redis was away or has lost the group."""
        trial = Trial(self._patience)
        where = place(self._group.client)
        while True:
            try:
                return command()
            except RedisError as error:
                self._sweep_at_s = 0.0  # a batch may have been given to us and not arrived
                if code(error) == "NOGROUP" and self._group.is_remade():
                    continue
                verdict = trial.failed(error, where)
                if self._stopped:
                    raise _Stopped from None
                if verdict is not None:
                    said = advice(error, verdict)
                    raise BrokerError(f"{where}, group {self._group.name!r}: {said}") from None
