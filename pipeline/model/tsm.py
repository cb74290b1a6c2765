"""Temporal shift: an eighth of the channels shows the next frame, an eighth the one before.

Zero outside the clip; no weights, no arithmetic. It stands where TAM stands.

Source: Lin, Gan, Han, "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019.
Axes: N clips, T frames, P = T/2 pairs, C channels, H x W.
"""

import torch
from torch import Tensor

from pipeline.model.mixing import Mixer, Resize, same

SHARE = 8


class TSM(Mixer):
    """Shifts an eighth of the channels each way; of fewer than eight channels, one."""

    def forward(self, x_NTCHW: Tensor) -> Tensor:
        """Mix frames: [N, T, C, H, W] in and out."""
        return _joined(x_NTCHW, 1, x_NTCHW, -1, x_NTCHW)

    def pairs(self, x_NPCHW: Tensor) -> tuple[Tensor, Tensor]:
        """As ``forward`` on each pair's value standing twice: one neighbour is the pair itself."""
        x = x_NPCHW
        return _joined(x, 0, x, -1, x), _joined(x, 1, x, 0, x)

    def interleaved(
        self, little_NPCHW: Tensor, big_NPCHW: Tensor, *, up: Resize = same, down: Resize = same
    ) -> tuple[Tensor, Tensor]:
        """As ``forward`` on frames that alternate between little (0, 2 …) and big (1, 3 …)."""
        raised, lowered = up(big_NPCHW), down(little_NPCHW)
        return (
            _joined(raised, 0, raised, -1, little_NPCHW),
            _joined(lowered, 1, lowered, 0, big_NPCHW),
        )


def _joined(next_: Tensor, ahead: int, before: Tensor, behind: int, own: Tensor) -> Tensor:
    """The first eighth of what follows, the second of what went before, the rest of its own."""
    fold = max(1, own.shape[2] // SHARE)
    return torch.cat(
        (
            _moved(next_[:, :, :fold], ahead),
            _moved(before[:, :, fold : 2 * fold], behind),
            own[:, :, 2 * fold :],
        ),
        dim=2,
    )


def _moved(x: Tensor, by: int) -> Tensor:
    """x[t + by] for ``by`` of -1, 0 or 1, zero outside the clip."""
    if by == 0:
        return x
    edge = torch.zeros_like(x[:, :1])
    return torch.cat((x[:, 1:], edge) if by > 0 else (edge, x[:, :-1]), dim=1)
