"""Milliseconds of one pass, by the network as ``load`` gives it and by its engine.

``python -m benchmarks.engine``: for the default network and the published 50-f8x2 (seeded weights),
in batches of one and of eight, one thread; in turn, medians. No promise is made of it but that the
engine isn't slower, and says the same to 1e-4.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmarks.measure import h264, seconds, verdict, windows_of
from benchmarks.recognizer import network_of, published
from pipeline.config import Config, ModelConfig
from pipeline.model import load, share_cpu

BATCHES = (1, 8)
NO_SLOWER = 0.95  # of two equal sides, one is now and then


def measure(path: str, *, passes: int, rounds: int) -> bool:
    """Of one network, so many passes a round; were the promises kept?"""
    recognizer = load(path, device="cpu")
    made = windows_of(h264(640, 360, seconds=20), Config(model=ModelConfig(path=path)))
    share_cpu(1)
    kept = []
    for size in BATCHES:
        windows = made[:size]
        plain, engine = network_of(recognizer, windows), partial(recognizer.answers, windows)
        logits_NK = plain()
        for scores_K, answer in zip(logits_NK.softmax(dim=1), engine(), strict=True):
            assert (scores_K - torch.from_numpy(answer.scores_K)).abs().max() < 1e-4
        turns = [(_ms(plain, passes), _ms(engine, passes)) for _ in range(rounds)]
        ratio = median(plain_ms / engine_ms for plain_ms, engine_ms in turns)
        detail = (
            f"{median(ms for ms, _ in turns):.1f} and {median(ms for _, ms in turns):.1f} ms a pass"
        )
        name = f"network over engine, {recognizer.spec.name}, {size} windows"
        kept.append(verdict(name, ratio, NO_SLOWER, detail))
    return all(kept)


def _ms(work: Callable[[], object], passes: int) -> float:
    return 1000 * median(seconds(work) for _ in range(passes))


def main() -> bool:
    """Measure both networks; were all promises kept?"""
    with TemporaryDirectory() as folder:
        kept = [
            measure("default", passes=30, rounds=15),
            measure(str(published(Path(folder))), passes=1, rounds=3),
        ]
    return all(kept)


if __name__ == "__main__":
    sys.exit(not main())
