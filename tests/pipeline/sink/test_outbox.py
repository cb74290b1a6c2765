"""What an outbox does while all is well, and what it keeps to itself."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, SinkError
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.sink import Limits, Patience
from pipeline.sink.hold import REMEMBERED, Hold
from tests.pipeline.sink.conftest import Outboxes
from tests.redis_server import RedisServer, free_port

MakeEvent = Callable[..., ActionEvent]
Stored = Callable[[RedisServer], list[ActionEvent]]
Seqs = Callable[[RedisServer], list[int]]
WaitUntil = Callable[..., None]


def test_events_come_out_in_order_and_leave_nothing(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    outbox = outboxes.open(server.port)
    for seq in range(300):
        outbox.write([make_event(seq)])
    outbox.write([make_event(seq) for seq in range(300, 1000)])
    assert outbox.flush(20) == 0
    assert seqs(server) == list(range(1000))
    state = outbox.state
    assert (state.waiting, state.bytes, state.oldest_age_s) == (0, 0, 0.0)
    assert state.delivery_took.total == 1000
    assert state.delivery.flow == "flowing"
    assert state.trouble == ""


def test_events_of_a_file_are_gathered_until_one_is_urgent(
    server: RedisServer,
    outboxes: Outboxes,
    make_event: MakeEvent,
    seqs: Seqs,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.sink.sender.GATHER_S", 1000.0)
    outbox = outboxes.open(server.port)
    outbox.write([make_event(0)])
    assert outbox.flush(20) == 0
    outbox.write([make_event(1, source_kind="file")])
    outbox.write([make_event(2, source_kind="file")])
    time.sleep(0.3)
    assert outbox.state.waiting == 2
    outbox.write([make_event(3)])
    wait_until(lambda: seqs(server) == [0, 1, 2, 3], "a camera's takes all with it")
    outbox.write([make_event(4, source_kind="file")])
    assert outbox.flush(20) == 0
    outbox.write([make_event(5, source_kind="file")])
    outbox.close()
    assert seqs(server) == list(range(6))


def test_a_file_that_waits_for_room_gathers_nothing(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sink.sender.GATHER_S", 1000.0)
    outbox = outboxes.open(server.port, limits=Limits(max_events=3))
    for seq in range(20):
        outbox.write([make_event(seq, source_kind="file")])
    assert outbox.flush(20) == 0


def test_what_waits_can_be_asked_for(outboxes: Outboxes, make_event: MakeEvent) -> None:
    outbox = outboxes.open(free_port())
    outbox.write([make_event(0), make_event(1)])
    assert outbox.flush(0.05) == 2
    state = outbox.state
    assert (state.waiting, state.bytes > 500, state.oldest_age_s > 0) == (2, True, True)
    assert state.delivery.flow == "waiting"
    assert "connection refused" in state.delivery.reason


def test_latency_is_reckoned_when_an_event_leaves(
    outboxes: Outboxes, make_event: MakeEvent, stored: Stored
) -> None:
    port = free_port()
    outbox = outboxes.open(port)
    outbox.write([make_event(arrived_s=1000.0)])
    with RedisServer(port=port) as server:
        assert outbox.state.delivery_took.total == 0
        assert outbox.flush(20) == 0
        (event,) = stored(server)
    assert 0 < outbox.state.delivery_took.sum_s < 20
    assert event.published_at is not None
    assert event.latency_ms == pytest.approx((event.published_at - 1000.0) * 1000)


def test_the_next_process_sends_what_is_left(
    outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    port = free_port()
    first = outboxes.open(port)
    first.write([make_event(seq) for seq in range(10)])
    first.close(0.0)
    with pytest.raises(SinkError, match="takes no events: closed already"):
        first.write([make_event(10)])
    second = outboxes.open(port)
    second.write([make_event(10)])
    assert second.state.waiting == 11
    with RedisServer(port=port) as server:
        assert second.flush(20) == 0
        assert seqs(server) == list(range(11))


def test_two_processes_share_a_folder_and_the_living_takes_over_from_the_dead(
    outboxes: Outboxes, make_event: MakeEvent, stored: Stored, folder: Path
) -> None:
    port = free_port()
    first, second = outboxes.open(port), outboxes.open(port)
    second.write([make_event(n, event_id="b") for n in range(5)])
    first.write([make_event(n, event_id="a") for n in range(5)])
    second.close(0.0)
    assert len(list(folder.glob("*.sqlite"))) == 2
    first.close(0.0)
    third = outboxes.open(port)
    assert third.state.waiting == 10
    assert len(list(folder.glob("*.sqlite"))) == 1
    with RedisServer(port=port) as server:
        assert third.flush(20) == 0
        found = [(event.event_id, event.seq) for event in stored(server)]
    assert sorted(found) == [(name, n) for name in "ab" for n in range(5)]


def test_an_open_event_is_ended_by_the_next_process(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, stored: Stored
) -> None:
    first = outboxes.open(server.port)
    first.write(
        [
            make_event(0, event_id="open", held_pts_s=14.0),
            make_event(0, event_id="ended", held_pts_s=14.0),
            make_event(0, event_id="file", source_kind="file"),
            make_event(1, event_id="open", type=EventType.UPDATE, held_pts_s=19.5),
            make_event(1, event_id="ended", type=EventType.END, held_pts_s=14.0, end_pts_s=14.0),
        ]
    )
    first.close()
    for _ in range(2):  # once is enough
        outboxes.open(server.port).close()
    ends = [event for event in stored(server) if event.type is EventType.END]
    assert [(end.event_id, end.seq) for end in ends] == [("ended", 1), ("open", 2)]
    end = ends[1]
    assert (end.end_pts_s, end.flags) == (19.5, (Flag.INTERRUPTED,))
    assert end.end_time == 1_700_000_000.25 - 12.5 + 19.5
    assert (end.latency_ms, end.start_pts_s) == (None, 12.5)


def test_beyond_its_limit_the_oldest_go_and_are_counted(
    outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        outbox = outboxes.open(port, limits=Limits(max_events=20))
        outbox.write([make_event(0, stream_id="door")])
        with silent.accept()[0]:  # what is being sent at the moment isn't dropped
            for seq in range(1, 30):
                outbox.write([make_event(seq, stream_id="door" if seq < 5 else "yard")])
            state = outbox.state
    assert state.waiting == 20
    assert state.dropped == {("door", "full"): 4, ("yard", "full"): 6}
    with RedisServer(port=port) as server:
        assert outbox.flush(20) == 0
        assert seqs(server) == [0, *range(11, 30)]


def test_a_camera_costs_no_event_of_a_file(
    outboxes: Outboxes, make_event: MakeEvent, stored: Stored
) -> None:
    """As where a deployment took over what an analysis had left."""
    port = free_port()
    outbox = outboxes.open(port, limits=Limits(max_events=20))
    outbox.write([make_event(seq, event_id="f", source_kind="file") for seq in range(15)])
    for seq in range(30):
        outbox.write([make_event(seq, stream_id="gate" if seq % 2 else "yard")])
    state = outbox.state
    assert state.full
    assert state.dropped.keys() == {("yard", "full"), ("gate", "full")}
    with RedisServer(port=port) as server:
        assert outbox.flush(20) == 0
        events = stored(server)
    assert [event.seq for event in events if event.event_id == "f"] == list(range(15))
    live = [event.seq for event in events if event.event_id != "f"]
    assert live == sorted(live)
    assert len(live) == 30 - sum(state.dropped.values()) < 10
    assert not outbox.state.full


def test_bytes_are_a_limit_too(outboxes: Outboxes, make_event: MakeEvent) -> None:
    outbox = outboxes.open(free_port(), limits=Limits(max_bytes=50_000))
    for seq in range(20):
        outbox.write([make_event(seq, model_name="x" * 9_000)])
    assert outbox.state.bytes <= 50_000
    assert sum(outbox.state.dropped.values()) == 15
    with pytest.raises(ConfigError, match="max_bytes must be more than 0; got 0"):
        Limits(max_bytes=0)


def test_a_file_waits_for_room(outboxes: Outboxes, make_event: MakeEvent, seqs: Seqs) -> None:
    port = free_port()
    outbox = outboxes.open(port, limits=Limits(max_events=20))

    def write() -> None:
        for seq in range(60):
            outbox.write([make_event(seq, source_kind="file")])

    writer = threading.Thread(target=write)
    writer.start()
    with RedisServer(port=port) as server:
        writer.join(30)
        assert outbox.flush(20) == 0
        assert seqs(server) == list(range(60))
    assert outbox.state.dropped == {}


def test_a_file_waits_for_so_long_only(outboxes: Outboxes, make_event: MakeEvent) -> None:
    patience = Patience(give_up_s=0.2)
    outbox = outboxes.open(free_port(), limits=Limits(max_events=5), patience=patience)
    outbox.write([make_event(seq, source_kind="file") for seq in range(5)])
    with pytest.raises(SinkError, match=r"5 events wait in the outbox, which is full"):
        outbox.write([make_event(5, source_kind="file")])
    assert outbox.state.waiting == 5


def test_threads_may_write_side_by_side(
    server: RedisServer, outboxes: Outboxes, make_event: MakeEvent, stored: Stored
) -> None:
    outbox = outboxes.open(server.port)

    def write(name: str) -> None:
        for seq in range(100):
            outbox.write([make_event(seq, event_id=name)])

    writers = [threading.Thread(target=write, args=(f"e{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert outbox.flush(30) == 0
    found: dict[str, list[int]] = {}
    for event in stored(server):
        found.setdefault(event.event_id, []).append(event.seq)
    assert found == {f"e{n}": list(range(100)) for n in range(4)}


def test_what_is_too_much_to_remember_is_read_from_disk_in_order(
    folder: Path, make_event: MakeEvent
) -> None:
    hold = Hold(folder, "events")
    total = REMEMBERED + 10
    for seqs in (range(total - 5), range(total - 5, total)):  # the last ones after the limit
        hold.append([make_event(seq) for seq in seqs])
    left: list[int] = []
    while rows := hold.oldest(hold.arrived_id, 250):
        left += [row.event.seq for row in rows]
        hold.arrived(rows)
        if len(left) == 500:  # and some while it is on its way out
            hold.append([make_event(total)])
    hold.append([make_event(total + 1)])  # remembered again
    left += [row.event.seq for row in hold.oldest(hold.arrived_id, 250)]
    hold.close()
    assert left == list(range(total + 2))
