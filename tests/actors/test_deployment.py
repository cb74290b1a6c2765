"""What is wanted of a deployment, against streams that only note what they are told."""

import json
import os
import resource
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from actors import control
from actors.control import Control, ControlServer
from actors.deployment import Deployment
from actors.snapshot import StreamSnapshot
from actors.wishes import Wishes
from pipeline.config import load_config
from pipeline.errors import ActionstreamError, ConfigError
from pipeline.source import CameraSource
from pipeline.stream import CameraState

Deployed = Callable[..., tuple[Deployment, "Streams"]]


class Streams:
    """Everything happens at once, but what is stuck doesn't end."""

    def __init__(self) -> None:
        self.there: dict[str, CameraSource] = {}
        self.stuck: set[str] = set()
        self.ends = False
        self.paused: set[str] = set()
        self.noted: dict[str, str] = {}
        self.told: list[str] = []

    def attach(self, source: CameraSource, *, paused: bool = False) -> None:
        if self.ends:
            raise ConfigError("the deployment ends")
        assert source.stream_id not in self.there
        self.there[source.stream_id] = source
        self.paused |= {source.stream_id} if paused else set()
        self.told.append(f"attach {source.stream_id}{' paused' * paused}")

    def detach(self, stream_id: str) -> None:
        if stream_id not in self.stuck:
            del self.there[stream_id]
        self.told.append(f"detach {stream_id}")

    def pause(self, stream_id: str, paused: bool = True) -> None:
        self.told.append(f"{'pause' if paused else 'resume'} {stream_id}")

    def has(self, stream_id: str) -> bool:
        return stream_id in self.there

    def note(self, stream_id: str, state: CameraState, detail: str) -> None:
        self.noted[stream_id] = f"{state.value}: {detail}"

    def snapshot(self) -> list[StreamSnapshot]:
        return [
            StreamSnapshot(stream_id=name, kind="live", state="streaming", since_s=1.0)
            for name in self.there
        ]


def written(path: Path, *cameras: str, more: str = "") -> Path:
    lines = [f"  - {{name: {camera}}}\n" for camera in cameras]
    path.write_text(more + ("cameras:\n" + "".join(lines) if lines else ""))
    return path


GATE = "gate, url: 'rtsp://10.0.0.1/a'"
YARD = "yard, url: 'rtsp://10.0.0.2/a'"
HALL: dict[str, object] = {"name": "hall", "url": "rtsp://10.0.0.3/a"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path / "c.yaml", GATE, YARD)


@pytest.fixture
def deployed(config: Path, state_dir: Path) -> Deployed:
    """A deployment that has just been started, again and again with the same state folder."""

    def start() -> tuple[Deployment, Streams]:
        deployment, streams = Deployment(load_config(config), config, state_dir), Streams()
        deployment.start(streams)
        streams.told.clear()
        return deployment, streams

    return start


def test_a_reload_applies_only_the_difference(deployed: Deployed, config: Path) -> None:
    deployment, streams = deployed()
    deployment.attach(HALL)
    streams.told.clear()
    assert deployment.reload(config) == "the same cameras as before"
    written(config, GATE, "door, url: 'rtsp://10.0.0.4/a'")
    assert deployment.reload(config) == "attached door; detached yard"
    written(config, "gate, url: 'rtsp://10.0.0.1/b'", "door, url: 'rtsp://10.0.0.4/a'")
    assert deployment.reload(config) == "changed gate"
    assert streams.told == [
        *("detach yard", "attach door"),
        *("detach gate", "attach gate"),
    ]
    assert sorted(streams.there) == ["door", "gate", "hall"]


def test_a_camera_that_does_not_end_keeps_no_other_from_its_change(
    deployed: Deployed, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.deployment.DETACH_S", 0.1)
    deployment, streams = deployed()
    streams.stuck = {"gate"}
    hall = "hall, url: 'rtsp://10.0.0.3/a'"
    written(config, "gate, url: 'rtsp://10.0.0.1/b'", "yard, url: 'rtsp://10.0.0.2/b'", hall)
    with pytest.raises(ConfigError, match=r"^gate: detached, but still ends"):
        deployment.reload(config)
    assert streams.told == ["detach gate", "detach yard", "attach hall", "attach yard"]
    streams.stuck.clear()
    streams.told.clear()
    assert deployment.reload(config) == "changed gate"
    assert streams.told == ["detach gate", "attach gate"]


def test_a_name_that_still_ends_is_not_taken_yet(
    deployed: Deployed, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.deployment.DETACH_S", 0.1)
    deployment, streams = deployed()
    deployment.attach(HALL)
    streams.stuck = {"hall"}
    with pytest.raises(ConfigError, match="still ends"):
        deployment.detach("hall")
    with pytest.raises(ConfigError, match="still ends; try again"):
        deployment.attach(HALL, "hunter2")
    assert deployed()[0].names == ["gate", "yard"], "nothing was noted"
    written(config, GATE, YARD, "hall, url: 'rtsp://10.0.0.3/a'")
    with pytest.raises(ConfigError, match="hall: detached, but still ends"):
        deployment.reload(config)
    streams.stuck.clear()
    assert deployment.resume("hall") == "hall is connected again"


def test_a_typed_password_stays_until_the_config_names_one(
    deployed: Deployed, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = "gate, url: 'rtsp://10.0.0.1/a', username: admin"
    written(config, gate)
    deployment, streams = deployed()
    deployment.resume("gate", "hunter2")
    assert deployment.reload(config) == "the same cameras as before"
    written(config, f"{gate}, fit: letterbox")
    assert deployment.reload(config) == "changed gate"
    assert streams.there["gate"].address.password == "hunter2"
    monkeypatch.setenv("GATE_PASSWORD", "hunter3")
    written(config, f"{gate}, fit: letterbox, password_env: GATE_PASSWORD")
    assert deployment.reload(config) == "changed gate"
    assert streams.there["gate"].address.password == "hunter3"
    deployment.resume("gate")
    written(config, f"{gate}, fit: letterbox")
    assert deployment.reload(config) == "changed gate"
    assert streams.there["gate"].address.password is None, "the typed one is forgotten by then"


def test_a_reload_that_is_refused_changes_nothing(deployed: Deployed, config: Path) -> None:
    deployment, streams = deployed()
    for cameras, why in (
        ((), "names no cameras"),
        (("x, url: 'file:///etc/passwd'",), "must begin with rtsp"),
        ((GATE, GATE), "two cameras"),
        ((GATE, "x, url: 'rtsp://h/', username: u, password_env: NOT_SET_X"), "NOT_SET_X is not"),
    ):
        written(config, *cameras)
        with pytest.raises(ConfigError, match=why):
            deployment.reload(config)
    with pytest.raises(ConfigError, match="can't read"):
        deployment.reload(config.parent / "nothere.yaml")
    assert streams.told == []


def test_a_reload_says_what_counts_only_from_the_next_start(
    deployed: Deployed, config: Path
) -> None:
    deployment, streams = deployed()
    written(config, GATE, YARD, more="events: {enter: 0.9}\ncamera_defaults: {transport: udp}\n")
    assert deployment.reload(config) == (
        "changed gate, yard; events: changed as well, which counts from the next start"
    )
    deployment.attach(HALL)
    assert streams.there["hall"].knobs.transport == "udp", "the new defaults"


def test_what_is_attached_and_what_is_paused_survive_a_restart(deployed: Deployed) -> None:
    deployment, _ = deployed()
    deployment.attach(HALL | {"region": "0.5,0,0.5,1", "sample_fps": "12.5"})
    deployment.pause("hall")
    deployment.pause("gate")
    again, streams = deployed()
    assert again.names == ["gate", "yard", "hall"]
    knobs = streams.there["hall"].knobs
    assert knobs.region is not None
    assert (knobs.region.x, knobs.sample_fps) == (0.5, 12.5)
    again.resume("gate")
    assert streams.told == ["resume gate"]
    again.detach("hall")
    assert deployed()[0].names == ["gate", "yard"]


def test_what_comes_while_everything_ends_is_not_there_the_next_time(deployed: Deployed) -> None:
    deployment, streams = deployed()
    streams.ends = True
    with pytest.raises(ConfigError, match="the deployment ends"):
        deployment.attach(HALL)
    assert deployed()[0].names == ["gate", "yard"]


def test_a_pause_is_forgotten_with_its_camera(deployed: Deployed, config: Path) -> None:
    deployment, _ = deployed()
    deployment.pause("gate")
    written(config, YARD)
    deployed()
    written(config, GATE, YARD)
    _, streams = deployed()
    assert streams.paused == set()


def test_a_camera_of_the_config_comes_back_and_a_config_takes_over_what_was_attached(
    deployed: Deployed, config: Path
) -> None:
    deployment, streams = deployed()
    assert "comes back at a restart" in deployment.detach("gate")
    assert sorted(streams.there) == ["yard"]
    deployment.attach(HALL)
    written(config, GATE, "hall, url: 'rtsp://10.0.0.3/a'")
    streams.told.clear()
    assert deployment.reload(config) == "attached gate; detached yard"
    assert streams.told == ["detach yard", "attach gate"], "hall goes on untouched"
    again, _ = deployed()
    assert again.names == ["gate", "hall"]


def test_a_password_that_was_typed_in_is_stored_nowhere(
    deployed: Deployed, state_dir: Path
) -> None:
    deployment, streams = deployed()
    deployment.attach(HALL | {"username": "admin"}, "hunter2")
    assert streams.there["hall"].address.password == "hunter2"
    stored = [path.read_text() for path in state_dir.iterdir() if path.is_file()]
    assert stored
    assert not any("hunter2" in text for text in stored)
    again, streams = deployed()
    assert "hall" not in streams.there
    assert streams.noted["hall"] == (
        "failed: camera 'hall': its password was typed in, and is stored nowhere; "
        "run: actionstream resume hall --ask-password"
    )
    with pytest.raises(ConfigError, match="typed in"):
        again.resume("hall")
    again.resume("hall", "hunter3")
    assert streams.there["hall"].address.password == "hunter3"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (HALL | {"name": "gate"}, "is there already"),
        (HALL | {"name": "../../x\n"}, "name"),
        (HALL | {"url": "concat:/etc/passwd"}, "must begin with rtsp"),
        (HALL | {"url": "rtsp://u:hunter2@h/x"}, "holds a password"),
        (HALL | {"url": "rtsp://h/x?user=u&password=hunter2"}, "holds a password"),
        (HALL | {"url": 7}, "url"),
        (HALL | {"regoin": "0,0,1,1"}, "no such setting"),
        (HALL | {"password_env": "NOT_SET_X", "username": "u"}, "NOT_SET_X is not set"),
        ({}, "name"),
    ],
)
def test_a_camera_that_is_refused_leaves_no_trace(
    deployed: Deployed, document: dict[str, object], why: str
) -> None:
    deployment, streams = deployed()
    with pytest.raises(ConfigError, match=why) as refused:
        deployment.attach(document)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert streams.told == []
    assert deployed()[0].names == ["gate", "yard"]


def test_a_name_that_nobody_has_is_answered_with_those_there_are(deployed: Deployed) -> None:
    deployment, _ = deployed()
    for wish in (deployment.detach, deployment.pause, deployment.resume):
        with pytest.raises(ConfigError, match="there are: gate, yard"):
            wish("nobody")


def test_a_pipe_in_the_place_of_the_file_is_waited_for_by_nobody(
    config: Path, state_dir: Path
) -> None:
    state_dir.mkdir(mode=0o700, exist_ok=True)
    os.mkfifo(state_dir / "cameras.json")
    with pytest.raises(ConfigError, match=r"cameras\.json: can't be read: a folder, pipe"):
        Deployment(load_config(config), config, state_dir)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 1}'])
def test_a_damaged_file_is_said_and_not_overwritten(
    deployed: Deployed, state_dir: Path, text: str
) -> None:
    deployed()
    (state_dir / "cameras.json").write_text(text)
    with pytest.raises(ConfigError, match="move it away"):
        deployed()
    assert (state_dir / "cameras.json").read_text() == text


@pytest.fixture
def served(deployed: Deployed, state_dir: Path) -> Iterator[Control]:
    deployment, _ = deployed()
    with ControlServer(state_dir) as server, server.serving(Wishes(deployment)):
        yield Control(state_dir)


def test_the_class_says_what_the_commands_say(served: Control) -> None:
    assert served.attach("hall", "rtsp://10.0.0.3/a", sample_fps=5) == "hall is attached"
    assert served.pause("hall") == "hall is paused"
    assert [camera["name"] for camera in served.cameras()] == ["gate", "yard", "hall"]
    assert served.detach("hall") == "hall is detached"
    with pytest.raises(ConfigError, match="no camera named 'hall'"):
        served.resume("hall")


@pytest.mark.parametrize(
    "sent", [b"", b"\n", b"nonsense\n", b"[]\n", b'{"verb": "dance"}\n', b"[" * 200_000 + b"\n"]
)
def test_whoever_talks_nonsense_does_not_disturb(
    served: Control, state_dir: Path, sent: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(state_dir / "control.sock"))
        line.sendall(sent)
        line.shutdown(socket.SHUT_WR)
        line.settimeout(10)
        answer = line.recv(1000)
    assert "error" in json.loads(answer)
    assert len(served.cameras()) == 2


def test_whoever_is_slow_does_not_keep_the_others_waiting_for_long(
    served: Control, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "READ_S", 0.5)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(state_dir / "control.sock"))
        done = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                while not done.wait(0.05):
                    line.send(b"{")

        dripping = threading.Thread(target=drip)
        dripping.start()
        monkeypatch.setattr(control, "ANSWER_S", 20.0)
        try:
            assert len(served.cameras()) == 2
        finally:
            done.set()
            dripping.join()


def test_a_moment_without_descriptors_passes(served: Control, state_dir: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        newest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (newest, hard))
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            line.connect(str(state_dir / "control.sock"))
            time.sleep(0.5)  # nobody can be let in
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for one in taken:
                os.close(one)
        line.sendall(b'{"verb": "cameras"}\n')
        assert "cameras" in json.loads(line.recv(10_000))
    assert len(served.cameras()) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_no_password_is_told_to_somebody_elses_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    theirs = control._socket_path(folder).parent
    theirs.mkdir(mode=0o700)
    try:
        os.chown(theirs, 65534, 65534)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(theirs / "control.sock"))
            listener.listen()
            with pytest.raises(ActionstreamError, match="belongs to another user"):
                Control(folder).attach("hall", "rtsp://h/x", username="me", password="hunter2")
    finally:
        shutil.rmtree(theirs)


def test_one_deployment_per_folder_and_the_folder_may_have_a_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    with ControlServer(folder) as server:
        with pytest.raises(ConfigError, match="change it with"):
            ControlServer(folder)
        asked = threading.Thread(target=lambda: Control(folder).cameras())
        asked.start()  # before it serves: it waits
        with server.serving(lambda _: {"cameras": []}):
            asked.join(10)
        assert not asked.is_alive()
    with pytest.raises(ConfigError, match="no deployment runs"):
        Control(folder).cameras()
    with ControlServer(folder):
        pass


def test_whoever_sees_the_socket_is_let_in(tmp_path: Path) -> None:
    refused: list[OSError] = []

    def knock() -> None:
        with socket.socket(socket.AF_UNIX) as line:
            while True:
                try:
                    return line.connect(str(tmp_path / "control.sock"))
                except FileNotFoundError:
                    continue
                except ConnectionRefusedError as error:
                    return refused.append(error)

    for _ in range(100):
        knocking = threading.Thread(target=knock, daemon=True)
        knocking.start()
        with ControlServer(tmp_path):
            knocking.join()
    assert not refused
