"""Plain ResNets on frames one by one, logits averaged: TSN, and TAM or TSM in every block.

The rule that is easy to get wrong: shortcut and downsample both take the block's input before it
is mixed. Modules are named as in an ordinary ResNet, so that ImageNet weights start it.

Source: He et al., "Deep Residual Learning", CVPR 2016; Wang et al., "Temporal Segment Networks",
ECCV 2016; TAM in it as IBM/action-recognition-pytorch@67cc96f releases it.
Axes: N clips, T frames, C channels, H x W.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.model.blvnet import mixer
from pipeline.model.mixing import Mixer
from pipeline.model.network import VideoNetwork, by_clip, in_order, initialise
from pipeline.spec import Pooling, ResNetArchitecture


class BasicBlock(nn.Module):
    """3x3 with the stride, 3x3; a mixer over frames before them."""

    expansion = 1

    def __init__(self, channels_in: int, inner: int, stride: int, tam: Mixer) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, inner, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.downsample = _downsample(channels_in, inner, stride)
        self.tam = tam

    @property
    def last_norm(self) -> nn.Module:
        """The batch norm before the sum."""
        return self.bn2

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """[N*T, C, H, W] -> [N*T, C', H', W'] of clips of so many frames."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.tam(by_clip(x, frames)).flatten(0, 1)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += shortcut
        return F.relu(x, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width; a mixer over frames before them."""

    expansion = 4

    def __init__(self, channels_in: int, inner: int, stride: int, tam: Mixer) -> None:
        super().__init__()
        channels = inner * self.expansion
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(channels_in, channels, stride)
        self.tam = tam

    @property
    def last_norm(self) -> nn.Module:
        """The batch norm before the sum."""
        return self.bn3

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """[N*T, C, H, W] -> [N*T, C', H', W'] of clips of so many frames."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.tam(by_clip(x, frames)).flatten(0, 1)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = self.bn3(self.conv3(x))
        x += shortcut
        return F.relu(x, inplace=True)


class ResNet(VideoNetwork):
    """TSN on a ResNet, or TAM-ResNet, or TSM-ResNet."""

    architecture: ResNetArchitecture

    def __init__(self, architecture: ResNetArchitecture) -> None:
        super().__init__(architecture)
        a = architecture
        self.conv1 = nn.Conv2d(a.in_channels, a.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(a.width)
        kind = BasicBlock if a.block == "basic" else Bottleneck
        layers, channels = [], a.width
        for n, count in enumerate(a.blocks):
            blocks: list[nn.Module] = []
            for b in range(count):
                tam = mixer(a.mixing, channels, a.taps)
                blocks.append(kind(channels, a.width << n, 2 if n and not b else 1, tam))
                channels = (a.width << n) * kind.expansion
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.dropout = nn.Dropout(a.dropout)
        self.fc = nn.Linear(channels, a.classes)
        made = [m for m in self.modules() if isinstance(m, BasicBlock | Bottleneck)]
        initialise(self, [block.last_norm for block in made])

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer from the features of a frame to its logits."""
        return self.fc

    def _logits(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        frames = self.architecture.frames
        x = in_order(little_NPCHW, big_NPCHW).flatten(0, 1)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in layer:
                x = block(x, frames)
            if layer is not self.layer4 and self.architecture.temporal_pooling != "none":
                x = _pool_frames(x, frames, self.architecture.temporal_pooling)
                frames = -(-frames // 2)
        logits = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return by_clip(logits, frames).mean(dim=1)


def _pool_frames(x: Tensor, frames: int, pooling: Pooling) -> Tensor:
    """Half the frames, each of three neighbours; zeros beyond the ends count in a mean."""
    rows_NCTS = by_clip(x, frames).transpose(1, 2).flatten(3)
    pool = F.max_pool2d if pooling == "max" else F.avg_pool2d  # avg_pool3d refuses two frames
    pooled: Tensor = pool(rows_NCTS, (3, 1), stride=(2, 1), padding=(1, 0))
    return pooled.transpose(1, 2).reshape(-1, *x.shape[1:])


def _downsample(channels_in: int, channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels_in == channels:
        return None
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
    )
