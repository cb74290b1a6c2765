"""A ResNet inflated to 3D, with a TAM before every block or without: to hold costs against.

Every 2D kernel gets a third axis: the stem sees 3 frames, so does the first convolution of a basic
block and the 3x3 of every block. Modules are named as in an ordinary ResNet; ImageNet weights
start it once they are inflated (``start.from_image_weights``).

Source: Carreira, Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017; laid out as I3D-ResNet of
IBM/action-recognition-pytorch@67cc96f, so that its files load too.
Axes: N clips, C channels, T frames, H x W.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.model.network import VideoNetwork, in_order, initialise
from pipeline.model.tam import TAM3d
from pipeline.spec import I3DArchitecture

Stride = tuple[int, int, int]
ONE: Stride = (1, 1, 1)


class Block3d(nn.Module):
    """Basic (3x3x3 twice) or bottleneck (1, 3x3x3, 1); its shortcut is the input before TAM."""

    def __init__(
        self, a: I3DArchitecture, channels_in: int, inner: int, channels: int, stride: Stride
    ) -> None:
        super().__init__()
        self._basic = a.block == "basic"
        if self._basic:
            self.conv1 = nn.Conv3d(channels_in, inner, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm3d(inner)
            self.conv2 = nn.Conv3d(inner, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm3d(channels)
        else:
            self.conv1 = nn.Conv3d(channels_in, inner, 1, bias=False)
            self.bn1 = nn.BatchNorm3d(inner)
            self.conv2 = nn.Conv3d(inner, inner, 3, stride=stride, padding=1, bias=False)
            self.bn2 = nn.BatchNorm3d(inner)
            self.conv3 = nn.Conv3d(inner, channels, 1, bias=False)
            self.bn3 = nn.BatchNorm3d(channels)
        self.downsample = None
        if stride != ONE or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv3d(channels_in, channels, 1, stride=stride, bias=False),
                nn.BatchNorm3d(channels),
            )
        self.tam = TAM3d(channels_in, a.taps) if a.mixing == "tam" else None

    @property
    def last_norm(self) -> nn.Module:
        """The batch norm before the sum."""
        return self.bn2 if self._basic else self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, C', T', H', W']."""
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.tam is not None:
            x = self.tam(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        if not self._basic:
            x = self.bn3(self.conv3(F.relu(x, inplace=True)))
        x += shortcut
        return F.relu(x, inplace=True)


class I3DResNet(VideoNetwork):
    """3D convolutions on whole clips; features of each frame that is left, logits averaged."""

    architecture: I3DArchitecture

    def __init__(self, architecture: I3DArchitecture) -> None:
        super().__init__(architecture)
        a = architecture
        self.conv1 = nn.Conv3d(
            a.in_channels, a.width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False
        )
        self.bn1 = nn.BatchNorm3d(a.width)
        expansion = 1 if a.block == "basic" else 4
        layers, channels_in = [], a.width
        for n, count in enumerate(a.blocks):
            channels = (a.width << n) * expansion
            blocks: list[nn.Module] = []
            for b in range(count):
                stride = (a.temporal_stride, 2, 2) if n and not b else ONE
                blocks.append(Block3d(a, channels_in, a.width << n, channels, stride))
                channels_in = channels
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.dropout = nn.Dropout(a.dropout)
        self.fc = nn.Linear(channels_in, a.classes)
        initialise(self, [m.last_norm for m in self.modules() if isinstance(m, Block3d)])

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer from the features of a point in time to its logits."""
        return self.fc

    def _logits(self, little_NPCHW: Tensor, big_NPCHW: Tensor) -> Tensor:
        x_NCTHW = in_order(little_NPCHW, big_NPCHW).transpose(1, 2)
        x_NCTHW = F.relu(self.bn1(self.conv1(x_NCTHW)), inplace=True)
        x_NCTHW = F.max_pool3d(x_NCTHW, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x_NCTHW = layer(x_NCTHW)
        features_NTC = x_NCTHW.mean(dim=(3, 4)).transpose(1, 2)
        logits: Tensor = self.fc(self.dropout(features_NTC))
        return logits.mean(dim=1)
