"""What every sink promises, whatever it writes to."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
import redis

from pipeline import wire
from pipeline.records import ActionEvent
from pipeline.sink import EventStream, JsonLinesSink, Outbox, RedisSink, Sink
from pipeline.subscribe import follow

MakeEvent = Callable[..., ActionEvent]
NOW_S = 1_700_000_100.0


class Rig(Protocol):
    def sink(self) -> Sink: ...
    def read(self) -> list[ActionEvent]: ...


class RedisRig:
    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def sink(self) -> Sink:
        return RedisSink(self.client, "test", now=lambda: NOW_S)

    def read(self) -> list[ActionEvent]:
        return list(follow(self.client, prefix="test", start="0", until_caught_up=True))


class OutboxRig(RedisRig):
    def __init__(self, client: redis.Redis, folder: Path) -> None:
        super().__init__(client)
        self.folder = folder
        self.opened: list[Outbox] = []

    def sink(self) -> Sink:
        stream = EventStream(self.client, "test", now=lambda: NOW_S)
        self.opened.append(Outbox(self.folder, stream))
        return self.opened[-1]

    def read(self) -> list[ActionEvent]:
        assert all(outbox.flush(20) == 0 for outbox in self.opened)
        return super().read()


class FileRig:
    def __init__(self, path: Path) -> None:
        self.path = path

    def sink(self) -> Sink:
        return JsonLinesSink(self.path, now=lambda: NOW_S)

    def read(self) -> list[ActionEvent]:
        return [wire.from_json(line) for line in self.path.read_text().splitlines()]


class StreamRig:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    def sink(self) -> Sink:
        return JsonLinesSink(self.stream, now=lambda: NOW_S)

    def read(self) -> list[ActionEvent]:
        return [wire.from_json(line) for line in self.stream.getvalue().splitlines()]


class SinkContract:
    def test_events_arrive_in_order_and_whole(self, rig: Rig, make_event: MakeEvent) -> None:
        sink = rig.sink()
        sink.write([make_event(seq) for seq in range(3)])
        sink.write([make_event(3, label="closing a 'door' — \"quickly\"\n")])
        assert [event.seq for event in rig.read()] == [0, 1, 2, 3]
        assert rig.read()[3].label == "closing a 'door' — \"quickly\"\n"
        sink.close()

    def test_events_are_there_before_the_sink_is_closed(
        self, rig: Rig, make_event: MakeEvent
    ) -> None:
        sink = rig.sink()
        sink.write([make_event()])
        assert len(rig.read()) == 1
        sink.close()
        sink.close()
        assert len(rig.read()) == 1

    def test_a_second_sink_adds_to_what_the_first_left(
        self, rig: Rig, make_event: MakeEvent
    ) -> None:
        for seq in (0, 1):
            sink = rig.sink()
            sink.write([make_event(seq)])
            sink.close()
        assert [event.seq for event in rig.read()] == [0, 1]

    def test_nothing_to_write_writes_nothing(self, rig: Rig) -> None:
        sink = rig.sink()
        sink.write([])
        sink.close()
        assert rig.read() == []

    def test_live_events_are_stamped_with_time_and_latency(
        self, rig: Rig, make_event: MakeEvent
    ) -> None:
        sink = rig.sink()
        sink.write([make_event(arrived_s=NOW_S - 0.25), make_event(1)])
        sink.write([make_event(2, source_kind="file", arrived_s=NOW_S - 0.25)])
        sink.close()
        live, unknown, file = rig.read()
        assert (live.published_at, live.latency_ms) == (NOW_S, 250.0)
        assert (unknown.published_at, unknown.latency_ms) == (NOW_S, None)
        assert (file.published_at, file.latency_ms) == (NOW_S, None)

    def test_a_name_that_is_not_text_survives(self, rig: Rig, make_event: MakeEvent) -> None:
        odd = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")  # as Python names such files
        sink = rig.sink()
        sink.write([make_event(stream_id=odd)])
        sink.close()
        assert rig.read()[0].stream_id == odd


class TestRedisSink(SinkContract):
    @pytest.fixture
    def rig(self, redis_client: redis.Redis) -> Rig:
        return RedisRig(redis_client)


class TestOutbox(SinkContract):
    @pytest.fixture
    def rig(self, redis_client: redis.Redis, folder: Path) -> Rig:
        return OutboxRig(redis_client, folder)


class TestJsonLinesSinkToAFile(SinkContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        (tmp_path / "events.jsonl").touch()
        return FileRig(tmp_path / "events.jsonl")


class TestJsonLinesSinkToAStream(SinkContract):
    @pytest.fixture
    def rig(self) -> Rig:
        return StreamRig()


def test_a_line_is_one_flat_object(tmp_path: Path, make_event: MakeEvent) -> None:
    sink = JsonLinesSink(tmp_path / "x", now=lambda: NOW_S)
    sink.write([make_event()])
    sink.close()
    flat = json.loads((tmp_path / "x").read_text())
    assert flat["schema_version"] == 1
    assert (flat["event_id"], flat["score"], flat["published_at"]) == ("e0", 0.75, NOW_S)
