"""Subscribers as processes of their own that are killed, and a Redis that goes away under them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
import redis

from pipeline import wire
from pipeline.records import ActionEvent
from pipeline.sink import RedisSink
from pipeline.subscribe import Rules, Subscriber
from tests.redis_server import RedisServer

MakeEvent = Callable[..., ActionEvent]
WaitUntil = Callable[..., None]

ROOT = Path(__file__).parents[3]
KEY = "actionstream:events"
GROUP = "alarms"
QUICK = Rules(block_s=0.02, sweep_s=0.05, claim_idle_s=0.5)

READER = """
import json, sys, threading
from pipeline.subscribe import Rules, Subscriber

said = json.loads(sys.argv[1])
left, rules = said.pop("hold_at"), Rules(**said.pop("rules"))
for event in Subscriber(said.pop("url"), group="alarms", start="0", rules=rules, **said):
    print(event.seq, flush=True)
    left -= 1
    if left == 0:
        threading.Event().wait()  # in the middle of its work, for ever
"""


class Reader:
    """A subscriber in a process of its own, which tells of every event before it acknowledges.

    It stays in the middle of its ``hold_at``-th, counted from 1.
    """

    def __init__(
        self, url: str, *, consumer: str | None = None, hold_at: int = 0, **rules: float
    ) -> None:
        usual = {"block_s": 0.02, "sweep_s": 0.05, "claim_idle_s": 60.0}
        said = {"url": url, "consumer": consumer, "hold_at": hold_at, "rules": usual | rules}
        command = [sys.executable, "-c", READER, json.dumps(said)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.got: list[int] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self.got.extend(int(line) for line in self._process.stdout if line.endswith("\n"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as made:
        yield made


def address(server: RedisServer) -> str:
    return f"redis://127.0.0.1:{server.port}"


def pending_seqs(client: redis.Redis) -> list[int]:
    """Of what was given out and not acknowledged."""
    lines = client.xpending_range(KEY, GROUP, min="-", max="+", count=1000)
    entries = [client.xrange(KEY, line["message_id"], line["message_id"]) for line in lines]
    return [int(found[0][1]["seq"]) for found in entries]


def unread(client: redis.Redis) -> int:
    (group,) = client.xinfo_groups(KEY)
    return int(group["lag"]) + int(group["pending"])


@contextmanager
def handling(reader: Subscriber, handler: Callable[[ActionEvent], object]) -> Iterator[None]:
    thread = threading.Thread(target=reader.run, args=[handler])
    thread.start()
    try:
        yield
    finally:
        reader.stop()
        thread.join(30)
        reader.close()
        assert not thread.is_alive()


def test_killed_between_read_and_acknowledge_it_gets_exactly_those_again(
    server: RedisServer, client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    """A batch of 16 is in its hands when it dies at the fifth."""
    RedisSink(client).write([make_event(seq) for seq in range(40)])
    with Reader(address(server), consumer="bell", hold_at=5) as killed:
        wait_until(lambda: killed.got == [0, 1, 2, 3, 4], "the fifth", 60)
        killed.kill()
    left = pending_seqs(client)
    assert left == list(range(4, 16))
    with Reader(address(server), consumer="bell") as back:
        wait_until(lambda: len(back.got) >= 36 and unread(client) <= 1, "the rest", 60)
    assert back.got == list(range(4, 40))


def test_of_two_in_a_group_the_living_takes_over_what_the_dead_held(
    server: RedisServer, client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    sink = RedisSink(client)
    written = 0
    with (
        Reader(address(server), hold_at=3, claim_idle_s=1.5) as dead,
        Reader(address(server), claim_idle_s=1.5) as living,
    ):
        wait_until(lambda: consumers(client) == 2, "both to be there", 60)
        deadline_s = time.monotonic() + 60
        while len(dead.got) < 3:
            assert time.monotonic() < deadline_s, "the group's first gets nothing"
            sink.write([make_event(seq) for seq in range(written, written + 20)])
            written += 20
            wait_until(lambda: unread(client) <= 16, "all but one batch to be handled", 60)
        dead.kill()
        held = pending_seqs(client)
        assert dead.got[-1] in held
        wait_until(lambda: unread(client) == 0, "the dead one's to be taken over", 60)
        wait_until(lambda: len(dead.got) + len(living.got) > written, "all to be told", 60)
        assert living.got[-len(held) :] == held  # in order, after what it had itself
    again = Counter(dead.got + living.got)
    assert set(again) == set(range(written))
    assert [seq for seq, times in again.items() if times > 1] == [dead.got[-1]]


def consumers(client: redis.Redis) -> int:
    if not client.exists(KEY):
        return 0
    return sum(len(client.xinfo_consumers(KEY, g["name"])) for g in client.xinfo_groups(KEY))


def test_the_rest_goes_on_in_order_around_an_event_that_kills_whoever_begins_it(
    server: RedisServer, client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    """The first event of a process's life is its death, three times; then it is given up."""
    RedisSink(client).write([make_event(seq) for seq in range(5)])
    rules = {"max_deliveries": 3, "claim_idle_s": 0.3}
    for _ in range(3):
        with Reader(address(server), consumer="bell", hold_at=1, **rules) as killed:
            wait_until(lambda k=killed: k.got, "its first", 60)
        assert killed.got == [0]
    with Reader(address(server), consumer="bell", **rules) as last:
        wait_until(lambda: last.got == [1, 2, 3, 4] and unread(client) == 0, "the rest", 60)
    ((_, letter),) = client.xrange(wire.dead_key())
    assert (letter["seq"], letter["dead_group"], letter["dead_deliveries"]) == ("0", GROUP, "3")
    assert letter["dead_reason"] == "begun 3 times, never acknowledged"


@pytest.mark.parametrize("comes_back", ["with its data", "empty"])
def test_a_redis_that_is_killed_is_waited_for_and_said_once(
    server: RedisServer,
    client: redis.Redis,
    make_event: MakeEvent,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
    comes_back: str,
) -> None:
    got: list[int] = []
    reader = Subscriber(client, group=GROUP, consumer="bell", start="0", rules=QUICK)
    with handling(reader, lambda event: got.append(event.seq)):
        RedisSink(client).write([make_event(seq) for seq in range(20)])
        wait_until(lambda: got == list(range(20)), "the first")
        server.kill()
        wait_until(lambda: "trying again" in caplog.text, "it to be noticed")
        if comes_back == "empty":
            server.wipe()
        server.start()
        RedisSink(client).write([make_event(seq) for seq in range(20, 40)])
        wait_until(lambda: len(got) >= 40, "the rest", 60)
        wait_until(lambda: unread(client) == 0, "all to be acknowledged", 60)
    assert got == list(range(40))
    said = [record.message for record in caplog.records if record.name.startswith("pipeline.s")]
    assert sum("it is made again" in line for line in said) == (comes_back == "empty")
    away = [record for record in caplog.records if "trying again" in record.message]
    assert len(away) == 1


def test_what_is_trimmed_under_a_consumer_is_counted_once_and_ends(
    server: RedisServer, client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    """Of another's pending entries some are trimmed; of what is left each is handled once."""
    RedisSink(client).write([make_event(seq) for seq in range(30)])
    with Reader(address(server), hold_at=1) as killed:
        wait_until(lambda: killed.got, "the first of a batch of 16", 60)
    client.xtrim(KEY, maxlen=20, approximate=False)
    got: list[int] = []
    reader = Subscriber(client, group=GROUP, rules=QUICK)
    with handling(reader, lambda event: got.append(event.seq)):
        wait_until(lambda: unread_or_none(client) in (0, None) and len(got) >= 20, "the rest", 60)
        wait_until(lambda: reader.counts["trimmed"] == 10, "the trimmed to be counted", 60)
    assert sorted(got) == list(range(10, 30))
    assert reader.counts == Counter(handled=20, trimmed=10)


def unread_or_none(client: redis.Redis) -> int | None:
    """``unread``, where Redis can tell it."""
    (group,) = client.xinfo_groups(KEY)
    return None if group["lag"] is None else int(group["lag"]) + int(group["pending"])
