"""Batches of as many windows as pay, whatever a window costs, and though machines change."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from pipeline.batch_size import PROBE_EVERY, BatchSize


def made(size: BatchSize, took_s: Callable[[int], float], *, batches: int) -> Counter[int]:
    """Batches by their size, where there are always enough windows."""
    sizes: Counter[int] = Counter()
    for _ in range(batches):
        windows = size.most
        sizes[windows] += 1
        size.learn(windows, took_s(windows))
    return sizes


@pytest.mark.parametrize(
    ("took_s", "cheapest"),
    [
        (lambda n: 0.005 + 0.003 * n, 8),  # a small network: the start of a pass costs most
        (lambda n: 0.7 * n**1.2, 1),  # a large one: its windows take each other's caches
        (lambda n: 0.01 + 0.03 * n + 0.0015 * n * n, 2),
    ],
)
def test_most_batches_are_of_the_cheapest_size(
    took_s: Callable[[int], float], cheapest: int
) -> None:
    size, noise = BatchSize(8), random.Random(1)
    made(size, took_s, batches=100)
    counts = made(size, lambda n: took_s(n) * noise.uniform(1, 1.02), batches=100 * PROBE_EVERY)
    assert counts[cheapest] > 90 * PROBE_EVERY
    assert max(counts) <= 8


def test_a_first_pass_that_takes_long_is_forgotten() -> None:
    size = BatchSize(8)
    size.learn(1, 3.0)
    made(size, lambda n: 0.7 * n**1.2, batches=2 * PROBE_EVERY + 2)
    assert size.most == 1


def test_it_follows_when_another_size_becomes_the_cheapest() -> None:
    size = BatchSize(8)
    made(size, lambda n: 0.005 + 0.003 * n, batches=100)
    assert size.most == 8
    made(size, lambda n: 0.01 * n**1.5, batches=20 * PROBE_EVERY)
    counts = made(size, lambda n: 0.01 * n**1.5, batches=10 * PROBE_EVERY)
    assert counts[1] > 9 * PROBE_EVERY


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, {1}), (2, {1, 2}), (6, {1, 2, 4, 6}), (8, {1, 2, 4, 8})]
)
def test_no_batch_is_larger_than_was_asked_for(most: int, sizes: set[int]) -> None:
    assert set(made(BatchSize(most), lambda n: 1.0, batches=10 * PROBE_EVERY)) == sizes


def test_a_probe_that_finds_no_company_is_over() -> None:
    size = BatchSize(8)
    made(size, lambda n: 0.02 * n**1.5, batches=PROBE_EVERY)
    for _ in range(20 * PROBE_EVERY):
        size.learn(1, 0.02)
    assert size.most in (1, 2)
    size.learn(1, 0.02)
    made(size, lambda n: 0.005 + 0.003 * n, batches=200)
    for _ in range(20 * PROBE_EVERY):
        size.learn(3, 0.014)
    assert size.most == 8


def test_when_everything_becomes_slower_the_size_is_soon_the_same_again() -> None:
    size = BatchSize(8)
    made(size, lambda n: 0.005 + 0.003 * n, batches=200)
    counts = made(size, lambda n: 2 * (0.005 + 0.003 * n), batches=10 * PROBE_EVERY)
    assert counts[8] > 7 * PROBE_EVERY


def test_batches_that_are_not_full_are_learned_from_and_change_nothing() -> None:
    size = BatchSize(8)
    made(size, lambda n: 0.005 + 0.003 * n, batches=10)
    for windows in (1, 3, 5) * 50:
        size.learn(windows, 0.005 + 0.003 * windows)
    assert size.most == 8
