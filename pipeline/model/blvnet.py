"""bLVNet-TAM: a deep branch on half of the frames at half resolution, a thin one on the rest.

Source: Fan, Chen, Kuehne, Pistoia, Cox, "More Is Less: Learning Efficient Video Representations by
Big-Little Network and Depthwise Temporal Aggregation", NeurIPS 2019 (arXiv 1912.00869). Modules are
named as in the files its authors released, so that those load as they are.

Axes: N clips, T frames, P = T/2 pairs, C channels, H x W, K classes. Pair i is Little frame 2i and
Big frame 2i + 1. After layer 0 both hold the same value, so only pairs are kept ([N*P, C, H, W])
and each TAM of layers 1 to 3 takes its exact form over pairs (``TAM.pairs``).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.model.spec import Architecture
from pipeline.model.tam import TAM, Resize

MIN_SIZE_PX = 32
EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1; in layer 4 with a TAM over pairs before them."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        stride: int = 1,
        last_relu: bool = True,
        tam_taps: int | None = None,
    ) -> None:
        super().__init__()
        inner = channels // EXPANSION
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(channels_in, channels, stride)
        self.tam = None if tam_taps is None else TAM(channels_in, tam_taps)
        self._last_relu = last_relu

    def forward(self, x: Tensor, pairs: int = 1) -> Tensor:
        """[N*P, C, H, W] -> [N*P, C', H', W']; ``pairs`` tells the TAM where clips end."""
        shortcut = x
        if self.tam is not None:
            x = self.tam(_by_clip(x, pairs)).flatten(0, 1)
        if self.downsample is not None:
            shortcut = self.downsample(x)  # of the TAM's output, as published; else of its input
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = self.bn3(self.conv3(x))
        x += shortcut
        return F.relu(x, inplace=True) if self._last_relu else x


class BigLittle(nn.Module):
    """One bL module: TAM, the two branches, their sum, and the fusing block."""

    def __init__(
        self, channels_in: int, channels: int, *, blocks: int, little_blocks: int, stride: int,
        alpha: int, taps: int,
    ) -> None:  # fmt: skip
        super().__init__()
        thin = channels // alpha
        self.big = _stack(channels_in, channels, blocks - 1, stride=2, last_relu=False)
        self.little = _stack(channels_in, thin, little_blocks)
        self.little_e = nn.Sequential(
            nn.Conv2d(thin, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.fusion = _stack(channels, channels, 1, stride=stride)
        self.tam = TAM(channels_in, taps)

    def forward(self, x: Tensor, pairs: int) -> Tensor:
        """[N*P, C, H, W] -> [N*P, C', H', W']."""
        little, big = self.tam.pairs(_by_clip(x, pairs))
        little = self.little_e(self.little(little.flatten(0, 1)))
        big = self.big(big.flatten(0, 1))
        little += F.interpolate(big, size=little.shape[-2:])
        fused: Tensor = self.fusion(F.relu(little, inplace=True))
        return fused


class Backbone(nn.Module):
    """Everything up to the features of each pair."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        w, thin = a.width, a.width // a.alpha
        self._big_is_low = a.big_input == "low"
        self.conv1 = nn.Conv2d(a.in_channels, w, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        stride = 1 if self._big_is_low else 2
        self.b_conv0 = nn.Conv2d(w, w, 3, stride=stride, padding=1, bias=False)
        self.bn_b0 = nn.BatchNorm2d(w)
        self.l_conv0 = nn.Conv2d(w, thin, 3, padding=1, bias=False)
        self.bn_l0 = nn.BatchNorm2d(thin)
        self.l_conv1 = nn.Conv2d(thin, thin, 3, stride=2, padding=1, bias=False)
        self.bn_l1 = nn.BatchNorm2d(thin)
        self.l_conv2 = nn.Conv2d(thin, w, 1, bias=False)
        self.bn_l2 = nn.BatchNorm2d(w)
        self.bl_init = nn.Conv2d(w, w, 1, bias=False)
        self.bn_bl_init = nn.BatchNorm2d(w)
        self.tam = TAM(w, a.taps)
        modules = [
            BigLittle(
                channels_in,
                channels,
                blocks=a.blocks[n],
                little_blocks=a.little_blocks[n],
                stride=stride,
                alpha=a.alpha,
                taps=a.taps,
            )
            for n, (channels_in, channels, stride) in enumerate(
                [(w, 4 * w, 2), (4 * w, 8 * w, 2), (8 * w, 16 * w, 1)]
            )
        ]
        self.layer1, self.layer2, self.layer3 = modules
        self.layer4 = _stack(16 * w, 32 * w, a.blocks[3], stride=2, tam_taps=a.taps)
        self.fc: nn.Module = nn.Dropout(a.dropout) if a.dropout else nn.Linear(32 * w, a.classes)

    def forward(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        """[N*P, features], or [N*P, K] where the classifier stands here."""
        pairs = little_NPCHW.shape[1]
        x = self._layer0(little_NPCHW, big_NPCHW)
        for module in (self.layer1, self.layer2, self.layer3):
            x = module(x, pairs)
        for block in self.layer4:
            x = block(x, pairs)
        features: Tensor = self.fc(x.mean(dim=(2, 3)))
        return features

    def _layer0(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        """Stem of every frame, TAM over the T frames, the two branches, their sum."""
        little, big = self._stems(little_NPCHW, big_NPCHW)
        if self._big_is_low:
            size = little.shape[-2:]
            little, big = self.tam.interleaved(
                little,
                big,
                up=lambda x: _each(x, lambda frames: F.interpolate(frames, size=size)),
                down=lambda x: _each(x, halve),
            )
        else:
            little, big = self.tam.interleaved(little, big)
        big = self.bn_b0(self.b_conv0(big.flatten(0, 1)))
        little = F.relu(self.bn_l0(self.l_conv0(little.flatten(0, 1))), inplace=True)
        little = F.relu(self.bn_l1(self.l_conv1(little)), inplace=True)
        little = self.bn_l2(self.l_conv2(little))
        x = F.relu(big + little, inplace=True)
        return F.relu(self.bn_bl_init(self.bl_init(x)), inplace=True)

    def _stems(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> tuple[Tensor, Tensor]:
        if self._big_is_low:
            return self._stem(little_NPCHW), self._stem(big_NPCHW)
        both = self._stem(torch.cat([little_NPCHW, big_NPCHW], dim=1))
        little, big = both.chunk(2, dim=1)
        return little, big

    def _stem(self, x_NPCHW: Tensor) -> Tensor:
        return _each(x_NPCHW, lambda frames: F.relu(self.bn1(self.conv1(frames)), inplace=True))


class BLVNetTAM(nn.Module):
    """The network: clips in, logits out."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.baseline_model = Backbone(architecture)
        if architecture.dropout:
            self.new_fc = nn.Linear(32 * architecture.width, architecture.classes)
        if not self.baseline_model.conv1.weight.is_meta:  # where it takes 1 s, for nothing
            _initialise(self)

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer from the features of a pair to its logits."""
        layer = self.new_fc if self.architecture.dropout else self.baseline_model.fc
        assert isinstance(layer, nn.Linear)
        return layer

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
            big = _each(big, halve)
        return self.forward_pairs(little, big)

    def forward_pairs(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        """Logits [N, K] of frames already dealt out to the two branches.

        With ``big_input="low"`` Big frames have half the size of Little's, rounded up.

        Raises:
            ValueError: shapes that don't belong together.
        """
        self._check(little_NPCHW, big_NPCHW)
        features = self.baseline_model(little_NPCHW, big_NPCHW)
        logits = self.new_fc(features) if self.architecture.dropout else features
        return _by_clip(logits, self.architecture.pairs).mean(dim=1)

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


def halve(x: Tensor) -> Tensor:
    """2x2 mean; an odd last row or column is averaged with what is there."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _each(x_NPCHW: Tensor, of: Resize) -> Tensor:
    """Apply a function of [N*P, C, H, W] to every frame."""
    return _by_clip(of(x_NPCHW.flatten(0, 1)), x_NPCHW.shape[1])


def _by_clip(x: Tensor, pairs: int) -> Tensor:
    """[N*P, …] -> [N, P, …]."""
    return x.reshape(-1, pairs, *x.shape[1:])


def _stack(
    channels_in: int,
    channels: int,
    blocks: int,
    *,
    stride: int = 1,
    last_relu: bool = True,
    tam_taps: int | None = None,
) -> nn.Sequential:
    """Bottlenecks, the first with the stride; ``last_relu`` counts only if there are several."""
    stack = [Bottleneck(channels_in, channels, stride=stride, tam_taps=tam_taps)]
    for n in range(1, blocks):
        relu = last_relu or n < blocks - 1
        stack.append(Bottleneck(channels, channels, last_relu=relu, tam_taps=tam_taps))
    return nn.Sequential(*stack)


def _downsample(channels_in: int, channels: int, stride: int) -> nn.Sequential | None:
    """Average pooling where there is a stride, 1x1 convolution where the width changes."""
    layers: list[nn.Module] = []
    if stride != 1:
        layers.append(nn.AvgPool2d(3, stride=2, padding=1))
    if channels_in != channels:
        layers.append(nn.Conv2d(channels_in, channels, 1, bias=False))
        layers.append(nn.BatchNorm2d(channels))
    return nn.Sequential(*layers) if layers else None


def _initialise(network: nn.Module) -> None:
    """As published: He's normal by fan-out; the last scale of each block zero; small classifier."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.001)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
