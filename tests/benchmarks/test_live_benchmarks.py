"""The benchmarks of the live side in seconds: the laws hold; how fast it goes isn't asked."""

from collections.abc import Iterator

import pytest

from actors.cluster import cluster
from benchmarks import latency, many_cameras
from benchmarks import recognizer as recognizer_benchmark
from benchmarks.cameras import Deployment, deployment, private_redis
from benchmarks.measure import camera_host, h264
from benchmarks.overload import Offer, offer
from pipeline.config import Config, SamplingConfig
from pipeline.model import Recognizer, load

CAMERAS = 4
HOP = 2
FULL_FPS = 240.0  # each picture ends five windows at once, and a lane takes three: any CPU is slow

# Ray's driver leaves sockets and files to the garbage collector, which warns of each.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return load("default", device="cpu")


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with camera_host(h264(640, 360, seconds=10, camera=True)) as address:
        yield address


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with cluster():
        yield


@pytest.fixture
def crowded(ray_here: None, recognizer: Recognizer) -> Iterator[Deployment]:
    with private_redis() as redis:
        config = Config(sampling=SamplingConfig(hop=HOP), redis=redis)
        with deployment(config, recognizer) as it:
            yield it


def flooded(it: Deployment, host: str) -> Offer:
    return offer(it, host, cameras=CAMERAS, fps=FULL_FPS, hop=HOP, length_s=3, parts=3)


def test_overload_drops_windows_of_every_stream_alike_and_counts_them(
    crowded: Deployment, host: str
) -> None:
    made = flooded(crowded, host)
    assert made.broken == []
    assert list(made.whole.dropped()) == ["overload"]
    assert made.whole.dropped()["overload"] > made.offered * made.whole.length_s / 10
    assert 0 < made.goodput < made.offered
    assert made.jain > 0.8
    assert made.whole.end_to_end().quantile_s(0.99) < 10


def test_few_cameras_lose_nothing_and_are_sampled_at_their_rate(
    ray_here: None, recognizer: Recognizer, host: str
) -> None:
    stretch, broken = many_cameras.observed(recognizer, host, cameras=2, length_s=4, warm_s=1)
    assert broken == []
    assert not stretch.dropped()
    for rate in stretch.rates(lambda t: t.points).values():
        assert rate == pytest.approx(many_cameras.SAMPLE_FPS, rel=0.25)
    assert {"supervisor", "publisher", "recognizer-0"} <= many_cameras.memory(
        stretch.last.seen
    ).keys()


def test_every_window_s_event_is_timed_up_to_redis(ray_here: None, recognizer: Recognizer) -> None:
    with latency.observed(recognizer) as (it, reader):
        ages, stretch = latency.ages_ms(it, reader, cameras=2, rate=8, length_s=3)
    assert len(ages) >= 3 * stretch.rate(lambda t: t.scored) / 2
    assert all(0 < age < 60_000 for age in ages)
    assert 0 < stretch.load <= 1


def test_a_recognizer_is_measured_beside_loops(
    ray_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    recognizer_benchmark.measure("default", per_stream=10, rounds=1)
    assert "recognizer actor, " in capsys.readouterr().out


@pytest.mark.parametrize("rate", [20.0, 33.0, 106.0, 181.0, 300.0])
def test_windows_come_with_whole_pictures_at_about_the_rate(rate: float) -> None:
    fps, each = latency.pace(rate, 16)
    assert 16 * fps / each == pytest.approx(rate, rel=0.1)
