"""When a camera actor's hanging threads make it as good as dead, with an actor that only tells."""

import time
from collections.abc import Iterator

import pytest
import ray

from actors.cluster import cluster
from actors.pulse import PartLost
from actors.snapshot import StreamState
from actors.watch import Bounds, CameraWatch
from pipeline.source.watched import MAX_HUNG
from pipeline.tally import Tally

HUNG_S = 1.0


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with cluster():
        yield


@ray.remote(num_cpus=0)
class Told:
    def __init__(self) -> None:
        self.said: list[StreamState] = []

    def say(self, *hanging: str, state: str = "backoff") -> None:
        self.said = [
            StreamState(
                stream_id=name,
                state=state,
                tally=Tally(hanging=MAX_HUNG if name in hanging else 0),
            )
            for name in ("gate", "hall", "yard")
        ]

    def states(self) -> list[StreamState]:
        return self.said


@pytest.fixture
def camera() -> Iterator[CameraWatch]:
    actor = Told.remote()
    yield CameraWatch(actor, Bounds(hung_s=HUNG_S))
    ray.kill(actor)


def look_for(camera: CameraWatch, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        camera.ask()
        camera.look()
        time.sleep(0.02)


def test_threads_that_hang_and_come_back_stream_by_stream_are_waited_for(
    camera: CameraWatch,
) -> None:
    for names in (("gate",), ("gate", "hall"), ("hall",), ("hall", "yard"), ("yard",)):
        ray.get(camera.actor.say.remote(*names))
        look_for(camera, 0.3 * HUNG_S)


def test_a_camera_that_is_paused_waits_for_no_thread(camera: CameraWatch) -> None:
    ray.get(camera.actor.say.remote("gate", state="paused"))
    look_for(camera, 1.5 * HUNG_S)


def test_one_stream_whose_threads_hang_for_too_long_is_enough(camera: CameraWatch) -> None:
    ray.get(camera.actor.say.remote("gate"))
    with pytest.raises(PartLost, match="hang in FFmpeg"):
        look_for(camera, 3 * HUNG_S)
