"""A real run, scraped: the laws hold on the page, and every part is there."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.cluster import cluster, run_name
from actors.health import Health, served
from actors.supervisor import Supervisor
from pipeline.config import Config, HealthConfig, RedisConfig
from pipeline.model import load
from pipeline.settle import origin_of, settle
from pipeline.source import CameraSource, FileSource, Source, parse_address
from pipeline.subscribe import latest_status
from pipeline.wire import events_key
from tests.footage import clip
from tests.redis_server import RedisServer
from tests.rtsp import RtspServer, transcode

# Ray's driver leaves sockets and files to the garbage collector, which warns of each.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with cluster():
        yield


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "v.mp4"
    transcode(clip("room.webm"), path, codec="libx264", seconds=4)
    return path


class Page:
    """The pages of one run, over HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def sums(self, *by: str) -> dict[tuple[str, ...], float]:
        """Samples summed over all labels but these, which follow the name in the key."""
        found: dict[tuple[str, ...], float] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                key = (sample.name, *(sample.labels.get(label, "") for label in by))
                found[key] = found.get(key, 0) + sample.value
        return found


def supervisor(sources: list[Source], redis: RedisConfig | None) -> Supervisor:
    recognizer = load("default", device="cpu")
    settings = settle(Config(), recognizer.spec)
    origin = origin_of(recognizer, settings)
    return Supervisor(sources, Config(), settings, origin, redis=redis, name=run_name())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def assert_lawful(sums: dict[tuple[str, ...], float], stream: str) -> None:
    """Nothing is lost silently."""
    for what, came in (("pictures", "pictures_in"), ("windows", "windows_made")):
        assert sums[f"actionstream_{what}_total", stream] > 0
        whole = sums[f"actionstream_{came}_total", stream]
        assert sums[f"actionstream_{what}_total", stream] == whole


def assert_timed(sums: dict[tuple[str, ...], float], stream: str, scored: float) -> None:
    """Each window that was scored was timed at every stage, and the stages are the whole."""
    name = "actionstream_latency_seconds"
    stages = ("window", "queue", "inference", "publish")
    for stage in (*stages[1:], "end_to_end"):
        assert sums[f"{name}_count", stream, stage] == scored
    if sums[f"{name}_count", stream, "window"] == scored:  # none was dropped on its way
        parts_s = sum(sums[f"{name}_sum", stream, stage] for stage in stages)
        assert sums[f"{name}_sum", stream, "end_to_end"] == pytest.approx(parts_s, abs=1e-3)


def test_a_file_and_a_camera_on_one_page(
    ray_here: None, video: Path, state_dir: Path, wait_until: Callable[..., None]
) -> None:
    health, port = Health(), free_port()
    page = Page(port)
    with (
        RtspServer({"gate@loop": video}) as server,
        served(health, HealthConfig(port=port), pytest.fail),
    ):
        sources: list[Source] = [
            CameraSource(stream_id="gate", address=parse_address(server.url("gate@loop"))),
            FileSource(path=clip("room.webm"), stream_id="room"),
        ]
        assert page.get("/readyz")[0] == 503
        with supervisor(sources, RedisConfig(state_dir=state_dir)) as it:
            health.watch(it)
            stop = Event()
            worker = Thread(target=it.run, args=(stop, health.turn))
            worker.start()
            try:
                end_to_end = ("actionstream_latency_seconds_count", "gate", "end_to_end")
                wait_until(
                    lambda: page.sums("stream", "stage").get(end_to_end, 0) > 3, "windows", 60.0
                )
                status, text = page.get("/readyz")
                assert status == 200, text
                assert json.loads(text)["streams"]["streaming"] >= 1
                assert page.get("/healthz")[0] == 200
                running = page.sums("role")
                stages = page.sums("stream", "stage")
                text = page.get("/metrics")[1]
            finally:
                stop.set()
                worker.join()
            health_at_end = Health()  # the other may still show what it saw a moment ago
            health_at_end.watch(it)
            with served(health_at_end, HealthConfig(port=(last := free_port())), pytest.fail):
                ended = Page(last).sums("stream")
                states = Page(last).sums("stream", "state")
                timed = Page(last).sums("stream", "stage")
                outcomes = Page(last).sums("stream", "outcome")
    assert "rtsp" not in text
    for role in ("camera", "recognizer", "publisher"):
        assert running["actionstream_part_up", role] >= 1
        assert running["actionstream_process_resident_bytes", role] > 10e6
    for stage in ("decode", "window", "queue", "inference", "publish", "end_to_end"):
        assert stages["actionstream_latency_seconds_count", "gate", stage] > 0
    assert running["actionstream_batch_windows_count", ""] > 0
    assert ("actionstream_outbox_events", "") in running
    for stream in ("gate", "room"):
        assert_lawful(ended, stream)
        assert_timed(timed, stream, outcomes["actionstream_windows_total", stream, "scored"])
    assert states["actionstream_stream_state", "gate", "ended"] == 1
    assert states["actionstream_stream_state", "gate", "streaming"] == 0


def test_a_run_whose_redis_is_away_is_ready_and_says_so(
    ray_here: None,
    video: Path,
    state_dir: Path,
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Events are kept on disk meanwhile, and the page says how many and since when."""
    health, port = Health(), free_port()
    page = Page(port)
    nowhere = RedisConfig(url=f"redis://127.0.0.1:{free_port()}", state_dir=state_dir)  # type: ignore[arg-type]
    with (
        RtspServer({"gate@loop": video}) as server,
        served(health, HealthConfig(port=port), pytest.fail),
    ):
        camera = CameraSource(stream_id="gate", address=parse_address(server.url("gate@loop")))
        with supervisor([camera], nowhere) as it:
            health.watch(it)
            stop = Event()
            worker = Thread(target=it.run, args=(stop, health.turn))
            worker.start()
            try:
                wait_until(
                    lambda: page.sums().get(("actionstream_outbox_events",), 0) > 0, "events", 60.0
                )
                sums = page.sums("flow")
                status, text = page.get("/readyz")
                wait_until(lambda: "connection refused" in caplog.text, "the log says so")
            finally:
                stop.set()
                worker.join()
    assert status == 200, text
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "'actionstream:events': connection refused" in line]) == 1
    assert sums["actionstream_outbox_flow", "flowing"] == 0
    assert sums["actionstream_outbox_oldest_age_seconds", ""] > 0


def test_the_command_serves_the_pages_and_says_where(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """A deployment whose only camera is down is ready: nothing else can be told from outside."""
    config, port = tmp_path / "c.yaml", free_port()
    camera = f"{{name: gate, url: 'rtsp://127.0.0.1:{free_port()}/x'}}"
    config.write_text(f"health: {{port: {port}}}\ncameras: [{camera}]\n")
    redis_port = free_port()
    where = ("--redis", f"redis://127.0.0.1:{redis_port}")
    page = Page(port)

    def ready() -> bool:
        try:
            return page.get("/readyz")[0] == 200
        except ConnectionError:
            return False

    call = [sys.executable, "-c", "from actors.cli import main; main()", "run", str(config), *where]
    with subprocess.Popen(
        call,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            wait_until(ready, "it is ready without Redis", 120.0)
            with RedisServer(port=redis_port) as server, server.client() as client:
                client.xgroup_create(events_key(), "alarms", mkstream=True)
                lag = ("actionstream_group_lag_events", "alarms")
                wait_until(lambda: lag in page.sums("group"), "Redis is seen")
                wait_until(lambda: latest_status(client), "the camera's state is told")
                sums = page.sums("stream", "state")
                groups = page.sums("group")
                status, _ = page.get("/healthz")
        finally:
            running.send_signal(signal.SIGTERM)
            _, said = running.communicate(timeout=60)
    assert status == 200
    assert f"127.0.0.1:{redis_port}: connection refused" in said
    assert "events wait on disk meanwhile" in said
    assert sums["actionstream_stream_state", "gate", "streaming"] == 0
    assert groups["actionstream_group_lag_events", "alarms"] == 0
    assert f"health and metrics: http://127.0.0.1:{port}/metrics" in said
    assert "Traceback" not in said
