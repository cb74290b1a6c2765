"""Peak memory of one network, measured from outside torch: what its process adds to memory.

Weights, gradients, activations and what convolutions need for themselves, in float32, for one clip;
without what an optimiser holds. Each network gets a process of its own (see ``peaks``), since
memory that was used once tells nothing; glibc is told there to give memory back, else freed
activations would count.
Cost: 3 s, and a step of the network.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pipeline.errors import TrainingError

PEAKS = f"{__package__}.peaks"
MEMINFO = Path("/proc/meminfo")
RETURNING = {"MALLOC_MMAP_THRESHOLD_": str(64 * 1024), "MALLOC_TRIM_THRESHOLD_": "0"}
NO_MEMORY = re.compile("MemoryError|can't allocate memory|not enough memory")
HEADROOM = 0.7  # of the memory that is free: the rest is for what is not counted


def measure(
    name: str, frames: int, size_px: int, classes: int, *, needs_bytes: int
) -> dict[str, int] | None:
    """Peak bytes in ``inference`` and in ``training``, or None where it can't be measured.

    It can't be without Linux, or where ``needs_bytes`` are too many for the memory that is free.

    Raises:
        TrainingError: it failed for another reason.
    """
    if not MEMINFO.exists() or needs_bytes > HEADROOM * _free_bytes():
        return None
    asked = {"name": name, "frames": frames, "size_px": size_px, "classes": classes}
    child = subprocess.run(
        [sys.executable, "-m", PEAKS, json.dumps(asked)],
        env={**os.environ, **RETURNING},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode < 0 or NO_MEMORY.search(child.stderr):
        return None  # by the kernel's own hand, or before it came to that
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrainingError(f"memory of {name} with {frames} frames can't be measured: {last}")
    found: dict[str, int] = json.loads(child.stdout)
    return found


def _free_bytes() -> int:
    lines = MEMINFO.read_text(encoding="utf-8").splitlines()
    entries = dict(line.split(":", 1) for line in lines)
    return int(entries["MemAvailable"].split()[0]) * 1024
