"""One stream's answers on their way from its camera actor to the publisher, in order.

They go past Ray where both are on one machine, and the stream waits until its events are on disk;
elsewhere through Ray, one call ahead. The publisher is looked up for each session: one that died
under a session had its open events, so the session ends with it; a camera that was idle meanwhile
begins with the next one.
"""

from __future__ import annotations

from typing import Self

import ray
from ray.actor import ActorHandle

from actors.direct import HungUp, Line
from actors.publisher import Publisher
from pipeline.records import Scores, SessionEnd, SourceKind
from pipeline.tally import Tally

PER_CALL: dict[SourceKind, int] = {"live": 1, "file": 8}
"""Answers per call of the publisher: a camera's are urgent; a call takes 0.3 ms of CPU at each end,
through Ray 1."""


class Carrier:
    """A context manager; leave it and what was not sent is lost."""

    def __init__(
        self,
        publisher: str,
        stream_id: str,
        kind: SourceKind,
        *,
        settings_digest: str,
        tally: Tally,
    ) -> None:
        """``publisher`` is a name; ``settings_digest``: of the settings as this stream has them."""
        self._name = publisher
        self._stream_id = stream_id
        self._per_call = PER_CALL[kind]
        self._digest = settings_digest
        self._tally = tally
        self._publisher: ActorHandle[Publisher] | None = None
        self._line: Line | None = None
        self._ahead: ray.ObjectRef[int] | None = None
        self._together: list[Scores | SessionEnd] = []

    def take(self, answer: Scores | SessionEnd) -> None:
        """Add one, and send what is due.

        Raises:
            RayActorError, HungUp: the publisher died, or there is none just now.
            ActionstreamError: it can't go on.
        """
        self._together.append(answer)
        ends = isinstance(answer, SessionEnd)
        if len(self._together) >= self._per_call or ends:
            self._send()
        if ends:
            self._await()
            self._hang_up()

    def finish(self) -> None:
        """Send what is left, and see that it is on disk. Raises as ``take`` does."""
        if self._together:
            self._send()
        self._await()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def _send(self) -> None:
        if self._publisher is None:
            try:
                self._publisher = ray.get_actor(self._name)
            except ValueError:
                raise HungUp("there is no publisher just now") from None
            address = ray.get(self._publisher.door.remote())
            self._line = Line(address) if address is not None and address.here else None
        self._await()
        together, self._together = self._together, []
        if self._line is None:
            publish = self._publisher.publish
            self._ahead = publish.remote(self._stream_id, self._digest, together)
            return
        self._tally.events += self._line.call("publish", self._stream_id, self._digest, together)

    def _await(self) -> None:
        if self._ahead is not None:
            self._tally.events += ray.get(self._ahead)
            self._ahead = None

    def _hang_up(self) -> None:
        self._publisher = None
        if self._line is not None:
            self._line.close()
            self._line = None
