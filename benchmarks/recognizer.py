"""Windows per second through the recognizer actor, over the same network in a tight loop.

Both use every core: the actor with a worker per core, fed by eight streams of two unanswered
windows each; the loop with as many threads, each on batches of the size that the actor saw. Once
with the small default network, whose windows take a few milliseconds, and once with the published
50-f8x2 (seeded weights), whose windows take most of a second.
"""

import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
import torch

from actors.cluster import cluster
from actors.recognizer import Recognizer as RecognizerActor
from benchmarks.measure import h264, in_turn, seconds, verdict, windows_of
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
    """Of one network; was the promise kept?"""
    network = load(path, device="cpu")
    made = windows_of(h264(640, 360, seconds=20), Config(model=ModelConfig(path=path)))
    windows = list(islice(cycle(made), count))
    share_cpu(1)
    with ThreadPoolExecutor(usable_cpus()) as pool:
        actor = (
            ray.remote(RecognizerActor)
            .options(max_concurrency=STREAMS * UNANSWERED + 1, num_cpus=0)
            .remote(ModelConfig(path=path, device="cpu"), RecognizerConfig(batch_size=BATCH))
        )
        ray.get(actor.ready.remote())

        def through_actor() -> None:
            unanswered: deque[ray.ObjectRef[object]] = deque()
            for window in windows:
                if len(unanswered) == STREAMS * UNANSWERED:
                    ray.get(unanswered.popleft())
                unanswered.append(actor.scores.remote(window))
            ray.get(list(unanswered))

        def tight_loop(size: int) -> None:
            batches = [windows[n : n + size] for n in range(0, count, size)]
            list(pool.map(network.scores, batches))

        through_actor()
        size = max(1, round(ray.get(actor.mean_batch.remote())))
        rate_actor, rate_loop = in_turn(
            lambda: count / seconds(through_actor),
            lambda: count / seconds(lambda: tight_loop(size)),
            rounds=ROUNDS,
        )
        ray.kill(actor)
    detail = f"{rate_actor:.1f} of {rate_loop:.1f} windows/s, batches of {size}"
    return verdict(f"recognizer actor, {network.spec.name}", rate_actor / rate_loop, 0.9, detail)


def main() -> bool:
    """Measure both networks; were all promises kept?"""
    with cluster(), TemporaryDirectory() as folder:
        kept = [measure("default", 400), measure(str(published(Path(folder))), 32)]
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
