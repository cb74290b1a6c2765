"""What is seen of a deployment at one moment: its streams, and its processes, asked one by one.

Streams are as the supervisor last saw them. Each actor says itself how its process does, because it
may be on another machine; one that is busy or dead is seen as silent, and holds up nobody.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import ray
from ray.exceptions import GetTimeoutError, RayError

from actors.cluster import NAMESPACE
from actors.publisher import Publisher
from actors.recognizer import Recognizer
from actors.snapshot import PartSnapshot, StreamSnapshot
from pipeline.errors import BrokerError
from pipeline.latency import PublishLatency
from pipeline.sink import OutboxState
from pipeline.subscribe import GroupState

ANSWER_S = 2.0  # a publisher's call takes 1 ms, a camera's answer is a copy of counters
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Observed(Protocol):
    """What is looked at."""

    @property
    def restarts(self) -> int: ...  # noqa: D102

    def snapshot(self) -> list[StreamSnapshot]: ...  # noqa: D102

    def parts(self) -> list[PartSnapshot]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What one process takes of its machine."""

    pid: int
    resident_bytes: int
    """Ray's shared memory that it has touched counts in each process."""
    threads: int
    descriptors: int
    references: int
    """Objects of Ray that it knows of; one that is never let go of is never freed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an actor says of itself."""

    process: Process | None
    batch_sizes: Counter[int] = field(default_factory=Counter)
    """Of a recognizer: batches by the number of their windows."""
    outbox: OutboxState | None = None
    latency: dict[str, PublishLatency] = field(default_factory=dict)
    """Of the publisher, by stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One actor."""

    name: str
    role: str
    answer: Answer | None
    """None: it did not answer in time, or isn't there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A deployment at one moment."""

    streams: Sequence[StreamSnapshot] = ()
    parts: Sequence[Part] = ()
    restarts: int = 0
    process: Process | None = None
    """Of the supervisor."""
    groups: Sequence[GroupState] = ()
    """Whoever reads the events; none while Redis is away."""


def look(deployment: Observed, groups: Callable[[], Sequence[GroupState]] = lambda: ()) -> Seen:
    """The deployment as it is; takes a few seconds at most."""
    parts = [(part.name, part.role) for part in deployment.parts()] if _ray_is_here() else []
    return Seen(
        streams=deployment.snapshot(),
        parts=_asked(parts),
        restarts=deployment.restarts,
        process=this_process(),
        groups=_groups(groups),
    )


def _groups(ask: Callable[[], Sequence[GroupState]]) -> Sequence[GroupState]:
    try:
        return ask()
    except BrokerError:  # the outbox tells
        return ()


def this_process() -> Process | None:
    """From Linux's ``/proc``; None elsewhere."""
    with suppress(OSError):
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Process(
            pid=os.getpid(),
            resident_bytes=resident_pages * PAGE_BYTES,
            threads=_count("/proc/self/task"),
            descriptors=_count("/proc/self/fd") - 1,  # the one that lists them
            references=_references(),
        )
    return None


def _count(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def _references() -> int:
    if not _ray_is_here():
        return 0
    return len(ray._private.worker.global_worker.core_worker.get_all_reference_counts())


def answer_of(actor: object) -> Answer:
    """Called in the actor's process, with the actor."""
    process = this_process()
    if isinstance(actor, Recognizer):
        return Answer(process=process, batch_sizes=actor.batch_sizes())
    if isinstance(actor, Publisher):
        return Answer(process=process, outbox=actor.outbox(), latency=actor.latency())
    return Answer(process=process)


def _ray_is_here() -> bool:
    return bool(ray.is_initialized())  # asked without it, Ray would start one


def _asked(parts: Sequence[tuple[str, str]]) -> list[Part]:
    """Every actor, asked side by side."""
    asked = [(name, role, _ask(name)) for name, role in parts]
    refs = [ref for _, _, ref in asked if ref is not None]
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=ANSWER_S)
    return [Part(name=name, role=role, answer=_answered(ref)) for name, role, ref in asked]


def _ask(name: str) -> ray.ObjectRef[Answer] | None:
    try:
        actor = ray.get_actor(name, namespace=NAMESPACE)
        return actor.__ray_call__.remote(answer_of)
    except (ValueError, RayError):  # it isn't there
        return None


def _answered(ref: ray.ObjectRef[Answer] | None) -> Answer | None:
    if ref is None:
        return None
    try:
        answer = ray.get(ref, timeout=0)
    except (RayError, GetTimeoutError):
        return None
    return answer if isinstance(answer, Answer) else None
