"""Peak memory of one network, measured from outside torch: what its process adds to memory.

    python -m pipeline.training.ablation.memory '{"name": "blvnet-tam-50", "frames": 16, …}'

Weights, gradients, activations and what convolutions need for themselves, in float32, for one clip;
without what an optimiser holds. Each network gets a process of its own, since memory that was used
once tells nothing. The peak is read from the kernel (VmHWM), reset after libraries and threads have
been warmed up by a small network. Not ``ru_maxrss``: a child inherits that from its parent, which
may hold gigabytes. glibc is told to give memory back, else freed activations would count.
Cost: 3 s, and a step of the network.
"""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from pipeline.model import VideoNetwork, architecture_of, build

CLASSES = 174
STATUS = Path("/proc/self/status")
RETURNING = {"MALLOC_MMAP_THRESHOLD_": str(64 * 1024), "MALLOC_TRIM_THRESHOLD_": "0"}
HEADROOM = 0.7  # of the memory that is free: the rest is for what is not counted


def measure(name: str, frames: int, size_px: int, *, needs_bytes: int) -> dict[str, int] | None:
    """Peak bytes in ``inference`` and in ``training``, or None where it can't be measured.

    It can't be without Linux, or where ``needs_bytes`` are too many for the memory that is free.
    """
    if not STATUS.exists() or needs_bytes > HEADROOM * _free_bytes():
        return None
    asked = json.dumps({"name": name, "frames": frames, "size_px": size_px})
    child = subprocess.run(
        [sys.executable, "-m", __name__, asked],
        env={**os.environ, **RETURNING},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if child.returncode:
        return None  # killed for memory by the kernel
    found: dict[str, int] = json.loads(child.stdout)
    return found


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    entries = dict(line.split(":", 1) for line in lines)
    return int(entries["MemAvailable"].split()[0]) * 1024


def _own_bytes(entry: str) -> int:
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(entry))


def _peaks(name: str, frames: int, size_px: int) -> dict[str, int]:
    small = build(architecture_of("blvnet-tam-small", classes=CLASSES, frames=2))
    _infer(small, 32)
    _learn(small, 32)
    del small
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
    before = _own_bytes("VmRSS")
    network = build(architecture_of(name, classes=CLASSES, frames=frames))
    _infer(network, size_px)
    inference = _own_bytes("VmHWM") - before
    _learn(network, size_px)
    return {"inference": inference, "training": _own_bytes("VmHWM") - before}


def _infer(network: VideoNetwork, size_px: int) -> None:
    with torch.inference_mode():
        network.eval()(_clip(network, size_px))


def _learn(network: VideoNetwork, size_px: int) -> None:
    logits_NK = network.train()(_clip(network, size_px))
    F.cross_entropy(logits_NK, torch.zeros(1, dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]


def _clip(network: VideoNetwork, size_px: int) -> torch.Tensor:
    return torch.zeros(1, network.architecture.frames, 3, size_px, size_px)


if __name__ == "__main__":
    print(json.dumps(_peaks(**json.loads(sys.argv[1]))))  # noqa: T201
