"""An event goes into the stream once, for as long as it is there."""

from collections.abc import Callable

import pytest
import redis
from redis.exceptions import RedisError

from pipeline import wire
from pipeline.broker import EmbeddedServer
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.sink import EventStream, RedisSink
from pipeline.sink.event_stream import REMEMBER_S
from pipeline.subscribe import follow
from tests.redis_server import RedisServer

MakeEvent = Callable[..., ActionEvent]
KEY = "actionstream:events"


def seqs(client: redis.Redis) -> list[int]:
    return [int(fields["seq"]) for _, fields in client.xrange(KEY)]


def test_a_repeat_is_not_stored_again(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    stream = EventStream(redis_client)
    assert stream.store([make_event(0), make_event(1)]) == 2
    assert stream.store([make_event(1), make_event(0), make_event(2), make_event(2)]) == 1
    assert stream.store([make_event(0, event_id="other")]) == 1
    assert seqs(redis_client) == [0, 1, 2, 0]
    assert stream.repeats == 3


def test_an_end_by_who_was_set_back_follows_what_is_there(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    """The outbox knew of the start when the power went, and Redis of what came after it."""
    stream = EventStream(redis_client)
    kinds = (EventType.START, EventType.UPDATE, EventType.UPDATE)
    stream.store([make_event(seq, type=kind) for seq, kind in enumerate(kinds)])
    end = make_event(1, type=EventType.END, flags=(Flag.INTERRUPTED,))
    assert stream.store([end]) == 1
    assert stream.store([end]) == 0
    assert stream.store([make_event(2, type=EventType.END, flags=(Flag.INTERRUPTED,))]) == 0
    found = [wire.from_fields(fields) for _, fields in redis_client.xrange(KEY)]
    assert [event.seq for event in found] == [0, 1, 2, 3]
    assert found[-1].type is EventType.END


def test_another_process_knows_the_repeats_too(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    for _ in range(2):
        sink = RedisSink(redis_client)
        sink.write([make_event(seq) for seq in range(3)])
    assert seqs(redis_client) == [0, 1, 2]
    assert sink.repeats == 3


def test_a_stream_that_was_deleted_is_filled_again(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    events = [make_event(seq) for seq in range(3)]
    stream = EventStream(redis_client)
    stream.store(events)
    redis_client.delete(KEY)
    stream.store([make_event(0, event_id="other")])
    assert stream.store(events) == 3
    assert stream.store(events) == 0


def test_what_was_trimmed_may_come_again(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    stream = EventStream(redis_client)
    stream.store([make_event(0)])
    redis_client.xtrim(KEY, maxlen=0)
    assert stream.store([make_event(0)]) == 1


def test_memory_of_repeats_ends(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    EventStream(redis_client).store([make_event(n, event_id=f"e{n}") for n in range(50)])
    keys = [key for key in redis_client.scan_iter() if key != KEY]
    assert len(keys) == 50
    assert all(0 < redis_client.ttl(key) <= REMEMBER_S for key in keys)


def test_prefixes_do_not_know_each_other(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    for prefix in ("a", "b"):
        assert EventStream(redis_client, prefix).store([make_event()]) == 1
    assert redis_client.xlen("a:events") == redis_client.xlen("b:events") == 1


def test_a_server_that_forgot_the_script_is_told_it_again(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    stream = EventStream(redis_client)
    stream.store([make_event(0)])
    redis_client.script_flush()
    assert stream.store([make_event(0), make_event(1)]) == 1


@pytest.mark.parametrize("label", ["\ud800", "caf\udce9", "a\0b", "", "x" * 100_000])
def test_odd_labels_go_through(
    redis_client: redis.Redis, make_event: MakeEvent, label: str
) -> None:
    EventStream(redis_client).store([make_event(label=label)])
    (event,) = follow(redis_client, start="0", until_caught_up=True)
    assert event.label == ("?" if label == "\ud800" else label)


def test_a_refused_batch_leaves_nothing(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisError, match="maxmemory"):
            EventStream(redis_client).store([make_event(seq) for seq in range(9)])
        assert redis_client.dbsize() == 0
    finally:
        redis_client.config_set("maxmemory", 0)


@pytest.mark.parametrize("lacking", ["get", "set", "xadd"])
def test_a_user_who_lacks_a_right_stores_nothing_of_a_batch(
    redis_server: EmbeddedServer, redis_client: redis.Redis, make_event: MakeEvent, lacking: str
) -> None:
    EventStream(redis_client).store([make_event(0)])
    rights = ["+@all", f"-{lacking}"]
    redis_client.acl_setuser("door", enabled=True, nopass=True, keys=["*"], commands=rights)
    path = str(redis_server.socket)
    try:
        with redis.Redis(unix_socket_path=path, username="door", password="any") as client:
            stream = EventStream(client)
            for first in (make_event(0), make_event(1), make_event(0, event_id="new")):
                with pytest.raises(RedisError):
                    stream.store([first, make_event(2)])
                assert seqs(redis_client) == [0]
    finally:
        redis_client.acl_deluser("door")
    assert redis_client.dbsize() == 2
    assert EventStream(redis_client).store([make_event(0), make_event(1)]) == 1


def test_it_runs_on_a_cluster(make_event: MakeEvent) -> None:
    """Of three nodes: every key of a call lies where the stream does."""
    settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with RedisServer(*settings) as one, RedisServer(*settings) as two, RedisServer(*settings) as x:
        servers = (one, two, x)
        for n, server in enumerate(servers):
            with server.client() as client:
                slots = range(n * 5461, 16384 if n == 2 else (n + 1) * 5461)
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", one.port)
        node = redis.cluster.ClusterNode("127.0.0.1", one.port)
        _wait_for_cluster(servers)
        cluster = redis.RedisCluster(startup_nodes=[node], decode_responses=True)
        with cluster:
            for prefix in ("actionstream", "elsewhere", "third"):
                stream = EventStream(cluster, prefix)  # type: ignore[arg-type]
                events = [make_event(n, event_id=f"e{n % 7}") for n in range(70)]
                assert stream.store(events) == 70
                assert stream.store(events) == 0
                assert cluster.xlen(wire.events_key(prefix)) == 70


def _wait_for_cluster(servers: tuple[RedisServer, ...]) -> None:
    import time

    deadline_s = time.monotonic() + 60
    for server in servers:
        with server.client() as client:
            while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
