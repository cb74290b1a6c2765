"""Windows per second through the recognizer actor, over the same network in a tight loop.

Both use every core: the actor with a worker per core, called as a camera actor per core would for
eight streams of two unanswered windows each; the loop with a thread per core, each on batches of
the size that the actor saw. Both are measured in the same way, in the middle of a run that keeps
them busy. Once with the small default network, whose windows take a few milliseconds, and once with
the published 50-f8x2 (seeded weights), whose windows take most of a second.

The ratio of rates is the promise, and means little where other programs use the machine: the side
with more threads then gets more of it. The ratio of CPU times (the actor's with this process and
all of Ray's, the loop's alone) moves less; where nothing else runs, the two should agree.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import ray
import torch

from actors.camera import CALLS, calls_to
from actors.cluster import cluster
from actors.recognizer import Recognizer as RecognizerActor
from benchmarks.measure import Answer, cpu_seconds, h264, steady_rate, verdict, windows_of
from pipeline.config import Config, ModelConfig, RecognizerConfig
from pipeline.lane import UNANSWERED
from pipeline.model import (
    Architecture,
    ModelSpec,
    Recognizer,
    build,
    load,
    save_bundle,
    share_cpu,
)
from pipeline.run import usable_cpus

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
class Round:
    """What one side did with its turn."""

    rate: float
    """Windows per second."""
    cost_ms: float
    """CPU time per window."""


def one_round(
    start: Callable[[], Future[Answer]], *, size: int, count: int, cpu_s: Callable[[], float]
) -> Round:
    """``count`` windows, of which ``start`` begins ``size`` at a time."""
    before_s = cpu_s()
    rate = steady_rate(start, size=size, at_once=STREAMS * UNANSWERED, count=count)
    return Round(rate=rate, cost_ms=1000 * (cpu_s() - before_s) / count)


def measure(path: str, *, count: int, rounds: int) -> bool:
    """Of one network, over so many windows a round; was the promise kept?"""
    network = load(path, device="cpu")
    windows = cycle(windows_of(h264(640, 360, seconds=20), Config(model=ModelConfig(path=path))))
    cameras = usable_cpus()
    share_cpu(1)
    actor = (
        ray.remote(RecognizerActor)
        .options(max_concurrency=CALLS * cameras + 1, num_cpus=0)
        .remote(ModelConfig(path=path, device="cpu"), RecognizerConfig(batch_size=BATCH))
    )
    ray.get(actor.ready.remote())
    calls = [calls_to(actor, BATCH) for _ in range(cameras)]
    turn = cycle(calls)

    def through_actor() -> Round:
        start = lambda: next(turn).submit(next(windows))  # noqa: E731
        return one_round(start, size=1, count=count, cpu_s=cpu_seconds)

    through_actor()
    size = round(ray.get(actor.mean_batch.remote()))
    with ThreadPoolExecutor(usable_cpus()) as pool:

        def tight_loop() -> Round:
            start = lambda: pool.submit(network.scores, list(islice(windows, size)))  # noqa: E731
            return one_round(start, size=size, count=count, cpu_s=time.process_time)

        turns = [(through_actor(), tight_loop()) for _ in range(rounds + 1)][1:]
    ray.kill(actor)
    ratio = median(ours.rate / bare.rate for ours, bare in turns)
    detail = (
        f"{median(ours.rate for ours, _ in turns):.1f} of "
        f"{median(bare.rate for _, bare in turns):.1f} windows/s, batches of {size}, "
        f"{sum(each.windows for each in calls) / sum(each.batches for each in calls):.1f} windows "
        f"per call; in CPU time {median(bare.cost_ms / ours.cost_ms for ours, bare in turns):.2f}: "
        f"{median(bare.cost_ms for _, bare in turns):.2f} of "
        f"{median(ours.cost_ms for ours, _ in turns):.2f} ms per window"
    )
    return verdict(f"recognizer actor, {network.spec.name}", ratio, 0.9, detail)


def main() -> bool:
    """Measure both networks; were all promises kept?"""
    with cluster(), TemporaryDirectory() as folder:
        kept = [
            measure("default", count=400, rounds=9),
            measure(str(published(Path(folder))), count=80, rounds=3),
        ]
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
