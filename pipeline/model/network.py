"""What every member of the family is: clips in, logits out, one classifier.

The rule that is easy to get wrong: ``forward_pairs`` takes frames as the pipeline deals them out,
Little frames 0, 2, 4 … and Big frames 1, 3, 5 …; whoever looks at frames one by one has to put
them back in order.

Axes: N clips, T frames, P = T/2 pairs, C channels, H x W, K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.spec import AnyArchitecture

MIN_SIZE_PX = 32

Frames = Callable[[Tensor], Tensor]


class VideoNetwork(nn.Module):
    """A network of an architecture; subclasses say what happens to frames dealt out to them."""

    def __init__(self, architecture: AnyArchitecture) -> None:
        super().__init__()
        self.architecture = architecture

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer from features to logits."""
        raise NotImplementedError

    def forward(self, clip_NTCHW: Tensor) -> Tensor:
        """Logits [N, K] of clips of normalised frames, each side at least 32 px.

        With ``big_input="low"`` Big frames are reduced here, by a 2x2 mean.

        Raises:
            ValueError: another number of frames or channels, or smaller frames.
        """
        if clip_NTCHW.ndim != 5 or clip_NTCHW.shape[1] != self.architecture.frames:
            raise ValueError(
                f"want clips [N, {self.architecture.frames}, {self.architecture.in_channels}, H, W]"
                f", got {tuple(clip_NTCHW.shape)}"
            )
        little, big = clip_NTCHW[:, 0::2], clip_NTCHW[:, 1::2]
        if self.architecture.big_input == "low":
            big = each(big, halve)
        return self.forward_pairs(little, big)

    def forward_pairs(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        """Logits [N, K] of frames already dealt out to the two branches.

        With ``big_input="low"`` Big frames have half the size of Little's, rounded up.

        Raises:
            ValueError: shapes that don't belong together.
        """
        self._check(little_NPCHW, big_NPCHW)
        return self._logits(little_NPCHW, big_NPCHW)

    def _logits(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        raise NotImplementedError

    def _check(self, little: Tensor, big: Tensor) -> None:
        a = self.architecture
        height, width = little.shape[-2:]
        if a.big_input == "low":
            height, width = -(-height // 2), -(-width // 2)
        n = little.shape[0]
        if (
            tuple(little.shape[:3]) != (n, a.pairs, a.in_channels)
            or tuple(big.shape) != (n, a.pairs, a.in_channels, height, width)
            or min(little.shape[-2:]) < MIN_SIZE_PX
        ):
            raise ValueError(
                f"want little and big frames [N, {a.pairs}, {a.in_channels}, H, W] of at least "
                f"{MIN_SIZE_PX} px, big ones {'at half size' if a.big_input == 'low' else 'alike'};"
                f" got {tuple(little.shape)} and {tuple(big.shape)}"
            )


def in_order(little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
    """The clip [N, T, C, H, W] that was dealt out."""
    return torch.stack((little_NPCHW, big_NPCHW), dim=2).flatten(1, 2)


def halve(x: Tensor) -> Tensor:
    """2x2 mean; an odd last row or column is averaged with what is there."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def each(x_NTCHW: Tensor, of: Frames) -> Tensor:
    """Apply a function of [N*T, C, H, W] to every frame."""
    return by_clip(of(x_NTCHW.flatten(0, 1)), x_NTCHW.shape[1])


def by_clip(x: Tensor, frames: int) -> Tensor:
    """[N*T, …] -> [N, T, …]."""
    return x.reshape(-1, frames, *x.shape[1:])


def initialise(network: nn.Module, last_norms: list[nn.Module]) -> None:
    """As published: He's normal by fan-out, the last scale of each block zero, small classifier.

    Every member starts so, which its authors did for Big-Little networks only: comparisons are to
    be between networks, not between their starts. Nothing is done on the meta device.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        return  # where it takes 1 s, for nothing
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.001)
            nn.init.zeros_(module.bias)
    for norm in last_norms:
        nn.init.zeros_(norm.get_parameter("weight"))
