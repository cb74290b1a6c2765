"""From a window's last picture to its event in Redis, over a bare forward pass.

``python -m benchmarks.latency [--seconds 60] [--network default]``: the 99th percentile with one
camera, which has the machine for itself, and with sixteen, out of phase, at 70 % load. A window is
due when a picture comes: so that windows of cameras out of phase come out of phase, a camera has
one every so many pictures, and sends 20 to 30 pictures/s, whichever is nearest to the load.

Load is the share of its CPUs' time that the machine is busy, with cameras and Redis on it, too. A
window costs less where more of them wait (batches are cheaper), so 70 % of the most windows per
second of which none is dropped keep the CPUs busy for more than 70 % of the time, and 70 % of what
a flood gets done for nearly all of it: both are measured, too. A bare pass of the default network
takes a few milliseconds, and the way through processes, disk and Redis as many again; one of the
published 50-f8x2 (seeded weights), hundreds.

The clock starts when the picture has left the decoder (``arrived_s`` of the event) and stops when a
reader of the stream has the event: so all of the way is in it, and a little more. Every window
gives an event, through the durable outbox. The bare pass is ``recognizer.network`` on one window,
in one thread, in a loop: measured before the deployment starts, in between and after it ended, the
median of all. The pipeline itself scores with the network's engine, which is faster; what is
printed behind each ratio is the same over a bare pass of the engine, bytes to scores.
"""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import cast

import redis

from actors.cluster import cluster
from benchmarks.cameras import Deployment, Stretch, deployment, out_of_phase, private_redis
from benchmarks.measure import camera_host, h264, verdict, windows_of
from benchmarks.outbox import busy_config
from benchmarks.recognizer import network_of, published
from pipeline.broker import open_broker
from pipeline.config import Config, ModelConfig, SamplingConfig
from pipeline.cpus import usable_cpus
from pipeline.model import Recognizer, load_from, share_cpu
from pipeline.wire import events_key, from_fields

HOP = 2  # windows as often as they may come
CAMERAS = 16
LOAD = 0.7
PICTURES = range(20, 31)  # per second, of a camera
PER_WINDOW = range(1, 200)
NEAR = 0.03  # to that load, in the share of the time
TRIES = 6  # for it
FLOOD = 3.0  # times as many windows as there is time for
STEADY = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)  # of what a flood gets done
ONE = 0.2  # of the time, a camera alone has a window under way: the next comes long after its event
WARM_S = 5.0
BARE_S = 3.0


class Bare:
    """Forward passes of one window, with nothing around them."""

    def __init__(self, recognizer: Recognizer, model: ModelConfig) -> None:
        self._recognizer = recognizer
        self._window = windows_of(h264(640, 360, seconds=20), Config(model=model))[:1]
        self._network_ms: list[float] = []
        self._engine_ms: list[float] = []

    @property
    def network_ms(self) -> float:
        """Of ``recognizer.network``, frames to logits: the median of all."""
        return median(self._network_ms)

    @property
    def engine_ms(self) -> float:
        """As the pipeline scores, bytes to scores."""
        return median(self._engine_ms)

    def measure(self) -> None:
        """Some more passes of both."""
        share_cpu(1)
        self._network_ms += _times_ms(network_of(self._recognizer, self._window))
        self._engine_ms += _times_ms(lambda: self._recognizer.answers(self._window))


def _times_ms(work: Callable[[], object]) -> list[float]:
    work()
    took: list[float] = []
    while sum(took) < 1000 * BARE_S:
        began_s = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began_s))
    return took


class Reader:
    """Reads events as they come, and notes how old each was."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._came: list[tuple[float, dict[str, str]]] = []
        self._stop = Event()
        self._thread = Thread(target=self._read)

    def take_ms(self) -> list[float]:
        """Ages of the events since the last call, in milliseconds."""
        came, self._came = self._came, []
        ages = []
        for at_s, fields in came:
            event = from_fields(fields)
            if event.latency_ms is not None and event.published_at is not None:
                ages.append(event.latency_ms + 1000 * (at_s - event.published_at))
        return ages

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        last = "$"
        while not self._stop.is_set():
            reply = self._client.xread({events_key(): last}, block=500)
            at_s = time.time()
            for _, entries in cast("list[tuple[str, list[tuple[str, dict[str, str]]]]]", reply):
                self._came += [(at_s, fields) for _, fields in entries]
                last = entries[-1][0]


@contextmanager
def observed(
    recognizer: Recognizer, model: ModelConfig | None = None
) -> Iterator[tuple[Deployment, Reader]]:
    """A deployment whose every window gives an event, and a reader of its Redis."""
    with private_redis() as where:
        events = busy_config(recognizer.spec.labels).events
        config = Config(
            model=model or ModelConfig(),
            redis=where,
            sampling=SamplingConfig(hop=HOP),
            events=events,
        )
        with (
            open_broker(where) as broker,
            deployment(config, recognizer) as it,
            Reader(broker.client) as reader,
        ):
            yield it, reader


def pace(rate: float, cameras: int) -> tuple[int, int]:
    """Pictures per second of a camera, and pictures per window, for about so many windows/s."""
    paces = [(fps, each) for fps in PICTURES for each in PER_WINDOW]
    return min(paces, key=lambda pace: abs(cameras * pace[0] / pace[1] - rate))


def ages_ms(
    it: Deployment, reader: Reader, *, cameras: int, rate: float, length_s: float
) -> tuple[list[float], Stretch]:
    """Ages of events with so many cameras and windows per second, and what was done."""
    fps, each = pace(rate, cameras)
    with camera_host(h264(640, 360, seconds=10, fps=fps, camera=True)) as host:
        every_s = each / fps
        sources = out_of_phase(host, cameras, sample_fps=HOP / every_s, every_s=every_s)
        it.attach(sources)
        it.during(min(WARM_S, length_s))
        reader.take_ms()
        stretch = it.during(length_s)
        ages = reader.take_ms()
        if broken := it.detach(sources):
            raise RuntimeError(f"laws are broken: {broken}")
    print(
        f"     {cameras} cameras of {fps} pictures/s, {each} per window: "
        f"{stretch.rate(lambda t: t.scored):.0f} windows/s scored at {stretch.load:.0%} load, "
        f"dropped {dict(stretch.dropped()) or 'none'}, {len(ages)} events; decode p99 "
        f"{1000 * stretch.decode().quantile_s(0.99):.1f} ms; of the stages, in ms on average: "
        + ", ".join(f"{name} {mean:.2f}" for name, mean in stretch.stages_ms().items())
    )
    return ages, stretch


def judged(name: str, ages: list[float], bare: Bare, at_most: float) -> bool:
    """Print one line; was the promise kept?"""
    p99 = quantiles(ages, n=100)[98]
    detail = (
        f"p50 {median(ages):.1f}, p99 {p99:.1f} ms of {bare.network_ms:.1f} ms bare; "
        f"{p99 / bare.engine_ms:.2f} of the engine's {bare.engine_ms:.1f} ms"
    )
    return verdict(name, p99 / bare.network_ms, at_most, detail, most=True)


def measure(model: ModelConfig, length_s: float) -> bool:
    """Of one network; were the promises kept?"""
    recognizer = load_from(model)
    bare = Bare(recognizer, model)
    bare.measure()
    most = 1000 / bare.engine_ms  # windows per second and core

    with cluster(), observed(recognizer, model) as (it, reader):

        def at(rate: float, length_s: float, cameras: int = CAMERAS) -> tuple[list[float], Stretch]:
            return ages_ms(it, reader, cameras=cameras, rate=rate, length_s=length_s)

        one, _ = at(ONE * most, length_s, cameras=1)
        bare.measure()
        _, flood = at(FLOOD * most * usable_cpus(), length_s / 3)
        flooded = steady = flood.rate(lambda t: t.scored)
        for share in STEADY:
            _, tried = at(share * flooded, length_s / 3)
            steady = tried.rate(lambda t: t.scored)
            if not tried.dropped():
                break
        rate = LOAD * steady
        for _ in range(TRIES):
            _, tried = at(rate, length_s / 3)
            if abs(tried.load - LOAD) <= NEAR:
                break
            rate *= LOAD / tried.load
        loaded, stretch = at(rate, length_s)
        bare.measure()
        many, _ = at(LOAD * steady, length_s)
        bare.measure()
        more, _ = at(LOAD * flooded, length_s)
    bare.measure()
    name = f"picture to Redis, {recognizer.spec.name}"
    many_name = f"{name}, {CAMERAS} cameras at"
    kept = [
        judged(f"{name}, 1 camera", one, bare, 2),
        judged(f"{many_name} {stretch.load:.0%} load", loaded, bare, 6),
        judged(f"{many_name} {LOAD:.0%} of {steady:.0f} windows/s without a drop", many, bare, 6),
        judged(f"{many_name} {LOAD:.0%} of {flooded:.0f} windows/s in a flood", more, bare, 6),
    ]
    return all(kept)


def main() -> bool:
    """Measure; were the promises kept?"""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--network", choices=("default", "published"), default="default")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        network = options.network
        path = network if network == "default" else str(published(Path(folder)))
        return measure(ModelConfig(path=path, device="cpu"), options.seconds)


if __name__ == "__main__":
    sys.exit(not main())
