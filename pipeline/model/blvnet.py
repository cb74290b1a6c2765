"""Big-Little networks: a deep branch at half resolution, a thin one at full resolution.

bLVNet gives the deep branch one half of the frames and the thin one the other; in bLResNet, the
image network that it comes from, every frame goes through both.

Source: Fan, Chen, Kuehne, Pistoia, Cox, "More Is Less: Learning Efficient Video Representations by
Big-Little Network and Depthwise Temporal Aggregation", NeurIPS 2019 (arXiv 1912.00869). Modules are
named as in the files its authors released, so that those load as they are.

Axes: N clips, T frames, P = T/2 pairs, C channels, H x W, K classes. Pair i is Little frame 2i and
Big frame 2i + 1. After layer 0 both hold the same value, so bLVNet only keeps pairs ([N*P, C, H,
W]) and each mixing of layers 1 to 3 takes its exact form over pairs (``Mixer.pairs``).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.model.mixing import Mixer
from pipeline.model.network import VideoNetwork, by_clip, each, halve, in_order, initialise
from pipeline.model.tam import TAM
from pipeline.model.tsm import TSM
from pipeline.spec import Architecture, Mixing

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1; in layer 4 with a mixer over pairs (or frames) before them."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        stride: int = 1,
        last_relu: bool = True,
        tam: Mixer | None = None,
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
        self.tam = tam
        self._last_relu = last_relu

    def forward(self, x: Tensor, pairs: int = 1) -> Tensor:
        """[N*P, C, H, W] -> [N*P, C', H', W']; ``pairs`` tells the mixer where clips end."""
        shortcut = x
        if self.tam is not None:
            x = self.tam(by_clip(x, pairs)).flatten(0, 1)
        if self.downsample is not None:
            shortcut = self.downsample(x)  # of what was mixed, as published; else what wasn't
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = self.bn3(self.conv3(x))
        x += shortcut
        return F.relu(x, inplace=True) if self._last_relu else x


class BigLittle(nn.Module):
    """One bL module: a mixer, the two branches, their sum, and the fusing block."""

    def __init__(self, a: Architecture, n: int, channels_in: int, channels: int) -> None:
        super().__init__()
        thin = channels // a.alpha
        self.per_frame = a.frame_by_frame
        self.big = _stack(channels_in, channels, a.blocks[n] - 1, stride=2, last_relu=False)
        self.little = _stack(channels_in, thin, a.little_blocks[n])
        self.little_e = nn.Sequential(
            nn.Conv2d(thin, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.fusion = _stack(channels, channels, 1, stride=1 if n == 2 else 2)
        self.tam = mixer(a.mixing, channels_in, a.taps)

    def forward(self, x: Tensor, length: int) -> Tensor:
        """[N*P, C, H, W] -> [N*P, C', H', W'] of clips of so many pairs (or frames)."""
        little = big = by_clip(x, length)
        little, big = (self.tam(little),) * 2 if self.per_frame else self.tam.pairs(little)
        little = self.little_e(self.little(little.flatten(0, 1)))
        big = self.big(big.flatten(0, 1))
        little += F.interpolate(big, size=little.shape[-2:])
        fused: Tensor = self.fusion(F.relu(little, inplace=True))
        return fused


class Backbone(nn.Module):
    """Everything up to the features of each pair (or frame)."""

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
        self.tam = mixer(a.mixing, w, a.taps)
        self.layer1 = BigLittle(a, 0, w, 4 * w)
        self.layer2 = BigLittle(a, 1, 4 * w, 8 * w)
        self.layer3 = BigLittle(a, 2, 8 * w, 16 * w)
        self.layer4 = _stack(
            16 * w, 32 * w, a.blocks[3], stride=2, mixed_as=None if a.mixing == "none" else a
        )
        self.fc: nn.Module = nn.Dropout(a.dropout) if a.dropout else nn.Linear(32 * w, a.classes)

    def forward(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        """Features [N*P, F], or logits [N*P, K] where the classifier stands here."""
        return self._from_layer1(self._layer0(little_NPCHW, big_NPCHW), little_NPCHW.shape[1])

    def of_frames(self, clip_NTCHW: Tensor) -> Tensor:
        """Features [N*T, F], or logits [N*T, K]: every frame goes through both branches."""
        frames = self.tam(self._stem(clip_NTCHW))
        return self._from_layer1(self._branches(frames, frames), clip_NTCHW.shape[1])

    def _from_layer1(self, x: Tensor, length: int) -> Tensor:
        for module in (self.layer1, self.layer2, self.layer3):
            x = module(x, length)
        for block in self.layer4:
            x = block(x, length)
        features: Tensor = self.fc(x.mean(dim=(2, 3)))
        return features

    def _layer0(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        """Stem of every frame, mixing over the T frames, the two branches."""
        little, big = self._stems(little_NPCHW, big_NPCHW)
        if self._big_is_low:
            size = little.shape[-2:]
            little, big = self.tam.interleaved(
                little,
                big,
                up=lambda x: each(x, lambda frames: F.interpolate(frames, size=size)),
                down=lambda x: each(x, halve),
            )
        else:
            little, big = self.tam.interleaved(little, big)
        return self._branches(little, big)

    def _branches(self, little: Tensor, big: Tensor) -> Tensor:
        """Both branches of layer 0 and their sum, [N*P, C, H, W]."""
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
        return each(x_NPCHW, lambda frames: F.relu(self.bn1(self.conv1(frames)), inplace=True))


class _BigLittleNetwork(VideoNetwork):
    architecture: Architecture

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.baseline_model = Backbone(architecture)
        if architecture.dropout:
            self.new_fc = nn.Linear(32 * architecture.width, architecture.classes)
        initialise(self, [m.bn3 for m in self.modules() if isinstance(m, Bottleneck)])

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer from the features of a pair (or frame) to its logits."""
        layer = self.new_fc if self.architecture.dropout else self.baseline_model.fc
        assert isinstance(layer, nn.Linear)
        return layer

    def _mean(self, features: Tensor, length: int) -> Tensor:
        """Logits of clips of so many pairs (or frames)."""
        logits = self.new_fc(features) if self.architecture.dropout else features
        return by_clip(logits, length).mean(dim=1)


class BLVNet(_BigLittleNetwork):
    """The video network: frames dealt out to the branches; with TAM, the paper's bLVNet-TAM."""

    def _logits(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        features = self.baseline_model(little_NPCHW, big_NPCHW)
        return self._mean(features, self.architecture.pairs)


class BLResNet(_BigLittleNetwork):
    """The image network, frame by frame: every frame through both branches."""

    def _logits(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        clip_NTCHW = in_order(little_NPCHW, big_NPCHW)
        return self._mean(self.baseline_model.of_frames(clip_NTCHW), self.architecture.frames)


def mixer(mixing: Mixing, channels: int, taps: int) -> Mixer:
    """What mixes frames of so many channels."""
    if mixing == "tam":
        return TAM(channels, taps)
    return TSM() if mixing == "tsm" else Mixer()


def _stack(
    channels_in: int,
    channels: int,
    blocks: int,
    *,
    stride: int = 1,
    last_relu: bool = True,
    mixed_as: Architecture | None = None,
) -> nn.Sequential:
    """Bottlenecks, the first with the stride; ``last_relu`` counts only if there are several."""
    a, stack = mixed_as, []
    for n in range(blocks):
        width = channels if n else channels_in
        stack.append(
            Bottleneck(
                width,
                channels,
                stride=1 if n else stride,
                last_relu=last_relu or not 0 < n == blocks - 1,
                tam=None if a is None else mixer(a.mixing, width, a.taps),
            )
        )
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
