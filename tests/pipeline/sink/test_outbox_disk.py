"""An outbox on a disk that is full, read-only, damaged or gone: events go out all the same."""

import logging
import os
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from pipeline.broker import EmbeddedServer
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.sink import Patience
from pipeline.sink.hold import REMEMBERED
from pipeline.sink.journal import Journal
from pipeline.sink.journal_file import Row
from pipeline.sink.outbox import MEMORY_EVENTS
from tests.pipeline.sink.conftest import Outboxes
from tests.redis_server import RedisServer, free_port

MakeEvent = Callable[..., ActionEvent]
Seqs = Callable[[RedisServer], list[int]]
Stored = Callable[[RedisServer], list[ActionEvent]]
WaitUntil = Callable[..., None]


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The kernel refuses writes beyond, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_once_and_events_go_on(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox = outboxes.open(server.port)
    with caplog.at_level(logging.WARNING):
        with files_no_longer_than(300_000):
            for seq in range(100):
                outbox.write([make_event(seq, model_name="x" * 10_000)])
            assert outbox.flush(20) == 0
            assert outbox.state.trouble
        assert caplog.text.count("the outbox can't be written") == 1
        outbox.write([make_event(100)])
        wait_until(lambda: not outbox.state.trouble, "the disk to be tried again")
    assert outbox.flush(20) == 0
    assert seqs(server) == list(range(101))


def test_what_a_full_disk_did_not_take_is_on_disk_when_there_is_room(
    outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs, wait_until: WaitUntil
) -> None:
    port = free_port()
    first = outboxes.open(port)
    with files_no_longer_than(100_000):
        for seq in range(50):
            first.write([make_event(seq, model_name="x" * 10_000)])
        assert first.state.trouble
    wait_until(lambda: not first.state.trouble, "the disk to be tried again")
    first.close(0.0)
    second = outboxes.open(port)
    assert second.state.waiting == 50
    with RedisServer(port=port) as server:
        assert second.flush(20) == 0
        assert seqs(server) == list(range(50))


def test_what_is_open_is_known_though_the_disk_took_it_after_redis(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    stored: Stored,
    wait_until: WaitUntil,
) -> None:
    """What began on a full disk is ended after a death, and what ended on it isn't ended again."""
    first = outboxes.open(server.port)
    first.write([make_event(0, event_id="ended", held_pts_s=15.0)])
    assert first.flush(20) == 0
    with files_no_longer_than(1):
        first.write([make_event(0, event_id="begun", held_pts_s=20.0)])
        first.write([make_event(1, event_id="ended", type=EventType.END, end_pts_s=15.0)])
        assert first.flush(20) == 0
        assert first.state.trouble
    wait_until(lambda: not first.state.trouble, "the disk to be tried again")
    first.close()
    with server.client() as client:
        client.flushall()  # it would know of the end
    assert outboxes.open(server.port).flush(20) == 0
    (end,) = stored(server)
    assert (end.event_id, end.seq, end.type, end.end_pts_s) == ("begun", 1, EventType.END, 20.0)
    assert end.flags == (Flag.INTERRUPTED,)


def test_a_full_disk_that_keeps_our_own_redis_from_starting_is_said_and_outlived(
    state_dir: Path,
    outboxes: Outboxes,
    make_event: MakeEvent,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with EmbeddedServer(state_dir) as server, server.client() as client:
        where = str(server.socket)
        outbox = outboxes.open(0, patience=Patience(revive=server.start), unix_socket_path=where)
        os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        with files_no_longer_than(1), caplog.at_level(logging.WARNING):
            outbox.write([make_event(0)])
            wait_until(lambda: "can't be started" in caplog.text, "the disk to refuse")
            outbox.write([make_event(1)])
        assert outbox.flush(20) == 0
        outbox.close()
        assert client.xlen("actionstream:events") == 2


def test_memory_is_bounded_while_the_disk_takes_nothing(
    outboxes: Outboxes, make_event: MakeEvent, folder: Path
) -> None:
    folder.write_text("where a folder should be")
    outbox = outboxes.open(free_port())
    outbox.write([make_event(seq) for seq in range(MEMORY_EVENTS + 500)])
    state = outbox.state
    assert "can't be used as a state folder" in state.trouble
    assert state.waiting <= MEMORY_EVENTS
    assert state.waiting + state.dropped["door", "memory"] == MEMORY_EVENTS + 500


def test_what_neither_redis_nor_the_disk_takes_is_said_to_be_lost(
    outboxes: Outboxes, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = outboxes.open(free_port())
    outbox.write([make_event(0)])
    with files_no_longer_than(1):
        outbox.write([make_event(1), make_event(2)])
        outbox.close(0.0)
    assert outbox.lost == 2
    assert "2 events are lost: Redis took none (" in caplog.text


def test_what_the_disk_takes_at_last_is_not_lost(outboxes: Outboxes, make_event: MakeEvent) -> None:
    port = free_port()
    outbox = outboxes.open(port)
    with files_no_longer_than(1):
        outbox.write([make_event(0)])
        assert outbox.state.trouble
    outbox.close(0.0)
    assert outbox.lost == 0
    assert outboxes.open(port).state.waiting == 1


def test_a_folder_that_can_not_be_made_is_said_and_used_when_it_can(
    outboxes: Outboxes,
    make_event: MakeEvent,
    folder: Path,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder.write_text("where a folder should be")
    port = free_port()
    with caplog.at_level(logging.WARNING):
        outbox = outboxes.open(port)
    assert caplog.text.count("the outbox can't be written") == 1
    outbox.write([make_event(0)])
    folder.unlink()
    wait_until(lambda: not outbox.state.trouble, "the folder to be tried again")
    outbox.close(0.0)
    assert outboxes.open(port).state.waiting == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up rights and take them back")
def test_a_read_only_disk_is_said_and_events_go_on(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs, folder: Path
) -> None:
    folder.mkdir(mode=0o555)
    os.seteuid(65534)
    try:
        outbox = outboxes.open(server.port)
        outbox.write([make_event(seq) for seq in range(3)])
        assert outbox.flush(20) == 0
        assert outbox.state.trouble
    finally:
        os.seteuid(0)
    assert seqs(server) == [0, 1, 2]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up rights and take them back")
def test_a_folder_that_can_not_be_looked_into_any_more_stops_nothing(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    outbox = outboxes.open(server.port)
    outbox.write([make_event(0)])
    os.seteuid(65534)
    try:
        time.sleep(2.5)  # it is looked after twice
        outbox.write([make_event(1)])
        assert outbox.flush(20) == 0
    finally:
        os.seteuid(0)
    assert seqs(server) == [0, 1]


def test_what_can_not_be_read_for_a_moment_is_not_overtaken(
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There are more than are kept in memory, and the disk gives an error in one read."""
    port, read, well = free_port(), Journal.read, Event()

    def failing(journal: Journal, after: int, count: int) -> list[Row]:
        if not well.is_set():
            raise sqlite3.OperationalError("disk I/O error")
        return read(journal, after, count)

    outbox = outboxes.open(port)
    outbox.write([make_event(seq) for seq in range(REMEMBERED + 500)])
    monkeypatch.setattr(Journal, "read", failing)
    with RedisServer(port=port) as server:
        wait_until(lambda: outbox.state.trouble, "the disk to be asked in vain")
        outbox.write([make_event(REMEMBERED + 500)])
        time.sleep(0.5)
        well.set()
        wait_until(lambda: outbox.flush(5) == 0, "all to be sent")
        assert seqs(server) == list(range(REMEMBERED + 501))


@pytest.mark.parametrize("damage", ["all", "header", "body"])
def test_a_damaged_file_is_set_aside_and_what_can_be_read_is_sent(
    outboxes: Outboxes,
    make_event: MakeEvent,
    stored: Stored,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    port = free_port()
    first = outboxes.open(port)
    first.write([make_event(seq, held_pts_s=20.0) for seq in range(50)])
    first.close(0.0)
    (path,) = folder.glob("*.sqlite")
    if damage == "all":
        path.write_bytes(b"no database " * 1000)
    elif damage == "header":
        path.write_bytes(b"\0" * 40 + path.read_bytes()[40:])
    else:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("UPDATE events SET body = '{' WHERE id = 40")
        db.close()  # which brings its log into it
        path.write_bytes(path.read_bytes()[:-4096] + b"\xff" * 4096)
    with caplog.at_level(logging.WARNING), RedisServer(port=port) as server:
        second = outboxes.open(port)
        second.write([make_event(0, event_id="news")])
        assert second.flush(20) == 0
        events = stored(server)
    assert caplog.text.count("is damaged") == 1
    assert events[-1].event_id == "news"
    assert len(list(folder.glob("*.damaged-*"))) >= 1
    if damage == "body":
        assert len(events) > 10


@pytest.mark.parametrize("whose", ["ours", "a dead process's"])
def test_an_event_that_cannot_be_read_costs_no_other(
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    folder: Path,
    whose: str,
) -> None:
    """As a newer program may have written it: the rows around it are sent, and in order."""
    port = free_port()
    first = outboxes.open(port)
    first.write([make_event(seq) for seq in range(5)])
    first.close(0.0)
    (path,) = folder.glob("*.sqlite")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE events SET body = replace(body, '\"start\"', '\"rewind\"') WHERE id = 3")
    db.close()
    if whose == "ours":
        second = outboxes.open(port)
    else:
        held = path.with_name(path.name.replace("-0.sqlite", "-1.sqlite"))
        path.rename(held)
        second = outboxes.open(port)
    second.write([make_event(5)])
    with RedisServer(port=port) as server:
        assert second.flush(20) == 0
        assert sorted(seqs(server)) == [0, 1, 3, 4, 5]
        if whose == "ours":
            assert seqs(server) == [0, 1, 3, 4, 5]
    assert list(folder.glob("*.damaged-*")), "it is kept for people to look at"


def test_an_outbox_of_a_newer_program_is_set_aside(
    outboxes: Outboxes, folder: Path, make_event: MakeEvent
) -> None:
    outboxes.open(free_port()).close(0.0)
    (path,) = folder.glob("*.sqlite")
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    outbox = outboxes.open(free_port())
    outbox.write([make_event(0)])
    assert outbox.state.trouble == ""


def test_a_folder_that_is_deleted_under_it_is_made_again(
    outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs, folder: Path, wait_until: WaitUntil
) -> None:
    port = free_port()
    first = outboxes.open(port)
    first.write([make_event(seq) for seq in range(5)])
    shutil.rmtree(folder, ignore_errors=True)  # SQLite takes away its own log, too
    wait_until(lambda: list(folder.glob("*.sqlite")), "the file to be there again")
    first.write([make_event(5)])
    first.close(0.0)
    second = outboxes.open(port)
    with RedisServer(port=port) as server:
        assert second.flush(20) == 0
        assert seqs(server) == list(range(6))


def test_a_damage_under_way_costs_the_open_nothing(
    outboxes: Outboxes, make_event: MakeEvent, stored: Stored, folder: Path
) -> None:
    """What is open in a living process isn't ended by the repair of its file, but by the next."""
    port = free_port()
    outbox = outboxes.open(port)
    outbox.write([make_event(0, event_id="quiet", held_pts_s=10.0)])
    outbox.write([make_event(seq, held_pts_s=20.0) for seq in range(3)])
    (path,) = folder.glob("*.sqlite")
    with path.open("r+b") as file:  # its log is whole, its pages aren't
        file.write(b"\xff" * 4096)
    for seq in range(3, 6):
        outbox.write([make_event(seq, held_pts_s=20.0)])
    with RedisServer(port=port) as server:
        assert outbox.flush(20) == 0
        events = stored(server)
        assert [event.seq for event in events][-3:] == [3, 4, 5]
        assert all(Flag.INTERRUPTED not in event.flags for event in events)
        assert all(event.type is not EventType.END for event in events)
        outbox.close()
        assert outboxes.open(port).flush(20) == 0
        ends = [event for event in stored(server) if event.type is EventType.END]
    assert {end.event_id: end.end_pts_s for end in ends} == {"quiet": 10.0, "e0": 20.0}
    assert all(Flag.INTERRUPTED in end.flags for end in ends)
