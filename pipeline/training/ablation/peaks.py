"""The process that ``memory`` starts: one network, one step, and the most memory that it took.

    python -m pipeline.training.ablation.peaks '{"name": "blvnet-tam-50", "frames": 16, …}'

The peak is the kernel's (VmHWM), reset when libraries and threads have been warmed up by a small
network. Not ``ru_maxrss``: a child inherits that from its parent, which may hold gigabytes.
"""

import gc
import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from pipeline.model import VideoNetwork, architecture_of, build

STATUS = Path("/proc/self/status")


def _own_bytes(entry: str) -> int:
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(entry))


def _peaks(name: str, frames: int, size_px: int, classes: int) -> dict[str, int]:
    small = build(architecture_of("blvnet-tam-small", classes=classes))
    _infer(small, 64)
    _learn(small, 64)
    del small
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
    before = _own_bytes("VmRSS")
    network = build(architecture_of(name, classes=classes, frames=frames))
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
    return torch.rand(1, network.architecture.frames, 3, size_px, size_px)  # zeros take no pages


if __name__ == "__main__":
    print(json.dumps(_peaks(**json.loads(sys.argv[1]))))  # noqa: T201
