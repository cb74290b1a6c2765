"""Windows per second through the recognizer actor, over the same network in a tight loop.

Both use every core: the actor with a worker per core, called as a camera actor per core would for
eight streams, each with its lane of two unanswered windows; the loop with a thread per core, each
on batches of the size that the actor saw. Both are measured in the same way, in the middle of a run
that keeps them busy. Once with the small default network, whose windows take a few milliseconds,
and once with the published 50-f8x2 (seeded weights), whose windows take most of a second.

The loop runs ``recognizer.network``, frames to logits. The actor scores with the network's engine,
which is faster, so what it costs to have an actor is told by the second loop, of the engine.

The ratio of rates is the promise, and means little where other programs use the machine: the side
with more threads then gets more of it. The ratio of CPU times (the actor's with this process and
all of Ray's, the loop's alone) moves less; where nothing else runs, the two should agree.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import ray
import torch
from torch import Tensor

from actors.calls import CALLS, Calls
from actors.cluster import cluster
from actors.recognizer import Recognizer as RecognizerActor
from benchmarks.measure import cpu_seconds, h264, middle_rate, verdict, windows_of
from pipeline.config import Config, ModelConfig, RecognizerConfig
from pipeline.cpus import usable_cpus
from pipeline.lane import UNANSWERED, Lane
from pipeline.model import (
    Architecture,
    ModelSpec,
    Recognizer,
    build,
    load,
    save_bundle,
    share_cpu,
)
from pipeline.records import Window
from pipeline.tally import Tally

STREAMS = 8
BATCH = 8


def published(folder: Path) -> Path:
    """A bundle of bLVNet-TAM 50-f8x2 with seeded weights."""
    torch.manual_seed(0)
    architecture = Architecture(frames=16, classes=174)
    labels = tuple(f"class_{n}" for n in range(174))
    spec = ModelSpec(name="50-f8x2, seeded", architecture=architecture, labels=labels)
    network = build(architecture)
    path = folder / "50-f8x2.safetensors"
    save_bundle(Recognizer(network, spec, "", torch.device("cpu")), path)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one side did in its turn."""

    rate: float
    """Windows per second."""
    cost_ms: float
    """CPU time per window."""


def turn(work: Callable[[], list[float]], cpu_s: Callable[[], float]) -> Turn:
    """``work`` gives the time of every answer."""
    before_s = cpu_s()
    times_s = work()
    cost_ms = 1000 * (cpu_s() - before_s) / len(times_s)
    return Turn(rate=middle_rate(sorted(times_s), STREAMS * UNANSWERED), cost_ms=cost_ms)


def through_lanes(calls: Sequence[Calls], windows: Sequence[Window]) -> list[float]:
    """When each of these windows was answered, for every stream, as camera actors would ask."""
    lanes = [Lane(calls[n % len(calls)].submit, live=False, tally=Tally()) for n in range(STREAMS)]
    times_s: list[float] = []

    def feed(lane: Lane) -> None:
        for window in windows:
            lane.push(window)
        lane.close()

    def read(lane: Lane) -> None:
        for _ in lane:
            times_s.append(time.perf_counter())

    with ThreadPoolExecutor(2 * STREAMS) as pool:
        feeding = [pool.submit(feed, lane) for lane in lanes]
        reading = [pool.submit(read, lane) for lane in lanes]
        for thread in (*reading, *feeding):
            thread.result()
    return times_s


def in_a_loop(score: Callable[[], object], size: int, windows: int) -> list[float]:
    """The same, in batches of so many, without anything around it; a thread per core."""

    def one(_: int) -> list[float]:
        score()
        return [time.perf_counter()] * size

    with ThreadPoolExecutor(usable_cpus()) as pool:
        batches = range(windows // size)
        return [time_s for times_s in pool.map(one, batches) for time_s in times_s]


def network_of(recognizer: Recognizer, batch: Sequence[Window]) -> Callable[[], Tensor]:
    """One pass of the network, as ``load`` gives it, on a batch: its logits."""
    little, big = recognizer.inputs(batch)

    @torch.inference_mode()
    def score() -> Tensor:
        return recognizer.network.forward_pairs(little, big)

    return score


def measure(path: str, *, per_stream: int, rounds: int) -> bool:
    """Of one network, over so many windows of each stream a round; was the promise kept?"""
    network = load(path, device="cpu")
    made = windows_of(h264(640, 360, seconds=20), Config(model=ModelConfig(path=path)))
    windows = list(islice(cycle(made), per_stream))
    cameras = usable_cpus()
    share_cpu(1)
    actor = (
        ray.remote(RecognizerActor)
        .options(max_concurrency=CALLS * cameras + 1, num_cpus=0)
        .remote(
            ModelConfig(path=path, device="cpu"),
            RecognizerConfig(batch_size=BATCH),
            digest=network.digest,
        )
    )
    ray.get(actor.ready.remote())
    calls = [Calls(actor, BATCH) for _ in range(cameras)]
    through_lanes(calls, windows)  # warm
    turns: list[tuple[Turn, ...]] = []
    for _ in range(rounds):
        ours = turn(lambda: through_lanes(calls, windows), cpu_seconds)
        size = round(ray.get(actor.mean_batch.remote()))
        loops = (
            turn(partial(in_a_loop, score, size, STREAMS * per_stream), time.process_time)
            for score in (
                network_of(network, windows[:size]),
                partial(network.answers, windows[:size]),
            )
        )
        turns.append((ours, *loops))
    ray.kill(actor)
    actors, bare, engine = zip(*turns, strict=True)
    detail = (
        f"{_rate(actors):.1f} of {_rate(bare):.1f} windows/s, batches of {size}, "
        f"{sum(each.windows for each in calls) / sum(each.batches for each in calls):.1f} windows "
        f"per call; over a loop of the engine {_over(actors, engine):.2f}, of "
        f"{_rate(engine):.1f} windows/s; in CPU time "
        f"{median(e.cost_ms / a.cost_ms for a, e in zip(actors, engine, strict=True)):.2f}: "
        f"{median(e.cost_ms for e in engine):.2f} of "
        f"{median(a.cost_ms for a in actors):.2f} ms per window"
    )
    return verdict(f"recognizer actor, {network.spec.name}", _over(actors, bare), 0.9, detail)


def _rate(turns: Sequence[Turn]) -> float:
    return median(each.rate for each in turns)


def _over(ours: Sequence[Turn], others: Sequence[Turn]) -> float:
    return median(a.rate / b.rate for a, b in zip(ours, others, strict=True))


def main() -> bool:
    """Measure both networks; were all promises kept?"""
    with cluster(), TemporaryDirectory() as folder:
        kept = [
            measure("default", per_stream=50, rounds=9),
            measure(str(published(Path(folder))), per_stream=10, rounds=3),
        ]
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
