"""Windows per second in batches that adapt, over batches of eight.

``python -m benchmarks.batches``: 32 windows are asked for at any time, as in an overload, of a
worker on each core. With the default network, of which eight together are cheapest, and with the
published 50-f8x2 (seeded weights), of which each alone is; in turn, medians.
"""

import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import h264, in_turn, verdict, windows_of
from benchmarks.recognizer import published
from pipeline.batcher import Batcher
from pipeline.config import Config, ModelConfig
from pipeline.cpus import usable_cpus
from pipeline.model import load, share_cpu
from pipeline.records import Scores, Window

BATCH = 8
WAITING = 4 * BATCH  # two of each of sixteen streams
NO_SLOWER = 0.95  # of two equal sides, one is now and then


def rate(batcher: Batcher[Window, Scores], windows: Sequence[Window], length_s: float) -> float:
    """Windows per second, with so many waiting at any time."""
    waiting = [batcher.submit(window) for window in islice(cycle(windows), WAITING)]
    began_s, count = time.monotonic(), 0
    for window in cycle(windows):
        waiting.pop(0).result()
        count += 1
        if time.monotonic() - began_s >= length_s:
            break
        waiting.append(batcher.submit(window))
    took_s = time.monotonic() - began_s
    for answer in waiting:  # or they would be computed in the other's turn
        answer.result()
    return count / took_s


def measure(path: str, *, length_s: float, rounds: int) -> bool:
    """Of one network; was the promise kept?"""
    recognizer = load(path, device="cpu")
    windows = windows_of(h264(640, 360, seconds=20), Config(model=ModelConfig(path=path)))
    share_cpu(1)
    workers = usable_cpus()
    with (
        Batcher(recognizer.scores, batch_size=BATCH, workers=workers, adapts=True) as ours,
        Batcher(recognizer.scores, batch_size=BATCH, workers=workers) as eight,
    ):
        adapted, fixed = in_turn(
            lambda: rate(ours, windows, length_s),
            lambda: rate(eight, windows, length_s),
            rounds=rounds,
        )
        by_size = dict(sorted(ours.sizes.items()))
        detail = f"{adapted:.1f} of {fixed:.1f} windows/s; batches by size: {by_size}"
    name = f"batches that adapt over those of {BATCH}, {recognizer.spec.name}"
    return verdict(name, adapted / fixed, NO_SLOWER, detail)


def main() -> bool:
    """Measure both networks; were the promises kept?"""
    with TemporaryDirectory() as folder:
        kept = [
            measure("default", length_s=4, rounds=7),
            measure(str(published(Path(folder))), length_s=20, rounds=3),
        ]
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
