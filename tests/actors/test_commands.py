"""The commands as a user runs them: in processes of their own, against real parts."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.records import ActionEvent
from pipeline.sink import RedisSink
from pipeline.wire import dead_key, events_key, to_dead_fields, to_fields
from tests.footage import clip
from tests.redis_server import RedisServer
from tests.rtsp import RtspServer, dead_port, transcode

ROOM = str(clip("room.webm"))
pytestmark = pytest.mark.timeout(180)

Command = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Command:
    """Start a command with a state folder of its own."""
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "GATE_PASSWORD": "p@ss word"}

    def started(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from actors.cli import main; main()", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # nohup's is deaf
        )

    return started


def finished(child: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, errors = child.communicate(timeout=120)
    assert child.returncode == code, errors
    assert "Traceback" not in errors
    return out, errors


def test_the_demo_sees_what_was_done_to_real_footage(start: Command, tmp_path: Path) -> None:
    out, _ = finished(start("demo", "--strips", str(tmp_path / "strips.png")))
    assert "In 6 of 6 takes, exactly what was done was seen." in out
    assert (tmp_path / "strips.png").read_bytes().startswith(b"\x89PNG")


def test_the_demo_prints_events_that_came_through_redis(start: Command) -> None:
    out, _ = finished(start("demo", ROOM))
    assert out.count("  start  ") == out.count("  end    ") >= 1
    assert "events received from Redis" in out
    assert '"schema_version' not in out
    assert "schema_version" in out


def test_what_analyze_writes_events_and_status_find_again(start: Command) -> None:
    finished(start("analyze", ROOM, "--name", "room"))
    out, _ = finished(start("events", "--from-start", "--no-follow", "--json"))
    events = [json.loads(line) for line in out.splitlines()]
    assert {event["stream_id"] for event in events} == {"room"}
    assert {event["type"] for event in events} == {"start", "end"}
    label = events[0]["label"]
    out, _ = finished(start("events", "--from-start", "--no-follow", "--label", label))
    assert len(out.splitlines()) == sum(event["label"] == label for event in events)
    out, _ = finished(start("status"))
    assert f"{len(events)} events kept" in out
    assert "ended" in out


def test_dead_letters_are_listed_and_put_back_and_status_shows_the_groups(
    start: Command, make_event: Callable[..., ActionEvent]
) -> None:
    with RedisServer() as server, server.client() as client:
        where = ("--redis", f"redis://127.0.0.1:{server.port}")
        RedisSink(client).write([make_event(seq) for seq in range(3)])
        client.xgroup_create(events_key(), "alarms", id="0")
        client.xreadgroup("alarms", "bell", {events_key(): ">"}, count=1)
        letter = to_dead_fields(
            to_fields(make_event(1)),
            entry_id="1-0",
            group="alarms",
            consumer="bell",
            deliveries=5,
            reason="RuntimeError: no such bell",
            at=1.0,
        )
        client.xadd(dead_key(), letter, id="1700000000000-0")
        out, _ = finished(start("status", *where))
        assert "3 events kept, 1 dead letters; see: actionstream dead" in out
        assert out.splitlines()[-1].split() == ["alarms", "1", "1", "2"]
        out, _ = finished(start("dead", *where))
        assert "alarms, 5 times: RuntimeError: no such bell" in out
        assert "opening something" in out
        out, _ = finished(start("dead", "--group", "others", "--json", *where))
        assert out == ""
        _, errors = finished(start("dead", "--put-back", "17-0", *where), code=2)
        assert "there is no dead letter '17-0'" in errors
        _, errors = finished(start("dead", "--put-back", "1700000000000-0", *where))
        assert "1 put back into actionstream:events" in errors
        assert client.xlen(dead_key()) == 0
        (_, stored) = client.xrevrange(events_key(), count=1)[0]
        assert stored == to_fields(make_event(1))


@pytest.mark.parametrize(
    "command",
    [
        ("status", "--state-dir"),
        ("pause", "gate", "--state-dir"),
        ("attach", "rtsp://h/x", "--name", "gate", "--password-file"),
    ],
)
def test_a_home_that_is_not_there_is_one_line(start: Command, command: tuple[str, ...]) -> None:
    _, errors = finished(start(*command, "~nosuchuser/x"), code=2)
    assert "~nosuchuser/x: there is no home" in errors


def test_a_rerun_gives_the_same_lines_and_ray_gives_them_too(start: Command) -> None:
    once, _ = finished(start("analyze", ROOM, "--jsonl", "-"))
    again, _ = finished(start("analyze", ROOM, "--jsonl", "-"))
    on_ray, _ = finished(start("analyze", ROOM, "--jsonl", "-", "--ray"))
    assert identities(once) == identities(again) == identities(on_ray) != []


def identities(lines: str) -> list[tuple[object, ...]]:
    names = ("event_id", "seq", "type", "label", "start_pts_s", "end_pts_s", "first_window")
    return [tuple(json.loads(line)[name] for name in names) for line in lines.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_cameras_run_until_their_group_is_told_to_end_and_leave_nothing_open(
    start: Command, tmp_path: Path, wait_until: Callable[..., None], number: signal.Signals
) -> None:
    video = tmp_path / "v.mp4"
    transcode(clip("room.webm"), video, codec="libx264", seconds=4)
    with RtspServer({"gate@loop": video}, login="admin:p@ss word") as server:
        config = tmp_path / "cameras.yaml"
        config.write_text(
            f"""
            events: {{enter: 0.3, exit: 0.25, merge_gap_s: 0, background: []}}
            cameras:
              - {{name: gate, url: "{server.url("gate@loop")}",
                  username: admin, password_env: GATE_PASSWORD}}
              - {{name: down, url: "rtsp://u:hunter2@127.0.0.1:{dead_port()}/x"}}
            """
        )
        config.chmod(0o600)  # it holds a password
        running = start("run", str(config))
        try:
            wait_until(lambda: len(events_of(start)) > 2, "events of the camera", timeout_s=60)
            status, _ = finished(start("status"))
        finally:
            running.send_signal(number)  # once to the child and once to its group, as timeout does
            os.killpg(running.pid, number)
        _, errors = finished(running, code=1)
    assert "Ray died" not in errors
    assert "camera down: not one picture came" in errors
    assert errors.count("refused or lost") == 1, "told once, not at each attempt"
    rows = {line.split()[0]: line for line in status.splitlines() if line.strip()}
    assert "streaming" in rows["gate"]
    assert "backoff" in rows["down"]
    assert "hunter2" not in status + errors
    assert "p@ss" not in status + errors
    events = events_of(start)
    ended = {event["event_id"] for event in events if event["type"] == "end"}
    assert ended == {event["event_id"] for event in events}
    assert {event["source_kind"] for event in events} == {"live"}
    assert all(0 < event["latency_ms"] < 5000 for event in events)


def events_of(start: Command) -> list[dict[str, object]]:
    out, _ = finished(start("events", "--from-start", "--no-follow", "--json"))
    return [json.loads(line) for line in out.splitlines()]
