"""The recognizer actor: one copy of the network, batched over the streams pinned to it.

It keeps nothing between windows, so Ray may restart it at will, and whoever has unanswered windows
sends them again. Calls come through its door, or through Ray from other machines; each waits in a
thread of its own (an event loop takes 1.2 times as long), and carries several windows where several
are due, since its cost is much the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.direct import Address, Door
from actors.garbage import spare_what_is_there
from actors.snapshot import RecognizerLoad
from actors.tether import end_with_parent
from pipeline.config import ModelConfig, RecognizerConfig
from pipeline.errors import ModelError
from pipeline.records import Answer, Frames

Pixels = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]
"""A stream's id, little and big frames. All else about a window stays with the caller: to send it
there and back took as long as its pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamFrames(Frames):
    """Frames that say whose they are."""

    stream: str

    @property
    def stream_id(self) -> str:
        """Whose they are."""
        return self.stream


class Recognizer:
    """Scores windows."""

    def __init__(
        self, model: ModelConfig, config: RecognizerConfig, *, digest: str, made_of: str = ""
    ) -> None:
        """``digest``: of the model that the deployment began with; ``made_of``: see ``Parts``.

        Raises:
            ModelError: the model can't be used, or is another one by now.
        """
        # Whoever has a handle of an actor loads its class: cameras would load torch with this one.
        from pipeline.model import load_from
        from pipeline.run import batcher_for

        end_with_parent()
        self.made_of = made_of
        self._recognizer = load_from(model)
        if self._recognizer.digest != digest:
            raise ModelError(
                f"{model.path}: holds another model than the one that the deployment began with; "
                "put that one back, or start the deployment again"
            )
        self._batcher = batcher_for(self._recognizer, self._recognizer.answers, config)
        spare_what_is_there()
        self._door = Door({"answers": self.answers}) if Door.possible else None

    def answers(self, pixels: Sequence[Pixels]) -> list[Answer]:
        """The network's answers in order, computed together with whatever else is waiting.

        Raises:
            Exception: what the network raised for any of them.
        """
        frames = [
            StreamFrames(stream=stream, little_PHWC=little, big_PHWC=big)
            for stream, little, big in pixels
        ]
        answers = self._batcher.submit_all(frames)
        return [answer.result() for answer in reversed(answers)][::-1]  # the last comes last

    def door(self) -> Address | None:
        """Where it can be called without Ray, if it can."""
        return None if self._door is None else self._door.address

    def mean_batch(self) -> float:
        """Windows per batch so far."""
        return self._batcher.windows / max(1, self._batcher.batches)

    def load(self) -> RecognizerLoad:
        """What it has done, and what it has to do."""
        batcher = self._batcher
        return RecognizerLoad(
            windows=batcher.windows,
            batches=batcher.batches,
            waiting=batcher.waiting,
            computing_s=batcher.computing_s,
            failures=batcher.failures,
            pid=os.getpid(),
        )

    def batch_sizes(self) -> Counter[int]:
        """Batches so far, by the number of their windows."""
        return self._batcher.sizes.copy()

    def ready(self) -> str:
        """The device it runs on, once it runs."""
        return str(self._recognizer.device)
