"""Redis goes away under a run, and the publisher dies: every event is there in the end, once."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import ray
from pydantic import SecretStr

from actors.cluster import NAMESPACE, cluster, run_name
from actors.supervisor import Supervisor
from pipeline import wire
from pipeline.config import Config, RedisConfig
from pipeline.model import load
from pipeline.records import ActionEvent, EventType, Flag
from pipeline.settle import origin_of, settle
from pipeline.source import CameraSource, parse_address
from tests.footage import clip
from tests.redis_server import RedisServer
from tests.rtsp import RtspServer, transcode

WaitUntil = Callable[..., None]
OUTAGE_S = 60.0

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


def stored(server: RedisServer) -> list[ActionEvent]:
    with server.client() as client:
        return [wire.from_fields(fields) for _, fields in client.xrange(wire.events_key())]


def analyze(*arguments: str, state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from actors.cli import main; main()", "analyze", *arguments],
        env=os.environ | {"XDG_STATE_HOME": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _does_not_wait(line: str) -> bool:
    return "events wait for Redis" not in line


def finished(child: subprocess.Popen[str]) -> None:
    _, said = child.communicate(timeout=120)
    assert child.returncode == 0, said


@pytest.mark.parametrize("how", [[], ["--ray"]], ids=["in process", "on Ray"])
def test_an_analysis_without_redis_keeps_its_events_and_the_next_sends_them(
    tmp_path: Path, how: list[str]
) -> None:
    plain = (str(clip("room.webm")), "--name", "room")
    call = (*plain, *how)
    with RedisServer() as server, RedisServer() as other:
        where = ("--redis", f"redis://127.0.0.1:{server.port}")
        with analyze(*call, *where, state=tmp_path) as child:
            try:
                assert child.stderr is not None
                assert "events go to the stream" in child.stderr.readline()
                server.kill()
                said = list(takewhile(_does_not_wait, child.stderr))
                child.send_signal(signal.SIGINT)
                said += child.communicate(timeout=120)[1].splitlines()
            finally:
                child.kill()
        assert child.returncode == 1, said
        assert "events are left on disk" in "".join(said)
        server.start()
        finished(analyze(*call, *where, state=tmp_path))
        found = [(event.event_id, event.seq) for event in stored(server)]
        elsewhere = f"redis://127.0.0.1:{other.port}"
        finished(analyze(*plain, "--redis", elsewhere, state=tmp_path))
        expected = [(event.event_id, event.seq) for event in stored(other)]
    assert len(expected) > 3
    assert Counter(found) == Counter(expected)


@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_events_open_in_a_publisher_that_is_killed_are_ended(
    ray_here: None, tmp_path: Path, wait_until: WaitUntil, redis_is: str
) -> None:
    video = tmp_path / "v.mp4"
    transcode(clip("room.webm"), video, codec="libx264", seconds=4)
    with RtspServer({"gate@loop": video}) as cameras, RedisServer("--appendonly", "yes") as server:
        address = parse_address(cameras.url("gate@loop"))
        url = SecretStr(f"redis://127.0.0.1:{server.port}")
        redis = RedisConfig(url=url, state_dir=tmp_path / "state")
        with deployment([CameraSource(stream_id="gate", address=address)], redis) as it:
            stop = threading.Event()
            worker = threading.Thread(target=it.run, args=(stop,))
            worker.start()
            try:
                for kills in range(1, 6):  # what was open may have ended before the blow falls
                    wait_until(lambda: is_open(stored(server)), "an event to be open", 60)
                    before = ids(server)
                    if redis_is == "away":
                        server.kill()
                    kill_publisher(it)
                    wait_until(lambda n=kills: it.restarts >= n, "the publisher to be back", 60)
                    if redis_is == "away":
                        server.start()
                    wait_until(lambda old=before: ids(server) - old, "new events", 60)
                    if any(Flag.INTERRUPTED in event.flags for event in stored(server)):
                        break
            finally:
                stop.set()
                worker.join()
        events = stored(server)
    lives: dict[str, list[ActionEvent]] = {}
    for event in events:
        lives.setdefault(event.event_id, []).append(event)
    for life in lives.values():
        assert [event.seq for event in life] == list(range(len(life)))
        assert [event.type for event in life].count(EventType.END) == 1
        assert life[-1].type is EventType.END
    ends = [life[-1] for life in lives.values()]
    assert any(Flag.INTERRUPTED in end.flags for end in ends)


def test_a_minute_without_redis_costs_a_camera_no_event(
    ray_here: None, tmp_path: Path, wait_until: WaitUntil
) -> None:
    video = tmp_path / "v.mp4"
    transcode(clip("room.webm"), video, codec="libx264", seconds=4)
    with RtspServer({"gate@loop": video}) as cameras, RedisServer() as server:
        address = parse_address(cameras.url("gate@loop"))
        redis = RedisConfig(
            url=SecretStr(f"redis://127.0.0.1:{server.port}"), state_dir=tmp_path / "state"
        )
        with deployment([CameraSource(stream_id="gate", address=address)], redis) as it:
            stop = threading.Event()
            worker = threading.Thread(target=it.run, args=(stop,))
            worker.start()
            try:
                wait_until(lambda: stored(server), "events", 60)
                server.freeze()
                before = it.tallies["gate"].scored
                time.sleep(OUTAGE_S)
                meanwhile = it.tallies["gate"].scored - before
                server.thaw()
                came = ids(server)
                wait_until(lambda: ids(server) - came, "events after it", 60)
            finally:
                stop.set()
                worker.join()
        made = sum(outcome.tally.events for outcome in it.outcomes)
        found = [(event.event_id, event.seq) for event in stored(server)]
    assert meanwhile > OUTAGE_S, "windows are scored all the while"
    assert len(found) == made, "every event is there"
    assert len(set(found)) == made, "once"
    lives: dict[str, list[int]] = {}
    for event_id, seq in found:
        lives.setdefault(event_id, []).append(seq)
    assert all(seqs == list(range(len(seqs))) for seqs in lives.values()), "in order"


def deployment(sources: list[CameraSource], redis: RedisConfig) -> Supervisor:
    recognizer = load("default", device="cpu")
    settings = settle(Config(), recognizer.spec)
    origin = origin_of(recognizer, settings)
    return Supervisor(sources, Config(), settings, origin, redis=redis, name=run_name())


def ids(server: RedisServer) -> set[str]:
    return {event.event_id for event in stored(server)}


def is_open(events: list[ActionEvent]) -> bool:
    ended = {event.event_id for event in events if event.type is EventType.END}
    return any(event.event_id not in ended for event in events)


def kill_publisher(it: Supervisor) -> None:
    actor = ray.get_actor(it.name_of("publisher"), namespace=NAMESPACE)
    os.kill(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
