"""Sixteen cameras at 5 samples/s with the default network: ``python -m benchmarks.many_cameras``.

They are of 640x360 at 25 pictures/s. Nothing may be dropped, each camera is sampled at its rate
within 2 %, and no process grows. ``--minutes 10``, ``--cameras 16``.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator

from actors.cluster import cluster
from actors.seen import Seen
from benchmarks.cameras import Stretch, deployment, out_of_phase, private_redis
from benchmarks.measure import camera_host, h264
from pipeline.config import Config
from pipeline.model import Recognizer, load
from pipeline.settle import settle

SAMPLE_FPS = 5
RATE_TOLERANCE = 0.02
WARM_S = 10.0
MAX_GROWTH = 0.1  # of a process, over ten minutes: buffers and allocators fill up first


def observed(
    recognizer: Recognizer, host: str, *, cameras: int, length_s: float, warm_s: float = WARM_S
) -> tuple[Stretch, list[str]]:
    """Let them work for so long; and the laws that their counts break at the end."""
    with private_redis() as redis:
        config = Config(redis=redis)
        every_s = settle(config, recognizer.spec).window.hop / SAMPLE_FPS
        sources = out_of_phase(host, cameras, sample_fps=SAMPLE_FPS, every_s=every_s)
        with deployment(config, recognizer) as it:
            it.attach(sources)
            it.during(warm_s)
            stretch = it.during(length_s)
            return stretch, it.detach(sources)


def lines(stretch: Stretch) -> Iterator[str]:
    """What is worth knowing, for people."""
    scored, made = stretch.rate(lambda t: t.scored), stretch.rate(lambda t: t.windows)
    dropped = {**stretch.dropped()}
    yield f"{scored:.1f} of {made:.1f} windows/s scored, dropped {dropped or 'none'}"
    packets = sum(stretch.of(lambda t: t.packets_dropped.total()).values())
    pictures = sum(stretch.of(lambda t: t.dropped.total()).values())
    reconnects = sum(stretch.of(lambda t: t.reconnects).values())
    yield f"dropped: {packets} packets, {pictures} pictures; {reconnects} reconnects"
    for name, took in (("decode", stretch.decode()), ("end to end", stretch.end_to_end())):
        p50, p95, p99 = (1000 * took.quantile_s(share) for share in (0.5, 0.95, 0.99))
        yield f"{name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"
    before, after = (memory(moment.seen) for moment in (stretch.first, stretch.last))
    for part in after:
        yield f"{part}: {before.get(part, 0):.0f} MiB, then {after[part]:.0f} MiB"


def memory(seen: Seen) -> dict[str, float]:
    """Resident MiB, by process."""
    found = {"supervisor": seen.process} | {
        part.name.rpartition("/")[2]: part.answer.process for part in seen.parts if part.answer
    }
    return {name: one.resident_bytes / 2**20 for name, one in found.items() if one}


def grown(stretch: Stretch) -> float:
    """How much the process grew that grew most, as a share."""
    before, after = (memory(moment.seen) for moment in (stretch.first, stretch.last))
    return max(after[part] / before[part] - 1 for part in after if part in before)


def main() -> bool:
    """Measure; were the promises kept?"""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--cameras", type=int, default=16)
    options = parser.parse_args()
    recognizer = load("default", device="cpu")
    with cluster(), camera_host(h264(640, 360, seconds=10, camera=True)) as host:
        stretch, broken = observed(
            recognizer, host, cameras=options.cameras, length_s=60 * options.minutes
        )
    for line in [*lines(stretch), *broken]:
        print(f"     {line}")
    each = stretch.rates(lambda t: t.points).values()
    kept = {
        "laws hold": not broken,
        "nothing dropped": not stretch.dropped().total(),
        "rates": all(abs(rate / SAMPLE_FPS - 1) <= RATE_TOLERANCE for rate in each),
        "memory": grown(stretch) <= MAX_GROWTH,
    }
    print(f"     samples/s per camera: {min(each):.3f} to {max(each):.3f}")
    for name, good in kept.items():
        print(f"{'ok  ' if good else 'LOW '} {options.cameras} cameras: {name}")
    return all(kept.values())


if __name__ == "__main__":
    sys.exit(not main())
