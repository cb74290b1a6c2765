"""An outbox in front of a Redis that is away, full, closed, or repaired."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import BrokerError
from pipeline.records import ActionEvent
from pipeline.sink import Patience, StatusPost
from tests.chaos.proxy import Proxy
from tests.pipeline.sink.conftest import REFUSED_WAIT_S, Outboxes
from tests.redis_server import RedisServer

MakeEvent = Callable[..., ActionEvent]
Seqs = Callable[[RedisServer], list[int]]
WaitUntil = Callable[..., None]
KEY = "actionstream:events"


def test_a_redis_that_is_killed_and_comes_back_empty_gets_what_it_had_not_taken(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    outbox = outboxes.open(server.port)
    outbox.write([make_event(seq) for seq in range(10)])
    assert outbox.flush(20) == 0
    server.kill()
    for seq in range(10, 400):
        outbox.write([make_event(seq)])
    server.start()
    assert outbox.flush(30) == 0
    assert seqs(server) == list(range(10, 400))


def test_a_redis_that_keeps_its_data_has_everything_once(
    outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        outbox = outboxes.open(server.port)
        for seq in range(300):
            if seq in (100, 200):
                server.kill()
            outbox.write([make_event(seq)])
            if seq in (150, 250):
                server.start()
        assert outbox.flush(30) == 0
        assert seqs(server) == list(range(300))


def test_a_full_redis_is_waited_for(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
) -> None:
    outbox = outboxes.open(server.port)
    with server.client() as client:
        client.config_set("maxmemory", 1)
        outbox.write([make_event(seq) for seq in range(50)])
        wait_until(lambda: outbox.state.delivery.flow == "waiting", "Redis to refuse")
        assert "maxmemory" in outbox.state.delivery.reason
        client.config_set("maxmemory", 0)
    assert outbox.flush(20) == 0
    assert seqs(server) == list(range(50))


def test_a_replica_is_waited_for_until_it_is_promoted(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
) -> None:
    outbox = outboxes.open(server.port)
    outbox.write([make_event(0)])
    assert outbox.flush(20) == 0
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        outbox.write([make_event(1)])
        wait_until(lambda: outbox.state.delivery.flow == "waiting", "Redis to refuse")
        assert "read only replica" in outbox.state.delivery.reason
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert outbox.flush(20) == 0
    assert seqs(server) == [0, 1]


def test_a_wrong_kind_of_key_stops_only_what_goes_there(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with server.client() as client:
        client.set(KEY, "text")
        outbox = outboxes.open(server.port)
        post = StatusPost(client, refused_wait_s=REFUSED_WAIT_S)
        with caplog.at_level(logging.WARNING):
            outbox.write([make_event(0)])
            post.write_status("door", "streaming")
            wait_until(lambda: outbox.state.delivery.flow == "refused", "Redis to refuse")
            wait_until(lambda: client.xlen("actionstream:status") == 1, "the state to be told")
            wait_until(lambda: outbox.flush(2 * REFUSED_WAIT_S) == 1, "it to be tried again")
        assert "holds something else" in outbox.state.delivery.reason
        assert caplog.text.count("holds something else") == 1
        client.delete(KEY)
        assert outbox.flush(20) == 0
        client.delete("actionstream:status")
        client.set("actionstream:status", "text")
        post.write_status("door", "ended")
        wait_until(lambda: post.delivery.flow == "refused", "Redis to refuse")
        outbox.write([make_event(1)])
        assert outbox.flush(20) == 0
        post.close()
    assert seqs(server) == [0, 1]


RIGHTS = ("~*", "+@all", "-@dangerous")


@pytest.mark.parametrize(
    ("broken", "repaired", "said"),
    [
        ((">wrong", *RIGHTS), ("resetpass", ">s3cret"), "password"),
        ((">s3cret", *RIGHTS, "-xadd"), ("+xadd",), "rights"),
        ((">s3cret", *RIGHTS, "-set"), ("+set",), "rights"),
        ((">s3cret", *RIGHTS, "-evalsha", "-eval"), ("+evalsha", "+eval"), "rights"),
        ((">s3cret", *RIGHTS, "resetkeys", "~other"), ("~actionstream*", "~{actionstream*"), "rig"),
    ],
    ids=["password", "XADD", "SET", "scripts", "keys"],
)
def test_what_somebody_has_to_repair_is_said_once_and_heals(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
    broken: tuple[str, ...],
    repaired: tuple[str, ...],
    said: str,
) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "door", "reset", "on", *broken)
        outbox = outboxes.open(server.port, username="door", password="s3cret")
        with caplog.at_level(logging.WARNING):
            outbox.write([make_event(0), make_event(1)])
            wait_until(lambda: outbox.state.delivery.flow == "refused", "Redis to refuse")
        assert said in outbox.state.delivery.reason
        assert "s3cret" not in caplog.text
        assert sum(said in record.getMessage() for record in caplog.records) == 1
        client.execute_command("ACL", "SETUSER", "door", *repaired)
        wait_until(lambda: outbox.state.waiting == 0, "the repair to be noticed")
    assert seqs(server) == [0, 1]


def test_an_unknown_command_is_said(
    outboxes: Outboxes, make_event: MakeEvent, wait_until: WaitUntil
) -> None:
    with RedisServer("--rename-command", "EVALSHA", "", "--rename-command", "EVAL", "") as it:
        outbox = outboxes.open(it.port)
        outbox.write([make_event(0)])
        wait_until(lambda: outbox.state.delivery.flow == "refused", "Redis to refuse")
        assert "unknown command" in outbox.state.delivery.reason


def test_a_lost_answer_leaves_no_repeat(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    with Proxy(server.port) as proxy:
        outbox = outboxes.open(proxy.port)
        for seq in range(100):
            if seq % 10 == 5:
                proxy.cut_reply_to(b"EVALSHA")
            outbox.write([make_event(seq)])
            if seq % 10 == 9:
                assert outbox.flush(20) == 0
        assert proxy.replies_cut == 10
        state = outbox.state
        outbox.close()
    assert state.repeats >= 10
    assert seqs(server) == list(range(100))


def test_connections_that_are_cut_over_and_over_lose_and_repeat_nothing(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    with Proxy(server.port) as proxy:
        outbox = outboxes.open(proxy.port)
        for seq in range(600):
            outbox.write([make_event(seq)])
            if seq % 20 == 19:
                proxy.cut()
        assert outbox.flush(30) == 0
        outbox.close()
    assert seqs(server) == list(range(600))


@pytest.mark.parametrize("how", ["black hole", "frozen"])
def test_a_redis_that_answers_no_more_is_noticed(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
    how: str,
) -> None:
    with Proxy(server.port) as proxy:
        outbox = outboxes.open(proxy.port)
        outbox.write([make_event(0)])
        assert outbox.flush(20) == 0
        if how == "frozen":
            server.freeze()
        else:
            proxy.black_hole = True
        outbox.write([make_event(1)])
        wait_until(lambda: outbox.state.delivery.flow == "waiting", "the time-out")
        outbox.write([make_event(2)])
        server.thaw()
        proxy.black_hole = False
        assert outbox.flush(30) == 0
        outbox.close()
    assert seqs(server) == [0, 1, 2]


def test_no_secret_is_on_disk(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, folder: Path
) -> None:
    outbox = outboxes.open(server.port, password="s3cret")
    outbox.write([make_event(0)])
    outbox.flush(0.2)
    for path in folder.iterdir():
        assert b"s3cret" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


def test_why_a_redis_can_not_be_revived_is_said_once_until_it_was(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults: list[str] = []

    def revive() -> None:
        if faults:
            raise BrokerError(faults.pop(0))
        server.start()

    outbox = outboxes.open(server.port, patience=Patience(revive=revive))
    with caplog.at_level(logging.WARNING):
        for seq, to_come in enumerate((["no room", "no room", "no rights"], ["no rights"])):
            server.kill()
            faults += to_come
            outbox.write([make_event(seq)])
            assert outbox.flush(20) == 0
    assert caplog.text.count("no room") == 1
    assert caplog.text.count("no rights") == 2


def test_what_a_frozen_redis_does_not_take_is_synced_long_before_its_time_out(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    folder: Path,
    wait_until: WaitUntil,
) -> None:
    outbox = outboxes.open(server.port, socket_timeout=60)
    outbox.write([make_event(0)])
    assert outbox.flush(20) == 0
    (path,) = folder.glob("*.sqlite")
    server.freeze()
    try:
        outbox.write([make_event(1, label="frozen")])
        wait_until(lambda: b"frozen" in path.read_bytes(), "it to be in the file, not in its log")
        assert outbox.state.delivery.flow == "flowing"
    finally:
        server.thaw()
    assert outbox.flush(20) == 0
