"""A network made ready to score windows, over and over: bytes in, scores out.

The same function as the network's own, up to rounding (about 1e-7 of the largest logit), for half
of the time where the network is small. On any device batch norms become part of their convolutions,
and memory is channels-last. On a CPU two more things are done:

- A 1x1 convolution is a product of matrices, and is computed as one: to set up a convolution takes
  longer than many of a small network's last.
- What a pass does is recorded once for each shape of window (``torch.jit.trace``), and played back
  without Python between the steps: some 250 of them, of a few microseconds each.

A recording holds for any number of windows: no network of the family asks how many there are.
"""

import copy
import logging
import warnings
from threading import Lock
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.model.network import VideoNetwork
from pipeline.spec import ModelSpec

log = logging.getLogger(__name__)

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
RECORDINGS = 4
"""Shapes of windows with a recording of their own: a deployment has one, or one per fit."""

CLOSE = 1e-4  # scores are in [0, 1]

Conv = nn.Conv2d | nn.Conv3d
Shapes = tuple[torch.Size, torch.Size]


class Engine:
    """Scores of bytes, for several threads."""

    def __init__(self, network: VideoNetwork, spec: ModelSpec) -> None:
        """``network`` is left as it is, and its weights are copied."""
        fast = fold_batch_norms(network)
        self._device = next(fast.parameters()).device
        self._records = self._device.type == "cpu"
        if self._records:
            multiply_pointwise(fast)
        for parameter in fast.parameters():
            if parameter.ndim in CHANNELS_LAST:
                layout = CHANNELS_LAST[parameter.ndim]
                parameter.data = parameter.data.contiguous(memory_format=layout)
        self._whole = _Whole(fast, spec).to(self._device).eval().requires_grad_(False)
        self._recordings: dict[Shapes, torch.jit.ScriptModule | None] = {}
        self._recording = Lock()

    def __call__(self, little_NPHWC: Tensor, big_NPHWC: Tensor) -> Tensor:
        """Scores [N, K] in float32 of frames as bytes, on the engine's device.

        Raises:
            ValueError: shapes that the network doesn't take.
        """
        little, big = little_NPHWC.to(self._device), big_NPHWC.to(self._device)
        with torch.inference_mode():
            recording = self._recording_for(little, big) if self._records else None
            if recording is None:
                return cast("Tensor", self._whole(little, big))
            return _played(recording, little, big)

    def _recording_for(self, little: Tensor, big: Tensor) -> torch.jit.ScriptModule | None:
        shapes = little.shape[1:], big.shape[1:]
        if shapes not in self._recordings:
            with self._recording:
                if shapes not in self._recordings and len(self._recordings) < RECORDINGS:
                    self._recordings[shapes] = self._recorded(little[:1], big[:1])
        return self._recordings.get(shapes)

    def _recorded(self, little: Tensor, big: Tensor) -> torch.jit.ScriptModule | None:
        """A recording that says what the pass says; None if this torch can't make one."""
        scores = self._whole(little, big)
        try:
            recording = _record(self._whole, little, big)
            played = _played(recording, little, big)
            torch.testing.assert_close(played, scores, rtol=0, atol=CLOSE, equal_nan=True)
        except Exception as error:  # noqa: BLE001 - torch.jit is on its way out
            reason = str(error).strip().partition("\n")[0]
            log.warning("passes can't be recorded, and take longer: %s", reason)
            return None
        return recording


def normalised(frames_NPHWC: Tensor, mean_C11: Tensor, std_C11: Tensor) -> Tensor:
    """What a network takes, of bytes: [N, P, C, H, W], channels-last in memory as they were."""
    frames_NPCHW = frames_NPHWC.permute(0, 1, 4, 2, 3).float().div_(255)
    return frames_NPCHW.sub_(mean_C11).div_(std_C11)


def fold_batch_norms(network: VideoNetwork) -> VideoNetwork:
    """A copy, for evaluation only, in which each batch norm is part of its convolution."""
    folded = copy.deepcopy(network).eval()
    for module in list(folded.modules()):
        last: tuple[str, Conv] | None = None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                conv_name, conv = _partner(module, name, last)
                setattr(module, conv_name, fuse_conv_bn_eval(conv, child))
                setattr(module, name, nn.Identity())
            last = (name, child) if isinstance(child, Conv) else None
    return folded


def multiply_pointwise(network: nn.Module) -> None:
    """Have convolutions of single points computed as products of matrices."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and _is_pointwise(child):
                setattr(module, name, Pointwise(child))


class Pointwise(nn.Module):
    """A 1x1 convolution as a product of matrices; memory that is channels-last isn't copied."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1))
        self.bias = conv.bias

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W]."""
        return F.linear(x_NCHW.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


class _Whole(nn.Module):
    """From bytes to scores."""

    def __init__(self, network: VideoNetwork, spec: ModelSpec) -> None:
        super().__init__()
        self._network = network
        self._softmax = spec.score == "softmax"
        self._mean = nn.Buffer(torch.tensor(spec.mean)[:, None, None])
        self._std = nn.Buffer(torch.tensor(spec.std)[:, None, None])

    def forward(self, little_NPHWC: Tensor, big_NPHWC: Tensor) -> Tensor:
        little, big = (
            normalised(frames, self._mean, self._std) for frames in (little_NPHWC, big_NPHWC)
        )
        logits_NK = self._network.forward_pairs(little, big).float()
        return logits_NK.softmax(dim=1) if self._softmax else logits_NK.sigmoid()


def _record(whole: _Whole, little: Tensor, big: Tensor) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # deprecated in favour of compilers that take minutes, or a C++ compiler on the machine;
        # and it warns of each number that it takes for constant, such as P and the size
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(whole, (little, big), check_trace=False)  # type: ignore[no-untyped-call]
        recording: torch.jit.ScriptModule = torch.jit.freeze(traced)
    return recording


def _played(recording: torch.jit.ScriptModule, little: Tensor, big: Tensor) -> Tensor:
    """As it was recorded: to optimise it would take two passes a tenth of a second, for nothing."""
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        return cast("Tensor", recording(little, big))


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1


def _partner(module: nn.Module, batch_norm: str, last: tuple[str, Conv] | None) -> tuple[str, Conv]:
    """The convolution before a batch norm: by construction, its predecessor among the children."""
    assert last is not None, f"{type(module).__name__}.{batch_norm} follows no convolution"
    return last
