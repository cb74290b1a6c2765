"""Clips of bytes into a network: dealt out to the two branches, normalised, in its precision.

Axes: N clips, T frames, P = T/2 pairs, H x W pixels, C = 3 colours, K classes.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.model.device import pick
from pipeline.model.network import VideoNetwork, each, halve
from pipeline.training.config import TrainConfig

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Feed(nn.Module):
    """A network that takes clips as data sets give them: bytes, colours last.

    Colours stay last in memory, which is what fast convolutions want. Big frames of a network
    with ``big_input="low"`` are the 2x2 mean, as the pipeline makes them.
    """

    def __init__(
        self, network: VideoNetwork, mean: Sequence[float], std: Sequence[float], precision: str
    ) -> None:
        super().__init__()
        self.network = network
        self._dtype = PRECISIONS[precision]
        self.register_buffer("mean", 255 * torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("scale", 1 / (255 * torch.tensor(std))[:, None, None], False)

    def forward(self, clips_NTHWC: Tensor) -> Tensor:
        """Logits [N, K] in float32 of uint8 clips."""
        little, big = self._normal(clips_NTHWC[:, 0::2]), self._normal(clips_NTHWC[:, 1::2])
        if self.network.architecture.big_input == "low":
            big = each(big, halve)
        with self._autocast(clips_NTHWC.device.type):
            logits_NK = self.network.forward_pairs(little, big)
        return logits_NK.float()

    def _normal(self, frames_NPHWC: Tensor) -> Tensor:
        """[N, P, C, H, W]; bytes are exact in bf16 and fp16."""
        frames_NPCHW = frames_NPHWC.to(self._dtype).permute(0, 1, 4, 2, 3)
        mean, scale = self.get_buffer("mean"), self.get_buffer("scale")
        return frames_NPCHW.sub_(mean.to(self._dtype)).mul_(scale.to(self._dtype))

    def _autocast(self, device: str) -> "torch.autocast | nullcontext[None]":
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(device, dtype=self._dtype)


Classify = Callable[[Tensor], Tensor]
"""Clips of bytes [N, T, H, W, C] to logits [N, K]."""


def classifier(
    network: VideoNetwork, mean: Sequence[float], std: Sequence[float], precision: str = "fp32"
) -> Classify:
    """The function that evaluation calls; the network must be in evaluation mode."""
    feed = Feed(network, mean, std, precision).eval()
    device = next(network.parameters()).device
    feed.to(device)

    def classify(clips_NTHWC: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = feed(clips_NTHWC.to(device))
            return logits.cpu()

    return classify


def device_of(config: TrainConfig) -> torch.device:
    """The device that a config asks for, with as many threads as it says.

    Raises:
        ConfigError: there is none, or it can't compute in that precision.
    """
    device = pick(config.device)
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError("precision fp16 needs a GPU; on a CPU, use bf16")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    return device
