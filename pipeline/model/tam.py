"""Temporal aggregation: each channel mixed over neighbouring frames, for almost nothing.

    y[t] = relu( sum_i w[i] * x[t + i - r//2] )        r taps, x = 0 outside the clip

Source: Fan et al., "More Is Less", NeurIPS 2019, section 3.2. Axes: N clips, T frames, P = T/2
pairs, C channels, H x W.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.model.mixing import Mixer, Resize, same

TAMStart = Literal["published", "identity", "difference"]


class TAM(Mixer):
    """Depthwise temporal aggregation with r taps; weights are named as published."""

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.taps = taps
        self.macs_per_value = taps
        if taps == 3:
            self.prev, self.next, self.curr = (_tap(channels) for _ in range(3))
        else:
            self.blending_layers = nn.ModuleList(_tap(channels) for _ in range(taps))

    def forward(self, x_NTCHW: Tensor) -> Tensor:
        """Mix frames: [N, T, C, H, W] in and out."""
        return _mixed([(x_NTCHW, shift, weight) for shift, weight in self._by_shift()])

    def pairs(self, x_NPCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mix frames of which the two of a pair are equal: little and big, [N, P, C, H, W] each.

        The same as ``forward`` on each pair's value standing twice, without the T frames: frame
        2i + s belongs to pair i + floor(s / 2), so the weights of a pair's two frames add up.
        """
        little: dict[int, Tensor] = {}
        big: dict[int, Tensor] = {}
        for shift, weight in self._by_shift():
            for side, offset in ((little, shift // 2), (big, (shift + 1) // 2)):
                side[offset] = side[offset] + weight if offset in side else weight
        return (
            _mixed([(x_NPCHW, shift, weight) for shift, weight in little.items()]),
            _mixed([(x_NPCHW, shift, weight) for shift, weight in big.items()]),
        )

    def interleaved(
        self, little_NPCHW: Tensor, big_NPCHW: Tensor, *, up: Resize = same, down: Resize = same
    ) -> tuple[Tensor, Tensor]:
        """Mix frames that alternate between little (0, 2 …) and big (1, 3 …).

        ``up`` brings a big frame to little's size, ``down`` a little frame to big's.
        """
        for_little, for_big = [], []
        raised, lowered = up(big_NPCHW), down(little_NPCHW)
        for shift, weight in self._by_shift():
            if shift % 2:
                for_little.append((raised, (shift - 1) // 2, weight))
                for_big.append((lowered, (shift + 1) // 2, weight))
            else:
                for_little.append((little_NPCHW, shift // 2, weight))
                for_big.append((big_NPCHW, shift // 2, weight))
        return _mixed(for_little), _mixed(for_big)

    @torch.no_grad()
    def start(self, how: TAMStart) -> None:
        """Set the weights that training starts from.

        ``published``: He's normal, as for any convolution. ``identity``: each frame as it is.
        ``difference``: of a quarter of the channels each, minus the frame before and minus the
        next one; the other half as it is.
        """
        for shift, weight in self._by_shift():
            if how == "published":
                weight.copy_(torch.randn_like(weight) * (2 / len(weight)) ** 0.5)
                continue
            weight.fill_(1.0 if shift == 0 else 0.0)
            quarter = len(weight) // 4
            if how == "difference" and abs(shift) == 1:
                first = 0 if shift < 0 else quarter
                weight[first : first + quarter] = -1.0

    def _by_shift(self) -> list[tuple[int, Tensor]]:
        """(frames ahead, weights [C, 1, 1]) of each tap."""
        layers = [self.prev, self.curr, self.next] if self.taps == 3 else list(self.blending_layers)
        weights = [layer.get_parameter("weight").flatten(1).unsqueeze(-1) for layer in layers]
        return [(i - self.taps // 2, weight) for i, weight in enumerate(weights)]


class TAM3d(TAM):
    """The same for networks that hold clips as [N, C, T, H, W]."""

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Mix frames: [N, C, T, H, W] in and out."""
        return super().forward(x_NCTHW.transpose(1, 2)).transpose(1, 2)


def _tap(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel_size=1, groups=channels, bias=False)


def _mixed(terms: list[tuple[Tensor, int, Tensor]]) -> Tensor:
    """Relu of the sum of weight * x[t + shift], x = 0 outside the clip.

    In the precision of x: under autocast, weights in float32 would make everything float32, and
    training takes a fifth longer.
    """
    length, precision = terms[0][0].shape[1], terms[0][0].dtype
    at_zero = next(n for n, (_, shift, _) in enumerate(terms) if shift == 0)
    own, _, own_weight = terms.pop(at_zero)  # the only one that covers every frame
    out = own * own_weight.to(precision)
    for x, shift, weight in terms:
        # may be empty: a tap that reaches beyond short clips still has a gradient, of zero
        to = slice(max(0, -shift), max(0, length - max(0, shift)))
        of = slice(max(0, shift), max(0, length + min(0, shift)))
        out[:, to].addcmul_(x[:, of], weight.to(precision))
    return out.relu_()
