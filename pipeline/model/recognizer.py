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
from pipeline.model.spec import ModelSpec
from pipeline.records import Scores, Window, read_only


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

    def scores(self, windows: Sequence[Window]) -> list[Scores]:
        """Scores of some windows, computed as one batch, in the order given.

        Raises:
            ModelError: the network doesn't take pictures of three colours.
            ValueError: windows of another shape than the network requires.
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
        return [
            Scores(span=window.span, scores_K=read_only(scores_K.copy()), inference_s=inference_s)
            for window, scores_K in zip(windows, scores_NK, strict=True)
        ]

    def inputs(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
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
                    spec = self.spec
                    self._engine = Engine(self.network, spec.mean, spec.std, spec.score)
        return self._engine


def _frames(windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
    """Bytes of little and big frames, [N, P, H, W, 3] each."""
    little = np.stack([window.little_PHWC for window in windows])
    big = np.stack([window.big_PHWC for window in windows])
    return torch.from_numpy(little), torch.from_numpy(big)
