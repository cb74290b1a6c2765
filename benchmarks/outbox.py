"""Events per second from files to Redis with the outbox between, over straight to Redis.

``python -m benchmarks.outbox [--rounds 7]``; a round takes some eight seconds.

The whole pipeline in one process, with a real Redis of its own (append-only file, as shipped), and
settings by which every window gives an event: some fifty times as many as an action gives. Both
sides end when Redis has everything. CPU time is that of every process, Redis included.

Then the outbox alone, for those who wonder what it costs by itself: single writes as a camera's.
"""

import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import cast

import redis

from benchmarks.measure import cpu_seconds, h264, verdict
from pipeline.broker import EmbeddedServer, private_client
from pipeline.config import Config, EventConfig
from pipeline.model import Recognizer, load
from pipeline.run import run
from pipeline.sink import EventStream, Outbox, RedisSink, Sink
from pipeline.source import FileSource
from pipeline.wire import events_key, from_fields

FILES = 8
ROUNDS = 7
WRITES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one side did with its turn."""

    rate: float
    """Events per second."""
    cost_ms: float
    """CPU time per event."""


def busy_config(labels: Sequence[str]) -> Config:
    """One label that is always seen, and said again by every window."""
    return Config(
        events=EventConfig(
            enter=0.0, exit=0.0, update_interval_s=0.001, background=tuple(labels[1:])
        )
    )


def one_round(path: Path, recognizer: Recognizer, sink: Sink, client: redis.Redis) -> Round:
    """Every file once; until Redis has all of its events."""
    client.flushall()
    sources = [FileSource(path=path, stream_id=f"file {n}") for n in range(FILES)]
    before_s, began_s = cpu_seconds(), time.perf_counter()
    outcomes = run(sources, recognizer, busy_config(recognizer.spec.labels), sink)
    if isinstance(sink, Outbox):
        assert sink.flush(60) == 0
    took_s = time.perf_counter() - began_s
    events = sum(outcome.tally.events for outcome in outcomes)
    assert client.xlen(events_key()) == events > 0
    return Round(rate=events / took_s, cost_ms=1000 * (cpu_seconds() - before_s) / events)


def both_ways(
    path: Path,
    recognizer: Recognizer,
    outbox: Outbox,
    straight: RedisSink,
    client: redis.Redis,
    *,
    outbox_first: bool,
) -> tuple[Round, Round]:
    """Through the outbox, and straight; each goes first in its turn."""
    sinks: list[Sink] = [outbox, straight] if outbox_first else [straight, outbox]
    first, second = (one_round(path, recognizer, sink, client) for sink in sinks)
    return (first, second) if outbox_first else (second, first)


@contextmanager
def redis_here() -> Iterator[tuple[redis.Redis, Path]]:
    """A private Redis, and a folder beside it on the same disk."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    try:
        with EmbeddedServer(folder / "state") as server, server.client() as client:
            yield client, folder / "outbox"
    finally:
        shutil.rmtree(folder)


def alone(client: redis.Redis, outbox: Outbox, straight: RedisSink) -> str:
    """How long a single write takes its caller, through each of them."""
    entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(events_key(), count=1))
    event = from_fields(entries[0][1])
    said = []
    for name, sink in (("outbox", outbox), ("straight", straight)):
        times_ms = []
        for seq in range(WRITES):
            began_s = time.perf_counter()
            sink.write([replace(event, event_id=name, seq=seq)])
            times_ms.append(1000 * (time.perf_counter() - began_s))
        p99_ms = quantiles(times_ms, n=100)[98]
        said.append(f"{name} {median(times_ms):.2f} ms (p99 {p99_ms:.2f})")
    assert outbox.flush(60) == 0
    return "a write alone: " + ", ".join(said)


def main(rounds: int = ROUNDS) -> bool:
    """Measure; was the promise kept?"""
    path = h264(640, 360, seconds=20)
    recognizer = load("default", device="cpu")
    with redis_here() as (client, folder), private_client(client) as own:
        outbox, straight = Outbox(folder, EventStream(own)), RedisSink(client)
        turns = [
            both_ways(path, recognizer, outbox, straight, client, outbox_first=number % 2 == 0)
            for number in range(rounds + 1)
        ][1:]
        said = alone(client, outbox, straight)
        outbox.close()
    ratio = median(ours.rate / bare.rate for ours, bare in turns)
    detail = (
        f"{median(ours.rate for ours, _ in turns):.0f} of "
        f"{median(bare.rate for _, bare in turns):.0f} events/s, an event per window; CPU time "
        f"{median(ours.cost_ms for ours, _ in turns):.2f} and "
        f"{median(bare.cost_ms for _, bare in turns):.2f} ms per event"
    )
    print(f"     {said}")
    return verdict("durable outbox", ratio, 0.97, detail)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    sys.exit(not main(parser.parse_args().rounds))
