"""Windows per second through the recognizer actor, over the same network in a tight loop.

Both use every core: the actor with a worker per core, called as a camera actor per core would for
eight streams of two unanswered windows each; the loop with a thread per core, each on batches of
the size that the actor saw. Both are measured in the same way, in the middle of a run that keeps
them busy. Once with the small default network, whose windows take a few milliseconds, and once with
the published 50-f8x2 (seeded weights), whose windows take most of a second.

CPU time is that of every process: what it says of the cost holds on a busy machine, too.
"""

import statistics
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
import torch

from actors.camera import CALLS, calls_to
from actors.cluster import cluster
from actors.recognizer import Recognizer as RecognizerActor
from benchmarks.measure import Answer, cpu_seconds, h264, in_turn, steady_rate, verdict, windows_of
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
ROUNDS = 3


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


def measure(path: str, count: int) -> bool:
    """Of one network, over so many windows a round; was the promise kept?"""
    network = load(path, device="cpu")
    windows = windows_of(h264(640, 360, seconds=20), Config(model=ModelConfig(path=path)))
    cameras = usable_cpus()
    share_cpu(1)
    actor = (
        ray.remote(RecognizerActor)
        .options(max_concurrency=CALLS * cameras + 1, num_cpus=0)
        .remote(ModelConfig(path=path, device="cpu"), RecognizerConfig(batch_size=BATCH))
    )
    ray.get(actor.ready.remote())
    calls = [calls_to(actor, BATCH) for _ in range(cameras)]
    turn, endless = cycle(calls), cycle(windows)
    costs: dict[str, list[float]] = {"actor": [], "loop": []}

    def rate(name: str, start: Callable[[], Future[Answer]], size: int) -> float:
        before_s = cpu_seconds()
        found = steady_rate(start, size=size, at_once=STREAMS * UNANSWERED, count=count)
        costs[name].append(1000 * (cpu_seconds() - before_s) / count)
        return found

    def through_actor() -> float:
        return rate("actor", lambda: next(turn).submit(next(endless)), 1)

    through_actor()
    size = round(ray.get(actor.mean_batch.remote()))
    with ThreadPoolExecutor(usable_cpus()) as pool:

        def tight_loop() -> float:
            batch = [next(endless) for _ in range(size)]
            return rate("loop", lambda: pool.submit(network.scores, batch), size)

        rate_actor, rate_loop = in_turn(through_actor, tight_loop, rounds=ROUNDS)
    ray.kill(actor)
    per_call = sum(each.windows for each in calls) / sum(each.batches for each in calls)
    cost_actor, cost_loop = (statistics.median(costs[name][-ROUNDS:]) for name in costs)
    detail = (
        f"{rate_actor:.1f} of {rate_loop:.1f} windows/s, batches of {size}, {per_call:.1f} windows "
        f"per call; CPU {cost_loop:.1f} of {cost_actor:.1f} ms per window"
    )
    return verdict(f"recognizer actor, {network.spec.name}", rate_actor / rate_loop, 0.9, detail)


def main() -> bool:
    """Measure both networks; were all promises kept?"""
    with cluster(), TemporaryDirectory() as folder:
        kept = [measure("default", 600), measure(str(published(Path(folder))), 80)]
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
