"""Cameras come, pause and go while others run, as a user does it: commands, real streams."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.control import Control
from pipeline.errors import ConfigError
from tests.footage import clip
from tests.rtsp import RtspServer, dead_port, transcode

pytestmark = pytest.mark.timeout(400)

Start = Callable[..., subprocess.Popen[str]]
WaitUntil = Callable[..., None]
EVENTS = "events: {enter: 0.2, exit: 0.1, background: []}\n"
SECRET = "p@ss word"


@pytest.fixture
def start(state_dir: Path) -> Iterator[Start]:
    """Start a command with a state folder of its own."""
    children: list[subprocess.Popen[str]] = []

    def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", "from actors.cli import main; main()", *arguments],
            env=os.environ | {"ACTIONSTREAM_STATE_DIR": str(state_dir)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

    yield started
    for child in children:
        if child.poll() is None:
            child.kill()
            child.communicate()


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    video = tmp_path_factory.mktemp("video") / "v.mp4"
    transcode(clip("room.webm"), video, codec="libx264", seconds=4)
    mounts = {f"{name}@loop": video for name in ("gate", "yard", "hall")}
    with RtspServer(mounts, login=f"admin:{SECRET}") as server:
        yield server


def finished(child: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, errors = child.communicate(timeout=120)
    assert child.returncode == code, errors
    assert "Traceback" not in errors
    assert SECRET not in out + errors
    return out, errors


def one(control: Control, name: str) -> dict[str, object]:
    return {str(camera["name"]): camera for camera in control.cameras()}.get(name, {"state": None})


def events_of(start: Start) -> list[dict[str, object]]:
    out, _ = finished(start("events", "--from-start", "--no-follow", "--json"))
    return [json.loads(line) for line in out.splitlines()]


def camera(server: RtspServer, name: str, more: str = "") -> str:
    return (
        f"  - {{name: {name}, url: '{server.url(name + '@loop')}', username: admin, "
        f"password_env: CAMERA_PASSWORD{more}}}\n"
    )


def test_cameras_come_and_go_and_the_others_notice_nothing(
    start: Start, cameras: RtspServer, tmp_path: Path, state_dir: Path, wait_until: WaitUntil
) -> None:
    config = tmp_path / "cameras.yaml"
    config.write_text(EVENTS + "cameras:\n" + camera(cameras, "gate"))
    environment = {"CAMERA_PASSWORD": SECRET}
    running = start("run", str(config), **environment)
    control = Control(state_dir)
    wait_until((state_dir / "control.sock").exists, "the socket", 60)
    streams = lambda name: one(control, name)["state"] == "streaming"  # noqa: E731
    wait_until(lambda: streams("gate"), "gate streams", 120)
    count = lambda name, what: int(str(one(control, name)[what]))  # noqa: E731
    scored = count("gate", "windows")

    login = ("--username", "admin", "--password-env", "CAMERA_PASSWORD")
    yard = ("attach", cameras.url("yard@loop"), "--name", "yard", "--region", "0,0,0.5,1", *login)
    _, said = finished(start(*yard, **environment))
    assert said == "actionstream: yard is attached\n"
    _, said = finished(start(*yard, **environment), code=2)
    assert said.count("\n") == 1
    assert "is there already" in said
    with pytest.raises(ConfigError, match="must begin with rtsp"):
        control.attach("bad", "/etc/passwd")
    with pytest.raises(ConfigError, match="holds a password"):
        control.attach("bad", "rtsp://u:hunter2@127.0.0.1/x")
    with pytest.raises(ConfigError, match="name"):
        control.attach("\n", "rtsp://127.0.0.1/x")
    wait_until(lambda: streams("yard"), "yard streams", 60)
    wait_until(lambda: count("yard", "events") > 1, "events of yard", 60)

    control.pause("yard")
    wait_until(lambda: one(control, "yard")["state"] == "paused", "yard pauses", 30)
    control.resume("yard")
    wait_until(lambda: count("yard", "connections") == 2, "yard is connected again", 60)
    wait_until(lambda: streams("yard"), "yard streams again", 60)
    control.pause("yard")

    config.write_text(EVENTS + "cameras:\n" + camera(cameras, "gate") + camera(cameras, "hall"))
    _, said = finished(start("reload", str(config)))
    assert said == "actionstream: attached hall\n"
    wait_until(lambda: streams("hall"), "hall streams", 60)
    wait_until(lambda: count("hall", "events") > 0, "events of hall", 60)
    assert "comes back at a restart" in control.detach("hall")
    assert one(control, "hall")["state"] is None
    found = events_of(start)
    of_hall = [event for event in found if event["stream_id"] == "hall"]
    ended = {event["event_id"] for event in of_hall if event["type"] == "end"}
    assert {event["event_id"] for event in of_hall} == ended != set()

    assert count("gate", "connections") == 1, "the others notice nothing"
    assert count("gate", "windows") > scored
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    ours = [line for line in command_lines if b"rtsp_server.py" not in line]  # it is told its login
    assert not any(SECRET.encode() in line for line in ours)
    status, _ = finished(start("status"))
    states = {row.split()[0]: row.split()[1] for row in status.splitlines() if row.strip()}
    assert {name: states[name] for name in ("gate", "yard", "hall")} == {
        "gate": "streaming",
        "yard": "paused",
        "hall": "detached",
    }
    _, said = finished(start("run", str(config), **environment), code=2)
    assert "runs in" in said
    assert SECRET not in (state_dir / "cameras.json").read_text()
    assert (state_dir / "cameras.json").stat().st_mode & 0o777 == 0o600
    assert (state_dir / "control.sock").stat().st_mode & 0o777 == 0o600

    running.send_signal(signal.SIGTERM)
    finished(running)
    with pytest.raises(ConfigError, match="no deployment runs"):
        control.pause("yard")

    config.write_text(EVENTS)  # what was attached is there without the config
    again = start("run", str(config))  # and without the variable
    wait_until((state_dir / "control.sock").exists, "the socket", 60)
    wait_until(lambda: one(control, "yard")["state"] == "failed", "yard is there again", 120)
    assert "CAMERA_PASSWORD is not set" in str(one(control, "yard")["detail"])
    control.resume("yard", password=SECRET)
    wait_until(lambda: streams("yard"), "yard streams", 60)
    assert control.detach("yard") == "yard is detached"
    again.send_signal(signal.SIGTERM)
    finished(again)


def test_a_deployment_that_was_killed_leaves_its_folder_to_the_next(
    start: Start, tmp_path: Path, state_dir: Path, wait_until: WaitUntil
) -> None:
    config = tmp_path / "cameras.yaml"
    config.write_text(
        f"camera_defaults: {{retry: {{max_attempts: 1}}}}\n"
        f"cameras: [{{name: down, url: 'rtsp://127.0.0.1:{dead_port()}/x'}}]\n"
    )
    control = Control(state_dir)
    first = start("run", str(config))
    wait_until((state_dir / "control.sock").exists, "the socket", 60)
    first.kill()
    first.communicate()
    with pytest.raises(ConfigError, match="no deployment runs"):
        control.cameras()
    second = start("run", str(config))
    wait_until(lambda: _answers(control), "the next one", 60)
    wait_until(lambda: one(control, "down")["state"] == "failed", "it is given up", 60)
    assert control.resume("down") == "down is connected again"
    second.send_signal(signal.SIGTERM)
    _, said = finished(second, code=1)
    assert "camera down: not one picture came" in said


def _answers(control: Control) -> bool:
    try:
        control.cameras()
    except ConfigError:
        return False
    return True
