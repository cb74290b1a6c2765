"""kill -9 of any part, and parts that live but are broken: the rest goes on, nothing is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
import ray
from pydantic import SecretStr

from actors.cluster import NAMESPACE, cluster, run_name
from actors.control import Control
from actors.supervisor import Supervisor
from actors.watch import Bounds
from pipeline import wire
from pipeline.bundle import DEFAULT_PATH
from pipeline.cameras import CameraKnobs
from pipeline.config import Config, EventConfig, RedisConfig
from pipeline.errors import ConfigError
from pipeline.model import load
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.settle import origin_of, settle
from pipeline.source import CameraSource, parse_address
from pipeline.subscribe import latest_status
from tests.chaos.rtsp import ChaosCamera
from tests.footage import clip
from tests.redis_server import RedisServer
from tests.rtsp import dead_port, transcode

WaitUntil = Callable[..., None]

# Ray's driver leaves sockets and files to the garbage collector, which warns of each.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(400),
]

EVENTS = {"enter": 0.2, "exit": 0.1, "background": []}  # many, of any label
BACK_S = 10.0  # beyond a part's own start-up
BUSY = 3.0  # how much longer all takes while other tests run
COMMAND = (
    # A local Ray is joined where it listens, which Ray would take for "as others reach it".
    "from ray._private import ray_constants; ray_constants.ENABLE_RAY_CLUSTER = False;"
    "from actors.cli import main; main()"
)
WEIGHTS = "weights.safetensors"
PARTS = ("camera-0", "recognizer-0", "publisher")


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with cluster():
        yield


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    transcode(clip("room.webm"), path, codec="libx264", seconds=4)
    return path


@pytest.fixture
def camera(video: Path) -> Iterator[ChaosCamera]:
    with ChaosCamera([video]) as here:
        yield here


@pytest.fixture
def server() -> Iterator[RedisServer]:
    runner = ("--user", "runner", "on", ">pw", "~*", "+@all")
    with RedisServer("--appendonly", "yes", *runner) as here:
        yield here


@contextmanager
def deployment(
    camera: ChaosCamera, server: RedisServer, folder: Path, bounds: Bounds
) -> Iterator[Supervisor]:
    """Cameras ``gate`` and ``yard``, with a supervisor that works in a thread."""
    config = Config(events=EventConfig.model_validate(EVENTS))
    recognizer = load("default", device="cpu")
    settings = settle(config, recognizer.spec)
    sources = [
        CameraSource(stream_id=name, address=parse_address(camera.url(name)))
        for name in ("gate", "yard")
    ]
    url = SecretStr(f"redis://127.0.0.1:{server.port}")
    redis = RedisConfig(url=url, state_dir=folder)
    origin = origin_of(recognizer, settings)
    with Supervisor(
        sources, config, settings, origin, redis=redis, name=run_name(), bounds=bounds
    ) as it:
        stop = Event()
        worker = Thread(target=it.run, args=(stop,))
        worker.start()
        try:
            yield it
        finally:
            stop.set()
            worker.join()


def pid_of(name: str) -> int | None:
    """None: it isn't there, or doesn't answer."""
    with suppress(ValueError, ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
        actor = ray.get_actor(name, namespace=NAMESPACE)
        pid: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()), timeout=2)
        return pid
    return None


def names() -> set[str]:
    return {each["name"] for each in ray.util.list_named_actors(all_namespaces=True)}


def scored(it: Supervisor) -> list[int]:
    return [tally.scored for tally in it.tallies.values()]


def all_score(it: Supervisor, wait_until: WaitUntil) -> None:
    before = scored(it)
    grown = lambda: all(now > then for now, then in zip(scored(it), before, strict=True))  # noqa: E731
    wait_until(grown, "every stream is scored", 90)


def stored(server: RedisServer) -> list[ActionEvent]:
    with server.client() as client:
        return [wire.from_fields(fields) for _, fields in client.xrange(wire.events_key())]


def assert_whole_lives(events: list[ActionEvent]) -> None:
    """Each event is there once, from its start to its only end."""
    assert len(events) > 10
    lives: dict[str, list[ActionEvent]] = {}
    for event in events:
        lives.setdefault(event.event_id, []).append(event)
    for life in lives.values():
        assert [event.seq for event in life] == list(range(len(life)))
        assert [event.type for event in life].count(EventType.END) == 1
        assert life[-1].type is EventType.END


def test_a_part_that_is_killed_is_back_in_time_and_nothing_is_uncounted(
    ray_here: None, camera: ChaosCamera, server: RedisServer, tmp_path: Path, wait_until: WaitUntil
) -> None:
    began_s = time.monotonic()
    with deployment(camera, server, tmp_path, Bounds()) as it:
        wait_until(lambda: len(scored(it)) == 2, "both are shown", 30)
        all_score(it, wait_until)
        start_s = time.monotonic() - began_s
        for part in PARTS:
            pid = pid_of(it.name_of(part))
            assert pid is not None
            if part == "recognizer-0":
                await_batch(it.name_of(part), wait_until)
            pictures = {name: tally.pictures for name, tally in it.tallies.items()}
            os.kill(pid, signal.SIGKILL)
            killed_s = time.monotonic()
            wait_until(lambda p=part, old=pid: pid_of(it.name_of(p)) not in (old, None), part, 90)
            all_score(it, wait_until)
            assert time.monotonic() - killed_s < BACK_S + BUSY * start_s
            now = it.tallies
            assert all(now[name].pictures > count for name, count in pictures.items())
        for name in ("gate", "yard"):
            it.pause(name)
        wait_until(lambda: {s.state for s in it.states.values()} == {"paused"}, "both pause", 30)
        pid = pid_of(it.name_of("publisher"))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid_of(it.name_of("publisher")) not in (pid, None), "an idle death", 60)
        for name in ("gate", "yard"):
            it.pause(name, False)
        all_score(it, wait_until)
        assert it.restarts >= 4
    assert [outcome.tally.balance() for outcome in it.outcomes] == [[], []]
    starts = [outcome.tally.states["starting"] for outcome in it.outcomes]
    assert max(starts) >= 3, "the counts of all attempts are one"
    assert_whole_lives(stored(server))


def test_what_was_open_is_ended_though_its_camera_does_not_come_back(
    ray_here: None, camera: ChaosCamera, server: RedisServer, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with deployment(camera, server, tmp_path, Bounds()) as it:
        wait_until(lambda: is_open(stored(server)[10:]), "one of many events is open", 60)
        pids = [pid for n in range(2) if (pid := pid_of(it.name_of(f"camera-{n}"))) is not None]
        camera.mood.refuses = True
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_open(stored(server)), "all that was open is ended", 60)
        camera.mood.refuses = False
    ends = [event for event in stored(server) if event.type is EventType.END]
    assert any(Flag.INTERRUPTED in end.flags for end in ends)
    assert_whole_lives(stored(server))


def test_what_is_open_is_ended_though_the_publisher_is_dead_when_the_run_ends(
    ray_here: None, camera: ChaosCamera, server: RedisServer, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with deployment(camera, server, tmp_path, Bounds()) as it:
        wait_until(lambda: is_open(stored(server)[10:]), "one of many events is open", 60)
        pid = pid_of(it.name_of("publisher"))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    assert not is_open(stored(server))
    assert_whole_lives(stored(server))


def test_a_camera_that_gave_up_before_it_heard_of_its_detach_is_detached(
    ray_here: None, server: RedisServer, tmp_path: Path, wait_until: WaitUntil
) -> None:
    config = Config()
    recognizer = load("default", device="cpu")
    settings = settle(config, recognizer.spec)
    redis = RedisConfig(url=SecretStr(f"redis://127.0.0.1:{server.port}"), state_dir=tmp_path)
    gate = CameraSource(
        stream_id="gate",
        address=parse_address(f"rtsp://127.0.0.1:{dead_port()}/x"),
        knobs=CameraKnobs.model_validate({"retry": {"max_attempts": 1}}),
    )
    origin = origin_of(recognizer, settings)
    with (
        server.client() as client,
        Supervisor(
            [gate], config, settings, origin, redis=redis, name=run_name(), stays=True
        ) as it,
    ):

        def state() -> str | None:
            line = latest_status(client).get("gate")
            return line.state if line else None

        it.step()
        wait_until(lambda: state() == "failed", "it gave up, and we haven't looked", 30)
        it.detach("gate")
        wait_until(lambda: it.step() or not it.has("gate"), "it is gone", 30)
        wait_until(lambda: state() == "detached", "it is said", 30)


def is_open(events: list[ActionEvent]) -> bool:
    ended = {event.event_id for event in events if event.type is EventType.END}
    return any(event.event_id not in ended for event in events)


def test_a_part_that_lives_but_is_broken_is_replaced_and_verbs_wait_for_nobody(
    ray_here: None, camera: ChaosCamera, server: RedisServer, tmp_path: Path, wait_until: WaitUntil
) -> None:
    bounds = Bounds(answer_s=5, compute_s=15, hung_s=1)
    with deployment(camera, server, tmp_path, bounds) as it:
        wait_until(lambda: len(scored(it)) == 2, "both are shown", 30)
        all_score(it, wait_until)

        def replaced(part: str, broken: Callable[[int], None]) -> None:
            pid = pid_of(it.name_of(part))
            assert pid is not None
            broken(pid)
            wait_until(lambda: pid_of(it.name_of(part)) not in (pid, None), f"a new {part}", 90)
            all_score(it, wait_until)
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the old one is gone", 30)

        def freeze(pid: int) -> None:
            os.kill(pid, signal.SIGSTOP)
            began_s = time.monotonic()
            it.pause("gate")
            it.pause("gate", False)
            with pytest.raises(ConfigError, match="runs already"):
                it.attach(CameraSource(stream_id="gate", address=parse_address(camera.url())))
            assert time.monotonic() - began_s < 2

        for part in PARTS:
            replaced(part, freeze)
        broken = it.name_of("recognizer-0")
        replaced("recognizer-0", lambda _: call(broken, lose_device))
        replaced("recognizer-0", lambda _: call(broken, stick))
        replaced("camera-0", lambda _: call(it.name_of("camera-0"), hang))
    assert [outcome.tally.balance() for outcome in it.outcomes] == [[], []]
    assert_whole_lives(stored(server))


def call(name: str, question: Callable[[object], None]) -> None:
    ray.get(ray.get_actor(name, namespace=NAMESPACE).__ray_call__.remote(question), timeout=30)


def await_batch(name: str, wait_until: WaitUntil) -> None:
    """Return while a batch is being computed."""
    call(name, slow_down)
    recognizer = ray.get_actor(name, namespace=NAMESPACE)
    wait_until(lambda: ray.get(recognizer.load.remote()).computing_s > 0, "a batch", 60)


def slow_down(recognizer: object) -> None:
    batcher = recognizer._batcher  # type: ignore[attr-defined]
    score = batcher._score

    def slowly(windows: object) -> object:
        time.sleep(2)
        return score(windows)

    batcher._score = slowly


def lose_device(recognizer: object) -> None:
    def scores(_: object) -> None:
        raise RuntimeError("device lost")

    recognizer._batcher._score = scores  # type: ignore[attr-defined]


def stick(recognizer: object) -> None:
    recognizer._batcher._score = lambda _: time.sleep(1000)  # type: ignore[attr-defined]


def hang(camera: object) -> None:
    for work in camera._works.values():  # type: ignore[attr-defined]
        work.state.tally.hanging = 2


PATHS = {"gate": "gate", "yard": "yard"}


class Runs:
    """``actionstream run`` with one config and state folder, again and again."""

    def __init__(self, camera: ChaosCamera, server: RedisServer, folder: Path) -> None:
        self.folder = folder
        self._camera = camera
        self._server = server
        (folder / WEIGHTS).symlink_to(DEFAULT_PATH)
        self.children: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: str, enter: float = 0.2, paths: Mapping[str, str] = PATHS, cores: int = 2
    ) -> subprocess.Popen[str]:
        """``paths``: of the camera under each name; ``cores``: as many actors have the cameras."""
        usable = sorted(os.sched_getaffinity(0))[:cores]
        config = self.folder / "c.yaml"
        cameras = [f"{{name: {n}, url: '{self._camera.url(path)}'}}" for n, path in paths.items()]
        config.write_text(
            f"model: {{path: {WEIGHTS}}}\nhealth: {{port: 0}}\n"
            f"events: {{enter: {enter}, exit: 0.1, background: []}}\n"
            f"redis: {{url: 'redis://runner@127.0.0.1:{self._server.port}', "
            "password_env: RUNNER}\n"
            f"cameras: [{', '.join(cameras)}]\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", str(config), *arguments],
            env=os.environ | {"ACTIONSTREAM_STATE_DIR": "state", "RUNNER": "pw"},
            cwd=self.folder,  # Ray's own processes, where they are joined, know none of these
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=partial(os.sched_setaffinity, 0, usable),
        )
        self.children.append(child)
        return child

    def score(self, child: subprocess.Popen[str], count: int = 2) -> bool:
        """All cameras stream, and have for some windows."""
        assert child.poll() is None, child.communicate()[1]
        with suppress(ConfigError):
            cameras = Control(self.folder / "state").cameras()
            return len(cameras) == count and all(int(str(each["windows"])) > 3 for each in cameras)
        return False


@pytest.fixture
def runs(camera: ChaosCamera, server: RedisServer, tmp_path: Path) -> Iterator[Runs]:
    here = Runs(camera, server, tmp_path)
    try:
        yield here
    finally:
        for child in here.children:
            kill(child)
            assert child.stderr is not None
            child.stderr.close()


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()


def said_by(child: subprocess.Popen[str], code: int) -> str:
    _, said = child.communicate(timeout=120)
    assert child.returncode == code, said
    assert "Traceback" not in said
    return said


def test_a_supervisor_that_is_killed_is_followed_by_one_that_adopts_its_actors(
    ray_here: None, runs: Runs, camera: ChaosCamera, server: RedisServer, wait_until: WaitUntil
) -> None:
    where = ("--address", ray.get_runtime_context().gcs_address)
    first = runs.start(*where, cores=1)
    wait_until(lambda: runs.score(first), "both are scored", 120)
    there = names()
    pids = {name: pid_of(name) for name in there}
    kill(first)
    events = len(stored(server))
    wait_until(lambda: len(stored(server)) > events + 2, "events without a supervisor", 60)

    second = runs.start(*where, cores=1)
    wait_until(lambda: runs.score(second), "both are scored", 120)
    assert {name: pid_of(name) for name in names()} == pids
    assert camera.requests["connect"] == 2, "no camera was connected again"
    kill(second)

    other = runs.start(*where, paths={"gate": "elsewhere"}, cores=1)
    wait_until(lambda: runs.score(other, 1), "the one that is left is scored", 120)
    with server.client() as client:
        assert latest_status(client)["yard"].state == "detached"
    yard = [event for event in stored(server) if event.stream_id == "yard"]
    assert not is_open(yard), "nobody works on it any more"
    kill(other)

    third = runs.start(*where, enter=0.25, cores=1)
    wait_until(lambda: runs.score(third), "both are scored", 120)
    assert names() == there
    assert not {pid_of(name) for name in there} & set(pids.values()), "other settings, other actors"
    third.send_signal(signal.SIGTERM)
    said_by(third, 0)
    assert names() == set()
    assert_whole_lives(stored(server))


def test_a_run_whose_ray_dies_or_that_is_killed_itself_is_started_again_and_loses_nothing(
    runs: Runs, camera: ChaosCamera, server: RedisServer, wait_until: WaitUntil
) -> None:
    for victim, called in (("raylet", "raylet"), ("gcs_server", "GCS")):
        child = runs.start()
        wait_until(lambda c=child: runs.score(c), "both are scored", 120)
        family = family_of(child.pid)
        server.kill()  # what comes now waits on disk
        os.kill(next(pid for pid in family if command(pid).endswith(victim)), signal.SIGKILL)
        killed_s = time.monotonic()
        assert f"Ray died: its {called}" in said_by(child, 1)
        assert time.monotonic() - killed_s < 10 * BUSY
        wait_until(lambda f=family: not any(map(command, f)), "nothing is left", 10 * BUSY)
        server.start()
    child = runs.start()
    wait_until(lambda: runs.score(child), "both are scored", 120)
    working = [pid for pid in family_of(child.pid) if "Agent" not in command(pid)]
    kill(child)
    wait_until(lambda: not any(map(command, working)), "nothing is left but idle helpers", 30)
    wait_until(lambda: camera.connected == 0, "no camera is held", 10)

    child = runs.start()
    wait_until(lambda: runs.score(child), "both are scored", 120)
    before = camera.requests["TEARDOWN"]
    child.send_signal(signal.SIGTERM)
    said_by(child, 0)
    assert camera.requests["TEARDOWN"] == before + 2
    events = stored(server)
    assert_whole_lives(events)
    assert any(Flag.INTERRUPTED in event.flags for event in events)


def test_a_run_whose_events_neither_redis_nor_the_disk_took_says_so(
    ray_here: None, runs: Runs, server: RedisServer, wait_until: WaitUntil
) -> None:
    outbox = runs.folder / "state" / "outbox"
    outbox.parent.mkdir(mode=0o700)
    outbox.write_text("where a folder should be")
    child = runs.start("--address", ray.get_runtime_context().gcs_address, cores=1)
    wait_until(lambda: runs.score(child), "both are scored", 120)
    wait_until(lambda: is_open(stored(server)), "an event is open", 60)
    server.kill()
    child.send_signal(signal.SIGTERM)
    assert re.search(r"\d+ events are lost: Redis took none", said_by(child, 1))


def family_of(pid: int) -> set[int]:
    """A process and all that descend from it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def command(pid: int) -> str:
    """The program of a process; empty once it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().strip()
    return ""
