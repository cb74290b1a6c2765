"""A network with its spec, on a device: windows in, scores out."""

import copy
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.errors import ModelError
from pipeline.model.network import VideoNetwork
from pipeline.model.spec import ModelSpec
from pipeline.records import Scores, Window, read_only

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
Conv = nn.Conv2d | nn.Conv3d


class Recognizer:
    """Scores windows.

    ``network`` stays as it was loaded. Scores are computed with a copy of it whose batch norms are
    folded into their convolutions and whose memory is channels-last: the same up to rounding.
    """

    def __init__(
        self, network: VideoNetwork, spec: ModelSpec, digest: str, device: torch.device
    ) -> None:
        self.network = network.to(device).eval()
        self.spec = spec
        self.digest = digest
        self.device = device
        self._fast: VideoNetwork | None = None
        self._mean, self._std = (
            torch.tensor(values, device=device)[:, None, None] for values in (spec.mean, spec.std)
        )

    def scores(self, windows: Sequence[Window]) -> list[Scores]:
        """Scores of some windows, computed as one batch, in the order given.

        Raises:
            ModelError: the network doesn't take pictures of three colours.
            ValueError: windows of another shape than the network requires.
        """
        if not windows:
            return []
        if self.spec.architecture.in_channels != 3:
            raise ModelError(
                f"{self.spec.name} takes {self.spec.architecture.in_channels} channels per frame, "
                "and pictures have 3"
            )
        began_s = time.monotonic()
        with torch.inference_mode():
            logits_NK = self._network().forward_pairs(*self.inputs(windows)).float()
            if self.spec.score == "softmax":
                scores_NK = logits_NK.softmax(dim=1).cpu().numpy()
            else:
                scores_NK = logits_NK.sigmoid().cpu().numpy()
        inference_s = time.monotonic() - began_s
        return [
            Scores(span=window.span, scores_K=read_only(scores_K.copy()), inference_s=inference_s)
            for window, scores_K in zip(windows, scores_NK, strict=True)
        ]

    def inputs(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """What ``network.forward_pairs`` takes: normalised frames, [N, P, 3, H, W] each."""
        little = self._normalised([window.little_PHWC for window in windows])
        big = self._normalised([window.big_PHWC for window in windows])
        return little, big

    def _network(self) -> VideoNetwork:
        if self._fast is None:
            fast = fold_batch_norms(self.network)
            for parameter in fast.parameters():
                if parameter.ndim in CHANNELS_LAST:
                    layout = CHANNELS_LAST[parameter.ndim]
                    parameter.data = parameter.data.contiguous(memory_format=layout)
            self._fast = fast
        return self._fast

    def _normalised(self, frames: list[NDArray[np.uint8]]) -> Tensor:
        """[N, P, C, H, W], channels-last in memory, as the arrays were."""
        frames_NPHWC = torch.from_numpy(np.stack(frames)).to(self.device)
        frames_NPCHW = frames_NPHWC.permute(0, 1, 4, 2, 3).float().div_(255)
        return frames_NPCHW.sub_(self._mean).div_(self._std)


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


def _partner(module: nn.Module, batch_norm: str, last: tuple[str, Conv] | None) -> tuple[str, Conv]:
    """The convolution before a batch norm: by construction, its predecessor among the children."""
    assert last is not None, f"{type(module).__name__}.{batch_norm} follows no convolution"
    return last
