"""Windows per second through the recognizer actor, over the same network in a tight loop.

Both use every core: the actor with a worker per core, fed by eight streams of two unanswered
windows each; the loop with as many threads, each on batches of the size that the actor saw.
"""

import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import ray

from actors.cluster import cluster
from actors.recognizer import Recognizer as RecognizerActor
from benchmarks.measure import h264, in_turn, seconds, verdict, windows_of
from pipeline.config import ModelConfig, RecognizerConfig
from pipeline.lane import UNANSWERED
from pipeline.model import load, share_cpu
from pipeline.run import usable_cpus

WINDOWS = 400
STREAMS = 8
BATCH = 8


def main() -> bool:
    """Measure; was the promise kept?"""
    windows = list(islice(cycle(windows_of(h264(640, 360, seconds=20))), WINDOWS))
    network = load("default", device="cpu")
    share_cpu(1)
    with cluster(), ThreadPoolExecutor(usable_cpus()) as pool:
        actor = (
            ray.remote(RecognizerActor)
            .options(max_concurrency=1000, num_cpus=0)
            .remote(ModelConfig(device="cpu"), RecognizerConfig(batch_size=BATCH))
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
            batches = [windows[n : n + size] for n in range(0, WINDOWS, size)]
            list(pool.map(network.scores, batches))

        through_actor()
        size = max(1, round(ray.get(actor.mean_batch.remote())))
        rate_actor, rate_loop = in_turn(
            lambda: WINDOWS / seconds(through_actor),
            lambda: WINDOWS / seconds(lambda: tight_loop(size)),
        )
    detail = f"{rate_actor:.0f} of {rate_loop:.0f} windows/s, batches of {size}"
    return verdict("recognizer actor", rate_actor / rate_loop, 0.9, detail)


if __name__ == "__main__":
    sys.exit(not main())
