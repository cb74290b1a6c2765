"""A network with its spec, on a device: windows in, scores out."""

import time
from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.model.engine import Engine, normalised
from pipeline.model.network import VideoNetwork
from pipeline.records import Answer, Frames, Scores, Window
from pipeline.spec import ModelSpec


class Recognizer:
    """Scores windows, with an ``Engine``; ``network`` stays as it was loaded."""

    def __init__(
        self, network: VideoNetwork, spec: ModelSpec, digest: str, device: torch.device
    ) -> None:
        self.network = network.to(device).eval()
        self.spec = spec
        self.digest = digest
        self.device = device
        self._engine: Engine | None = None
        self._building = Lock()

    @property
    def on_gpu(self) -> bool:
        """Is it the GPU that computes?"""
        return self.device.type != "cpu"

    def scores(self, windows: Sequence[Window]) -> list[Scores]:
        """Scores of some windows, computed as one batch, in the order given.

        Raises: as ``answers`` does.
        """
        return list(map(Scores.of, windows, self.answers(windows)))

    def warm(self) -> None:
        """Score a black window, so that no real one waits for the network to be recorded.

        Raises:
            ModelError: its scores are no numbers, or as ``answers`` does.
        """
        pairs, size = self.spec.architecture.pairs, self.spec.size_px
        big = size // 2 if self.spec.architecture.big_input == "low" else size
        little_PHWC, big_PHWC = (np.zeros((pairs, px, px, 3), np.uint8) for px in (size, big))
        (answer,) = self.answers([Frames(little_PHWC=little_PHWC, big_PHWC=big_PHWC)])
        if not np.isfinite(answer.scores_K).all():
            raise ModelError(
                f"{self.spec.name}: its scores are no numbers, of a black picture already; its "
                "weights, mean or std are far too large: train or convert it again"
            )

    def answers(self, windows: Sequence[Frames]) -> list[Answer]:
        """The same for whoever knows what the frames are of.

        Raises:
            ModelError: the network doesn't take pictures of three colours.
            ValueError: frames of another shape than the network requires.
        """
        if not windows:
            return []
        if self.spec.architecture.in_channels != 3:
            raise ModelError(
                f"{self.spec.name} takes {self.spec.architecture.in_channels} channels per frame, "
                "and pictures have 3"
            )
        engine = self._ready_engine()
        began_s = time.monotonic()
        scores_NK = engine(*_frames(windows)).cpu().numpy()
        inference_s = time.monotonic() - began_s
        return [Answer(scores_K.copy(), inference_s) for scores_K in scores_NK]

    def inputs(self, windows: Sequence[Frames]) -> tuple[Tensor, Tensor]:
        """What ``network.forward_pairs`` takes: normalised frames, [N, P, 3, H, W] each."""
        mean, std = (
            torch.tensor(values, device=self.device)[:, None, None]
            for values in (self.spec.mean, self.spec.std)
        )
        little, big = _frames(windows)
        return (
            normalised(little.to(self.device), mean, std),
            normalised(big.to(self.device), mean, std),
        )

    def _ready_engine(self) -> Engine:
        if self._engine is None:
            with self._building:
                if self._engine is None:
                    self._engine = Engine(self.network, self.spec)
        return self._engine


def _frames(windows: Sequence[Frames]) -> tuple[Tensor, Tensor]:
    """Bytes of little and big frames, [N, P, H, W, 3] each."""
    little = np.stack([window.little_PHWC for window in windows])
    big = np.stack([window.big_PHWC for window in windows])
    return torch.from_numpy(little), torch.from_numpy(big)
