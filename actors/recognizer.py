"""The recognizer actor: one copy of the network, batched over the streams pinned to it.

It keeps nothing between windows, so Ray may restart it at will and send unanswered windows again.
Calls wait in threads, one for each unanswered window: an event loop takes 1.2 times as long.
"""

from __future__ import annotations

from pipeline.config import ModelConfig, RecognizerConfig
from pipeline.model import load_from
from pipeline.records import Scores, Window
from pipeline.run import batcher_for


class Recognizer:
    """Scores windows."""

    def __init__(self, model: ModelConfig, config: RecognizerConfig) -> None:
        self._recognizer = load_from(model)
        self._batcher = batcher_for(self._recognizer, config)

    def scores(self, window: Window) -> Scores:
        """The network's answer, computed together with whatever else is waiting."""
        return self._batcher.submit(window).result()

    def mean_batch(self) -> float:
        """Windows per batch so far."""
        return self._batcher.windows / max(1, self._batcher.batches)

    def ready(self) -> str:
        """The device it runs on, once it runs."""
        return str(self._recognizer.device)
