import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from pipeline.broker import EmbeddedServer, Patience
from pipeline.errors import BrokerError
from pipeline.records import ActionEvent
from pipeline.sink import RedisSink
from pipeline.subscribe import follow

MakeEvent = Callable[..., ActionEvent]


def test_from_the_start_it_gives_all_and_ends_when_caught_up(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    RedisSink(redis_client).write([make_event(seq) for seq in range(1200)])
    redis_client.config_resetstat()
    events = list(follow(redis_client, start="0", until_caught_up=True))
    assert [event.seq for event in events] == list(range(1200))
    assert redis_client.info("commandstats")["cmdstat_xread"]["calls"] == 13, "a small page each"


def test_an_empty_stream_has_nothing(redis_client: redis.Redis) -> None:
    assert list(follow(redis_client, start="0", until_caught_up=True)) == []
    assert list(follow(redis_client, idle_s=0.05, block_s=0.02)) == []


def test_silence_is_no_lost_connection_where_the_time_out_is_short(
    redis_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(redis_server.socket)
    with (
        redis.Redis(unix_socket_path=path, socket_timeout=0.9) as client,
        caplog.at_level(logging.WARNING),
    ):
        assert list(follow(client, idle_s=1.5)) == []
    assert caplog.text == ""


def test_from_now_on_means_from_the_call_on(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    sink = RedisSink(redis_client)
    sink.write([make_event(0)])
    events = follow(redis_client, idle_s=0.05, block_s=0.02)
    sink.write([make_event(1)])
    assert [event.seq for event in events] == [1]


def test_streams_and_labels_are_chosen(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    RedisSink(redis_client).write(
        [
            make_event(0, stream_id="door", label="opening"),
            make_event(1, stream_id="door", label="closing"),
            make_event(2, stream_id="yard", label="opening"),
        ]
    )

    def chosen(**choice: list[str]) -> list[int]:
        return [e.seq for e in follow(redis_client, start="0", until_caught_up=True, **choice)]

    assert chosen(streams=["door"]) == [0, 1]
    assert chosen(labels=["opening"]) == [0, 2]
    assert chosen(streams=["door"], labels=["opening"]) == [0]


def test_repeats_and_foreign_entries_are_passed_over(
    redis_client: redis.Redis, make_event: MakeEvent
) -> None:
    sink = RedisSink(redis_client)
    sink.write([make_event(0)])
    redis_client.xadd("actionstream:events", {"foreign": b"\xff\xfe"})
    sink.write([make_event(0), make_event(1)])
    events = list(follow(redis_client, start="0", until_caught_up=True))
    assert [event.seq for event in events] == [0, 1]


def test_it_stops_when_told_to(redis_client: redis.Redis, make_event: MakeEvent) -> None:
    stop = threading.Event()
    RedisSink(redis_client).write([make_event(seq) for seq in range(10)])
    got = []
    for event in follow(redis_client, start="0", patience=Patience(stop=stop)):
        got.append(event.seq)
        if event.seq == 3:
            stop.set()
    assert got == [0, 1, 2, 3]
    waiting = follow(
        redis_client, block_s=0.05, patience=Patience(stop=(later := threading.Event()))
    )
    thread = threading.Timer(0.1, later.set)
    thread.start()
    assert list(waiting) == []
    thread.join()


def test_another_kind_of_key_is_said(redis_client: redis.Redis) -> None:
    redis_client.set("actionstream:events", "text")
    with pytest.raises(BrokerError, match="holds something else"):
        list(follow(redis_client, start="0", until_caught_up=True))


def test_it_goes_on_after_the_server_was_killed(state_dir: Path, make_event: MakeEvent) -> None:
    with EmbeddedServer(state_dir) as server, server.client() as client:
        sink = RedisSink(client, patience=Patience(revive=server.start))
        events = follow(
            client, start="0", block_s=0.1, patience=Patience(revive=server.start, give_up_s=20)
        )
        sink.write([make_event(0)])
        assert next(events).seq == 0
        os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        sink.write([make_event(1)])
        assert next(events).seq == 1
        events.close()  # type: ignore[attr-defined]
