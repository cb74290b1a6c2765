"""A subscriber against a real server: what is handled, what comes again, what is given up."""

import json
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from pipeline import wire
from pipeline.broker import EmbeddedServer, Patience
from pipeline.errors import BrokerError, ConfigError
from pipeline.records import ActionEvent
from pipeline.sink import RedisSink
from pipeline.subscribe import DeadLetters, Rules, Subscriber
from tests.redis_server import RedisServer

MakeEvent = Callable[..., ActionEvent]
WaitUntil = Callable[..., None]

KEY = "actionstream:events"
QUICK = Rules(block_s=0.02, sweep_s=0.05, claim_idle_s=0.2)
PATIENT = Rules(block_s=0.02, sweep_s=0.05, claim_idle_s=60)


def subscriber(client: redis.Redis, **said: object) -> Subscriber:
    settings = {"group": "alarms", "start": "0", "rules": PATIENT, **said}
    return Subscriber(client, **settings)  # type: ignore[arg-type]


def take(reader: Subscriber, count: int) -> list[int]:
    """Handle so many, then stop."""
    got = []
    for event in reader:
        got.append(event.seq)
        if len(got) == count:
            reader.stop()
    reader.close()
    return got


def write_anyway(client: redis.Redis, events: list[ActionEvent]) -> None:
    """As another program may: a sink of ours stores no repeat."""
    for event in events:
        client.xadd(KEY, wire.to_fields(event))  # type: ignore[arg-type]


def pending(client: redis.Redis) -> int:
    return int(client.xpending(KEY, "alarms")["pending"])


@contextmanager
def running(reader: Subscriber, handler: Callable[[ActionEvent], object]) -> Iterator[None]:
    thread = threading.Thread(target=reader.run, args=[handler])
    thread.start()
    try:
        yield
    finally:
        reader.stop()
        thread.join(20)
        reader.close()
        assert not thread.is_alive()


def test_events_come_in_order_and_are_acknowledged_when_the_next_is_asked_for(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(40)])
    reader = subscriber(redis_client)
    assert take(reader, 40) == list(range(40))
    assert pending(redis_client) == 0
    assert reader.counts == Counter(handled=40)


def test_an_address_is_enough(
    redis_server: EmbeddedServer, redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event()])
    with Subscriber(redis_server.url, group="alarms", start="0", rules=PATIENT) as reader:
        assert next(iter(reader)).seq == 0


def test_a_new_group_starts_now_unless_told_otherwise(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    sink = RedisSink(redis_client)
    sink.write([make_event(0)])
    reader = subscriber(redis_client, start="$")
    sink.write([make_event(1)])
    assert take(reader, 1) == [1]


def test_what_was_in_hand_at_a_crash_comes_first(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    sink = RedisSink(redis_client)
    sink.write([make_event(seq) for seq in range(5)])
    crashed = subscriber(redis_client, consumer="one", rules=Rules(block_s=0.02, batch=3))
    events = iter(crashed)
    assert [next(events).seq, next(events).seq] == [0, 1]
    events.close()  # type: ignore[attr-defined]  # never asks for the next: 1 isn't acknowledged
    crashed.close()
    sink.write([make_event(5)])
    assert take(subscriber(redis_client, consumer="one"), 5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("orderly", [True, False])
def test_what_was_fetched_and_not_begun_is_handed_back(
    redis_client: redis.Redis, make_event: MakeEvent, orderly: bool
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(5)])
    with subscriber(redis_client) as leaving:
        for event in leaving:
            if event.seq == 1:
                if not orderly:
                    break
                leaving.stop()
    follower = subscriber(redis_client)
    assert take(follower, 3) == [2, 3, 4]
    assert pending(redis_client) == (0 if orderly else 1)


def fail_at(reader: Subscriber, seq: int) -> None:
    """As a program that catches what its loop raises."""
    with pytest.raises(RuntimeError):
        for event in reader:
            if event.seq == seq:
                raise RuntimeError("the bell is broken")


def test_a_loop_that_is_begun_again_goes_on_in_order(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    sink = RedisSink(redis_client)
    sink.write([make_event(seq) for seq in range(6)])
    reader = subscriber(redis_client, rules=Rules(block_s=0.02, sweep_s=60))
    fail_at(reader, 1)
    sink.write([make_event(seq) for seq in range(6, 9)])
    assert take(reader, 7) == [2, 3, 4, 5, 6, 7, 8]
    assert pending(redis_client) == 1


def test_a_loop_that_is_begun_again_leaves_alone_what_others_took(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    sink = RedisSink(redis_client)
    sink.write([make_event(seq) for seq in range(4)])
    reader = subscriber(redis_client, rules=Rules(block_s=0.02, sweep_s=60))
    fail_at(reader, 1)
    taken = [entry_id for entry_id, _ in redis_client.xrange(KEY)][:3]
    redis_client.xclaim(KEY, "alarms", "other", 0, taken)
    sink.write([make_event(4)])
    assert take(reader, 2) == [3, 4]
    assert reader.counts["lost_to_others"] == 1


def test_two_consumers_share_the_events(
    redis_client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    first: list[int] = []
    second: list[int] = []
    one, two = (
        subscriber(redis_client, rules=Rules(block_s=0.02, batch=2)),
        subscriber(redis_client, rules=Rules(block_s=0.02, batch=2)),
    )
    barrier = threading.Barrier(2, timeout=10)

    def handler(into: list[int]) -> Callable[[ActionEvent], None]:
        def handle(event: ActionEvent) -> None:
            if not into:
                barrier.wait()  # each has one before either goes on
            into.append(event.seq)

        return handle

    with running(one, handler(first)), running(two, handler(second)):
        RedisSink(redis_client).write([make_event(seq) for seq in range(100)])
        wait_until(lambda: len(first) + len(second) == 100, "all to be handled")
    assert sorted(first + second) == list(range(100))
    assert first
    assert second
    assert pending(redis_client) == 0
    assert redis_client.xinfo_consumers(KEY, "alarms") == []  # generated names leave


def test_what_a_dead_consumer_held_is_taken_over(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(250)])
    redis_client.xgroup_create(KEY, "alarms", id="0")
    redis_client.xreadgroup("alarms", "dead", {KEY: ">"}, count=250)
    reader = subscriber(redis_client, rules=QUICK)
    assert take(reader, 250) == list(range(250))
    assert pending(redis_client) == 0


def test_what_a_living_consumer_holds_is_left_alone(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(0)])
    redis_client.xgroup_create(KEY, "alarms", id="0")
    redis_client.xreadgroup("alarms", "busy", {KEY: ">"})
    RedisSink(redis_client).write([make_event(1)])
    assert take(subscriber(redis_client), 1) == [1]
    assert pending(redis_client) == 1


def test_a_slow_handler_does_not_lose_its_batch_to_others(
    redis_client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    """The batch takes far longer than claim_idle_s, each event less."""
    RedisSink(redis_client).write([make_event(seq) for seq in range(12)])
    slow: list[int] = []
    other: list[int] = []
    rules = Rules(block_s=0.02, sweep_s=0.02, claim_idle_s=0.5)
    pause = threading.Event()
    one = subscriber(redis_client, rules=rules)

    def handle(event: ActionEvent) -> None:
        pause.wait(0.1)
        slow.append(event.seq)

    with running(one, handle):
        wait_until(lambda: slow, "the batch to be fetched")
        with running(subscriber(redis_client, rules=rules), lambda e: other.append(e.seq)):
            wait_until(lambda: len(slow) + len(other) >= 12, "all to be handled")
    assert slow == list(range(12))
    assert other == []


def test_a_refused_event_comes_again_and_the_others_go_on(
    redis_client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(4)])
    seen: list[int] = []

    def handle(event: ActionEvent) -> None:
        seen.append(event.seq)
        if event.seq == 1 and seen.count(1) < 3:
            raise RuntimeError("the bell is busy")

    reader = subscriber(redis_client)
    with running(reader, handle):
        wait_until(lambda: reader.counts["handled"] == 4, "all to be handled")
    assert seen == [0, 1, 2, 3, 1, 1]
    assert reader.counts == Counter(handled=4, failed=2)
    assert pending(redis_client) == 0


def test_what_is_refused_again_and_again_becomes_a_dead_letter(
    redis_client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(3)])
    entry_id, stored = redis_client.xrange(KEY)[1]

    def handle(event: ActionEvent) -> None:
        if event.seq == 1:
            raise RuntimeError("no such bell")

    rules = Rules(block_s=0.02, sweep_s=0.02, max_deliveries=3)
    reader = subscriber(redis_client, consumer="one", rules=rules)
    with running(reader, handle):
        wait_until(lambda: redis_client.xlen(wire.dead_key()) == 1, "the dead letter")
        wait_until(lambda: pending(redis_client) == 0, "it to be acknowledged")
    ((_, letter),) = redis_client.xrange(wire.dead_key())
    assert {name: letter.pop(name) for name in stored} == stored
    assert float(letter.pop("dead_at")) > 0
    assert letter == {
        "dead_id": entry_id,
        "dead_group": "alarms",
        "dead_consumer": "one",
        "dead_deliveries": "3",
        "dead_reason": "RuntimeError: no such bell",
    }
    assert reader.counts == Counter(handled=2, failed=3, dead=1)


def test_an_event_that_kills_its_consumer_dies_alone(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    """Consumers are killed in the middle of event 1, until it is given up."""
    RedisSink(redis_client).write([make_event(seq) for seq in range(4)])
    handled: list[int] = []
    begun = 0
    for _ in range(4):
        reader = subscriber(
            redis_client, consumer="one", rules=Rules(block_s=0.02, max_deliveries=3)
        )
        events = iter(reader)
        for event in events:
            if event.seq == 1:
                begun += 1
                break
            handled.append(event.seq)
            if event.seq == 3:
                reader.stop()
        events.close()  # type: ignore[attr-defined]
        reader.close()
    assert begun == 3
    assert handled == [0, 2, 3]
    ((_, letter),) = redis_client.xrange(wire.dead_key())
    assert letter["seq"] == "1"
    assert letter["dead_reason"] == "begun 3 times, never acknowledged"


def test_a_foreign_entry_becomes_a_dead_letter_at_once(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    redis_client.xadd(KEY, {"data": b"\xff\xfe", "schema_version": "1"})
    RedisSink(redis_client).write([make_event()])
    assert take(subscriber(redis_client), 1) == [0]
    raw = redis.Redis(unix_socket_path=redis_client.connection_pool.connection_kwargs["path"])
    with raw:
        ((_, letter),) = raw.xrange(wire.dead_key())
    assert letter[b"data"] == b"\xff\xfe"
    assert b"not JSON" in letter[b"dead_reason"]
    assert pending(redis_client) == 0


def test_repeats_are_dropped_also_by_other_consumers_and_after_a_restart(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    write_anyway(redis_client, [make_event(0), make_event(0), make_event(1)])
    assert take(subscriber(redis_client, consumer="one"), 2) == [0, 1]
    write_anyway(redis_client, [make_event(1), make_event(0), make_event(2)])
    second = subscriber(redis_client, consumer="two")
    assert take(second, 1) == [2]
    assert second.counts == Counter(handled=1, repeat=2)


def test_the_memory_of_repeats_is_bounded(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(30)])
    rules = Rules(block_s=0.02, remember=10)
    take(subscriber(redis_client, rules=rules), 30)
    assert redis_client.zcard(wire.seen_key("alarms")) == 10
    write_anyway(redis_client, [make_event(0), make_event(29), make_event(30)])
    assert take(subscriber(redis_client, rules=rules), 2) == [0, 30]


def test_unwanted_events_are_acknowledged_unhandled(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write(
        [make_event(0, label="a"), make_event(1, label="b"), make_event(2, stream_id="yard")]
    )
    assert take(subscriber(redis_client, labels={"b"}, streams={"door"}), 1) == [1]
    left = subscriber(redis_client)
    RedisSink(redis_client).write([make_event(3)])
    assert take(left, 2) == [2, 3]


def test_what_was_trimmed_while_pending_is_counted_and_let_go(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(0), make_event(1)])
    redis_client.xgroup_create(KEY, "alarms", id="0")
    redis_client.xreadgroup("alarms", "one", {KEY: ">"})
    redis_client.xtrim(KEY, maxlen=0, approximate=False)
    RedisSink(redis_client).write([make_event(2)])
    reader = subscriber(redis_client, consumer="one")
    assert take(reader, 1) == [2]
    assert reader.counts == Counter(handled=1, trimmed=2)
    assert pending(redis_client) == 0


def test_what_a_dead_consumer_held_may_be_trimmed_too(
    redis_client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    RedisSink(redis_client).write([make_event(0)])
    redis_client.xgroup_create(KEY, "alarms", id="0")
    redis_client.xreadgroup("alarms", "dead", {KEY: ">"})
    redis_client.xtrim(KEY, maxlen=0, approximate=False)
    got: list[int] = []
    with running(subscriber(redis_client, rules=QUICK), lambda e: got.append(e.seq)):
        RedisSink(redis_client).write([make_event(1)])
        wait_until(lambda: got and pending(redis_client) == 0, "nothing to be pending")
    assert got == [1]


def test_a_stream_that_was_deleted_is_joined_again(
    redis_client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    got: list[int] = []
    with running(subscriber(redis_client), lambda event: got.append(event.seq)):
        RedisSink(redis_client).write([make_event(0)])
        wait_until(lambda: got == [0], "the first")
        redis_client.delete(KEY)
        RedisSink(redis_client).write([make_event(1)])
        wait_until(lambda: got == [0, 1], "the second")


def test_a_killed_server_is_outlived_and_no_event_is_handled_twice(
    state_dir: Path, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    with EmbeddedServer(state_dir) as server, server.client() as client:
        patience = Patience(revive=server.start)
        sink = RedisSink(client, patience=patience)
        got: list[int] = []
        reader = subscriber(client, patience=Patience(revive=server.start))
        with running(reader, lambda event: got.append(event.seq)):
            for part in range(3):
                sink.write([make_event(seq) for seq in range(part * 50, part * 50 + 50)])
                os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
                client.connection_pool.disconnect()
            wait_until(lambda: len(got) >= 150, "all to be handled")
        assert sorted(got) == list(range(150))


def test_stop_ends_it_while_redis_is_away(
    state_dir: Path, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    server = EmbeddedServer(state_dir)
    server.start()
    with server.client() as client:
        RedisSink(client).write([make_event()])
        reader = subscriber(client)
        got: list[int] = []
        with running(reader, lambda event: got.append(event.seq)):
            wait_until(lambda: got, "the first")
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
    server.stop()


def test_another_kind_of_key_is_said_at_once(redis_client: redis.Redis) -> None:
    redis_client.set(KEY, "text")
    with pytest.raises(BrokerError, match="holds something else"):
        subscriber(redis_client)


def test_a_short_time_out_in_the_address_makes_no_silence_a_lost_connection(
    make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    """It is shorter than the usual wait for new events."""
    with RedisServer() as server, server.client() as client, caplog.at_level(logging.WARNING):
        url = f"redis://127.0.0.1:{server.port}?socket_timeout=0.9"
        with Subscriber(url, group="alarms") as reader:
            timer = threading.Timer(1.5, RedisSink(client).write, [[make_event()]])
            timer.start()
            assert next(iter(reader)).seq == 0
            timer.join()
    assert caplog.text == ""


@pytest.mark.parametrize(
    "wrong",
    [{"max_deliveries": 1}, {"block_s": 5.0}, {"sweep_s": 0}, {"batch": 0}, {"remember": -1}],
)
def test_impossible_rules_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Rules(**wrong)


def test_half_a_character_in_an_event_neither_ends_the_reader_nor_its_burial(
    redis_client: redis.Redis, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # a report that holds half a character ends the test run
    fields = wire.to_fields(make_event(0, label="\ud800\x1b]0;x\x07"))
    rest = json.loads(fields["data"]) | {"event_id": "\ud800", "label": "\ud800\x1b]0;x\x07"}
    stored = {name: fields[name] for name in ("schema_version", "seq", "type", "stream_id")}
    redis_client.xadd(KEY, {**stored, "data": json.dumps(rest)})
    RedisSink(redis_client).write([make_event(1)])
    rules = Rules(block_s=0.02, sweep_s=0.05, claim_idle_s=60, max_deliveries=2)
    reader = subscriber(redis_client, rules=rules)
    seen = []

    def handle(event: ActionEvent) -> None:
        seen.append(event.seq)
        if seen.count(0) == 2 and 1 in seen:
            reader.stop()
        if not event.seq:
            raise RuntimeError(f"no bell for {event.label}")

    reader.run(handle)
    reader.close()
    assert sorted(seen) == [0, 0, 1]
    (letter,) = DeadLetters(redis_client)
    assert letter.reason == r"RuntimeError: no bell for \ud800\x1b]0;x\x07"
