import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from pipeline import wire
from pipeline.broker import EmbeddedServer, Patience
from pipeline.errors import BrokerError, ConfigError, SinkError
from pipeline.records import ActionEvent
from pipeline.sink import RedisSink, StatusLog
from pipeline.subscribe import follow, latest_status
from pipeline.subscribe.status import PAGE
from tests.redis_server import RedisServer

MakeEvent = Callable[..., ActionEvent]
WaitUntil = Callable[..., None]


def seqs(client: redis.Redis) -> list[int]:
    return [event.seq for event in follow(client, start="0", until_caught_up=True)]


def test_an_entry_looks_as_documented(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    RedisSink(redis_client, now=lambda: 5.0).write([make_event()])
    ((_, stored),) = redis_client.xrange("actionstream:events")
    assert stored == wire.to_fields(make_event(published_at=5.0))


def test_one_write_is_few_calls(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(2500)])
    assert seqs(redis_client) == list(range(2500))
    reads = redis_client.info("stats")["total_reads_processed"]
    RedisSink(redis_client).write([make_event(seq) for seq in range(500)])
    # Two calls of about 150 KB come in pieces of 16 KB each: far fewer reads than entries.
    assert redis_client.info("stats")["total_reads_processed"] - reads < 100


def test_the_stream_is_kept_at_about_its_length(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    sink = RedisSink(redis_client, maxlen=200)
    for _ in range(5):
        sink.write([make_event(seq) for seq in range(200)])
    assert 200 <= redis_client.xlen("actionstream:events") < 300  # whole nodes of 100


def test_another_kind_of_key_ends_it_at_once(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    redis_client.set("actionstream:events", "text")
    with pytest.raises(SinkError, match=r"holds something else.*redis\.prefix"):
        RedisSink(redis_client).write([make_event()])


def test_a_user_without_rights_ends_it_at_once(
    redis_client: redis.Redis, redis_server: EmbeddedServer, make_event: MakeEvent
) -> None:
    redis_client.acl_setuser(
        "reader", enabled=True, passwords=["+s3cret"], commands=["+@read", "+@connection"]
    )
    path = str(redis_server.socket)
    for password, said in (("s3cret", "rights"), ("wr0ng", "password")):
        with (
            redis.Redis(unix_socket_path=path, username="reader", password=password) as client,
            pytest.raises(SinkError, match=said) as caught,
        ):
            RedisSink(client).write([make_event()])
        assert password not in str(caught.value)
    redis_client.acl_deluser("reader")


def test_a_full_redis_is_waited_for_and_nothing_is_skipped(
    redis_client: redis.Redis,
    make_event: MakeEvent,
    caplog: pytest.LogCaptureFixture,
    wait_until: WaitUntil,
) -> None:
    redis_client.config_set("maxmemory", 1)
    sink = RedisSink(redis_client)
    writer = threading.Thread(target=sink.write, args=[[make_event(seq) for seq in range(50)]])
    with caplog.at_level(logging.WARNING):
        writer.start()
        try:
            wait_until(lambda: "trying again" in caplog.text, "the sink to be refused")
            assert redis_client.xlen("actionstream:events") == 0
        finally:
            redis_client.config_set("maxmemory", 0)
            writer.join()
    assert seqs(redis_client) == list(range(50))


def test_memory_that_runs_out_in_the_middle_changes_neither_order_nor_number(
    redis_client: redis.Redis, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    """Some batches are stored, one is refused; given room, the rest follows."""
    sink = RedisSink(redis_client)
    redis_client.config_resetstat()
    used = int(redis_client.info("memory")["used_memory"])
    redis_client.config_set("maxmemory", used + 3_000_000)

    def write() -> None:
        for part in range(30):
            sink.write([make_event(part * 10 + n, model_name="x" * 20_000) for n in range(10)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: "errorstat_OOM" in redis_client.info("errorstats"), "a refusal")
        taken = redis_client.xlen("actionstream:events")
    finally:
        redis_client.config_set("maxmemory", 0)
        writer.join()
    assert 0 < taken < 300
    stored = [int(fields["seq"]) for _, fields in redis_client.xrange("actionstream:events")]
    assert stored == list(range(300))


def test_patience_ends_when_it_is_said_to(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(SinkError, match=r"1 events not written: gave up after 0 s: .*maxmem"):
            RedisSink(redis_client, patience=Patience(give_up_s=0.3)).write([make_event()])
        stop = threading.Event()
        stop.set()
        with pytest.raises(SinkError, match="stopped while waiting"):
            RedisSink(redis_client, patience=Patience(stop=stop)).write([make_event()])
    finally:
        redis_client.config_set("maxmemory", 0)
    with pytest.raises(ConfigError, match="give_up_s"):
        Patience(give_up_s=-1)


def test_a_killed_embedded_server_is_started_again_under_the_sink(
    state_dir: Path, make_event: MakeEvent
) -> None:
    with EmbeddedServer(state_dir) as server:
        client = server.client()
        sink = RedisSink(client, patience=Patience(revive=server.start))
        sink.write([make_event(seq) for seq in range(100)])
        os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        sink.write([make_event(seq) for seq in range(100, 200)])
        assert seqs(client) == list(range(200))
        client.close()


def test_why_a_server_can_not_be_started_is_said_once(
    server: RedisServer, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    faults = ["no room", "no room", "no room"]

    def revive() -> None:
        if faults:
            raise BrokerError(faults.pop())
        server.start()

    with server.client() as client, caplog.at_level(logging.WARNING):
        server.kill()
        RedisSink(client, patience=Patience(revive=revive)).write([make_event()])
        assert seqs(client) == [0]
    assert not faults
    assert caplog.text.count("no room") == 1


def test_the_latest_change_of_state_of_each_stream_is_found(redis_client: redis.Redis) -> None:
    clock = iter([1.0, 2.0, 3.0])
    log = StatusLog(redis_client, now=lambda: next(clock))
    log.write_status("door", "connected")
    log.write_status("yard", "connected")
    log.write_status("door", "failed", "no such host; check the name")
    redis_client.xadd("actionstream:status", {"foreign": "entry"})
    found = latest_status(redis_client)
    assert list(found) == ["door", "yard"]
    assert found["door"] == wire.StatusLine(
        stream_id="door", state="failed", detail="no such host; check the name", at=3.0
    )
    assert redis_client.xrange("actionstream:status")[0][1] == {
        "schema_version": "1", "stream_id": "door", "state": "connected", "detail": "", "at": "1.0",
    }  # fmt: skip


def test_states_are_read_in_small_pages(redis_client: redis.Redis) -> None:
    log = StatusLog(redis_client)
    log.write_status("oldest", "connected")
    for _ in range(2 * PAGE):
        log.write_status("door", "connected")
    redis_client.config_resetstat()
    assert list(latest_status(redis_client)) == ["door", "oldest"]
    assert redis_client.info("commandstats")["cmdstat_xrevrange"]["calls"] == 3
