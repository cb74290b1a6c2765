"""A camera actor's calls of one recognizer, each with all the windows that are due.

They go past Ray where both are on one machine. One that fails there is made again through Ray,
which waits until the recognizer is back; so no window is lost that Ray itself would not lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import get_ident

import ray
from ray.actor import ActorHandle

from actors.direct import HungUp, Line
from actors.recognizer import Pixels, Recognizer
from pipeline.batcher import Batcher
from pipeline.records import Answer, Scores, Window

CALLS = 2
"""Under way to a recognizer at any time: one being computed, one that waits there. What is due
meanwhile goes together in the next, so calls grow with the load."""

COMPANY_S = 0.002
"""How long a call waits for other windows while another is under way. Streams that were answered by
one call are due again one after the other: without it 2.6 windows share a call, with it 6, for 0.75
of the CPU a window."""


class Calls(Batcher[Window, Scores]):
    """Turns single windows into calls that carry up to ``batch_size`` of them."""

    def __init__(self, recognizer: ActorHandle[Recognizer], batch_size: int) -> None:
        self._recognizer = recognizer
        self._lines: dict[int, Line] = {}
        """By thread: each has one call under way."""
        self._elsewhere = False
        super().__init__(
            self._scores, batch_size=batch_size, timeout_s=COMPANY_S, workers=CALLS, eager=True
        )

    @property
    def direct(self) -> int:
        """Lines to the recognizer that don't go through Ray."""
        return len(self._lines)

    def close(self) -> None:
        """Wait for what is under way, and hang up."""
        super().close()
        for line in self._lines.values():
            line.close()

    def _scores(self, windows: Sequence[Window]) -> list[Scores]:
        pixels = [(each.stream_id, each.little_PHWC, each.big_PHWC) for each in windows]
        return list(map(Scores.of, windows, self._answers(pixels)))

    def _answers(self, pixels: Sequence[Pixels]) -> list[Answer]:
        answers: list[Answer]
        with suppress(HungUp):
            if line := self._line():
                answers = line.lend("answers", pixels)
                return answers
        if line := self._lines.pop(get_ident(), None):
            line.close()
        answers = ray.get(self._recognizer.answers.remote(pixels))
        return answers

    def _line(self) -> Line | None:
        """One for each thread; None: the recognizer is on another machine."""
        line = self._lines.get(get_ident())
        if line is None and not self._elsewhere:
            address = ray.get(self._recognizer.door.remote())
            self._elsewhere = address is None or not address.here
            if not self._elsewhere:
                line = self._lines[get_ident()] = Line(address)
        return line
