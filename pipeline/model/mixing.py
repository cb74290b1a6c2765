"""What stands where frames are mixed: TAM, TSM or nothing, behind one call.

Axes: N clips, T frames, P = T/2 pairs, C channels, H x W.
"""

from collections.abc import Callable

from torch import Tensor, nn

Resize = Callable[[Tensor], Tensor]


def same(x: Tensor) -> Tensor:
    """No resizing."""
    return x


class Mixer(nn.Module):
    """Mixes nothing: the frames as they are; and what TAM and TSM do otherwise."""

    macs_per_value = 0
    """Multiply-accumulates for each value of its input, as the paper counts them."""

    def forward(self, x_NTCHW: Tensor) -> Tensor:
        """Mix frames: [N, T, C, H, W] in and out."""
        return x_NTCHW

    def pairs(self, x_NPCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mix frames of which the two of a pair are equal: little and big, [N, P, C, H, W] each.

        The same as ``forward`` on each pair's value standing twice, without the T frames.
        """
        return x_NPCHW, x_NPCHW

    def interleaved(
        self, little_NPCHW: Tensor, big_NPCHW: Tensor, *, up: Resize = same, down: Resize = same
    ) -> tuple[Tensor, Tensor]:
        """Mix frames that alternate between little (0, 2 …) and big (1, 3 …).

        ``up`` brings a big frame to little's size, ``down`` a little frame to big's.
        """
        del up, down
        return little_NPCHW, big_NPCHW
