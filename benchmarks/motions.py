"""Motion clips per second, at 64 and at 112 px, one process per core; needs make pictures.

Counted from the first clip to the last of a split, so that reading the pictures (once per process,
about 4 s) is left out.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.cpus import usable_cpus
from pipeline.training.motions import MotionSpec, make_motions

PICTURES = Path(__file__).parent.parent / ".footage" / "motions"
CLIPS = 1080
PROMISED = {64: 60.0, 112: 20.0}
"""Clips per second on two cores, by side in pixels."""


def rate(spec: MotionSpec) -> float:
    """Clips per second of a split."""
    times_s: list[float] = []
    with TemporaryDirectory() as folder:
        make_motions(
            Path(folder) / "out", spec, progress=lambda _: times_s.append(time.perf_counter())
        )
    return (len(times_s) - 1) / (times_s[-1] - times_s[0])


def main() -> bool:
    """Measure both sizes; were both promises kept?"""
    spec = MotionSpec(
        things=PICTURES / "things",
        stills=PICTURES / "stills",
        videos=PICTURES / "videos",
        clips={"train": CLIPS},
        processes=usable_cpus(),
    )
    kept = True
    for size_px, promised in PROMISED.items():
        found = rate(replace(spec, size_px=size_px))
        kept &= found >= promised
        word = "ok  " if found >= promised else "LOW "
        print(f"{word} motions at {size_px} px: {found:.0f} clips/s, {promised:.0f} promised")
    return kept


if __name__ == "__main__":
    sys.exit(not main())
