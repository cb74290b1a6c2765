"""What people see of what others wrote into Redis: it steers no terminal and ends no command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from actors.cli.show import BEYOND, LONGEST, event_line, moment, shown, summary
from pipeline.records import ActionEvent, Flag
from pipeline.tally import Outcome, Tally
from pipeline.wire import (
    StatusLine,
    alive_key,
    dead_key,
    events_key,
    status_key,
    to_dead_fields,
    to_fields,
    to_status_fields,
)
from tests.redis_server import RedisServer

MakeEvent = Callable[..., ActionEvent]
TITLE = "\x1b]0;owned\x07\n[red]"  # a new title for the window, a line of its own, rich's markup
ESCAPED = r"\x1b]0;owned\x07\n[red]"
NOT_UTF8 = b"\xff\x1b[2J"


def actionstream(
    *arguments: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-c", "from actors.cli import main; main()", *arguments],
        env=os.environ | {"COLUMNS": "500"} | environment,  # tables fold at its width
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client(encoding_errors="surrogateescape") as client:
        client.flushall()
        yield client


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_no_text_in_redis_reaches_the_terminal_as_it_is(
    server: RedisServer, client: redis.Redis, make_event: MakeEvent, encoding: str
) -> None:
    foreign = f"é{TITLE}{NOT_UTF8.decode('utf-8', 'surrogateescape')}"
    fields = to_fields(make_event(label=foreign, stream_id=foreign))
    client.xadd(events_key(), fields)  # type: ignore[arg-type]
    client.xgroup_create(events_key(), foreign, id="0")
    status = {"stream_id": foreign, "state": foreign, "detail": foreign, "at": "1.0"}
    client.xadd(status_key(), status)  # type: ignore[arg-type]
    about = {"entry_id": "1-0", "consumer": "x", "deliveries": 5, "at": 1.0}
    letter = to_dead_fields(fields, group=foreign, reason=foreign, **about)  # type: ignore[arg-type]
    client.xadd(dead_key(), letter)  # type: ignore[arg-type]
    client.xadd(dead_key(), {TITLE: TITLE, "data": TITLE})
    where = ("--redis", f"redis://127.0.0.1:{server.port}")
    read = ("events", "--from-start", "--no-follow")
    for command in (read, ("status",), ("dead",)):
        out = actionstream(*command, *where, PYTHONIOENCODING=encoding).stdout
        assert out.count(ESCAPED.encode() + rb"\xff\x1b[2J") >= 2
        assert not set(out) & (set(range(32)) - {10})
        assert b"\nowned" not in out
    for command, name in ((read, "label"), (("dead",), "reason")):
        out = actionstream(*command, "--json", *where, PYTHONIOENCODING=encoding).stdout
        assert out.isascii()
        assert json.loads(out.splitlines()[0])[name] == foreign


def test_odd_numbers_in_redis_are_shown_as_no_time(
    server: RedisServer, client: redis.Redis, make_event: MakeEvent
) -> None:
    numbers = (1e300, -1e15, -1.0, 1e17)
    names = ("start_time", "start_pts_s", "end_pts_s", "score")
    for seq, number in enumerate(numbers):
        fields = to_fields(make_event(seq, **dict.fromkeys(names, number)))
        client.xadd(events_key(), fields)  # type: ignore[arg-type]
        letter = fields | {"dead_deliveries": "9" * 5000}
        client.xadd(dead_key(), letter, id=f"18446744073709551610-{seq + 1}")  # type: ignore[arg-type]
    for at in ("nan", "inf", "-inf", "1e300", "-1e15", "9" * 5000):
        status = {"stream_id": at[:9], "state": "ended", "detail": "", "at": at}
        client.xadd(status_key(), status)  # type: ignore[arg-type]
    where = ("--redis", f"redis://127.0.0.1:{server.port}")
    lines = actionstream("events", "--from-start", "--no-follow", *where).stdout.splitlines()
    assert [line.split()[0] == b"?" for line in lines] == [True, True, False, True]
    assert max(map(len, lines)) < 100
    assert len(actionstream("dead", *where).stdout.splitlines()) == 2 * len(numbers)
    rows = [line.split()[:3] for line in actionstream("status", *where).stdout.splitlines()]
    for stream in (b"nan", b"inf", b"-inf", b"1e300", b"-1e15", b"999999999"):
        assert [stream, b"ended", b"?"] in rows


def test_the_last_state_of_a_run_that_died_is_not_shown_as_if_it_were_now(
    server: RedisServer, client: redis.Redis
) -> None:
    for stream, by in (("gate", "aa"), ("hall", "bb")):
        line = StatusLine(stream_id=stream, state="streaming", detail="", at=1.0, by=by)
        client.xadd(status_key(), to_status_fields(line))  # type: ignore[arg-type]
    client.set(alive_key("aa"), "1")
    out = actionstream("status", "--redis", f"redis://127.0.0.1:{server.port}").stdout.decode()
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "not now" in rows["hall"]
    assert "not now" not in rows["gate"]


def test_a_password_is_refused_on_the_command_line_and_taken_from_the_environment(
    server: RedisServer, client: redis.Redis
) -> None:
    client.config_set("requirepass", "hunter2")
    url = f"redis://:hunter2@127.0.0.1:{server.port}"
    try:
        done = actionstream("status", "--redis", url, code=2)
        assert b"ACTIONSTREAM_REDIS_URL" in done.stderr
        assert b"hunter2" not in done.stderr
        assert done.stderr.count(b"\n") == 1
        done = actionstream("status", ACTIONSTREAM_REDIS_URL=url)
        assert f"redis://:***@127.0.0.1:{server.port}".encode() in done.stdout
    finally:
        client.execute_command("AUTH", "hunter2")
        client.config_set("requirepass", "")


def test_a_login_that_is_cut_short_is_refused_in_a_config(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("redis: {url: 'redis://:12#hunter2@host'}\n")
    config.chmod(0o644)
    done = actionstream("status", "--config", str(config), code=2)
    assert b"holds a /, ? or # in its login" in done.stderr
    assert b"hunter2" not in done.stderr


def test_a_moment_is_local_time_or_none() -> None:
    assert moment(0.25, "%S.%f") == "00.250"
    assert moment(1e9).startswith("2001-09-")
    for number in (1e300, -1e300, 1e15, float("nan"), float("inf"), -62135596801.0 - 86400):
        assert moment(number) == "?"


def test_a_text_that_would_flood_the_screen_is_cut() -> None:
    assert len(shown("x" * 10 * LONGEST)) == LONGEST + 1
    assert shown("x" * LONGEST) == "x" * LONGEST


@pytest.mark.parametrize(
    ("pts_s", "said"),
    [(125.5, "2:05.50"), (59.999, "1:00.00"), (-5.25, "-0:05.25"), (BEYOND, "?"), (0.0, "0:00.00")],
)
def test_a_position_in_a_file(make_event: MakeEvent, pts_s: float, said: str) -> None:
    event = make_event(source_kind="file", start_pts_s=pts_s, flags=(Flag.GAP,))
    line = event_line(event).plain
    assert line.split()[0] == said
    assert line.endswith("[gap]")


def test_numbers_that_are_none_are_short(make_event: MakeEvent) -> None:
    event = make_event(source_kind="file", score=-1e300, start_pts_s=-1.7e308, end_pts_s=1.7e308)
    assert event_line(event).plain.endswith("something -1e+300  lasted inf s  door")


def test_the_summary_shows_names_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    summary([Outcome(stream_id=TITLE, tally=Tally())])
    assert ESCAPED in capsys.readouterr().err.replace("\n", "")
