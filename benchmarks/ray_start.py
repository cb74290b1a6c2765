"""A local Ray with one actor, from its start to its end: as ours is, over as Ray's own is.

``python -m benchmarks.ray_start``. Ours does without autoscaler, log reader and API server; see
docs/decisions/0003-ray-on-loopback.md.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import ray

from actors import cluster as ours
from benchmarks.measure import in_turn, seconds, verdict

LEAN = ours._without_company


class Idle:
    """An actor that does nothing."""

    def ready(self) -> bool:
        """It runs."""
        return True


def run() -> None:
    """One Ray."""
    with ours.cluster():
        actor = ray.remote(Idle).remote()
        assert ray.get(actor.ready.remote())


def took(company: Callable[[], AbstractContextManager[None]]) -> float:
    """Seconds of a Ray with, or without, what it brings along."""
    with patch.object(ours, "_without_company", company):
        return seconds(run)


def main() -> bool:
    """Measure; is it faster?"""
    lean_s, whole_s = in_turn(lambda: took(LEAN), lambda: took(nullcontext), rounds=3)
    detail = f"{lean_s:.1f} of {whole_s:.1f} s, with one actor"
    return verdict("a local Ray from start to end", lean_s / whole_s, 0.75, detail, most=True)


if __name__ == "__main__":
    sys.exit(not main())
