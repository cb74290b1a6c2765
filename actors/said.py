"""What an actor's process has to say, for whoever asks how it does: nobody reads Ray's logs."""

from __future__ import annotations

import logging
from collections import deque

MAX_LINES = 100  # the newest, while nobody asks


class Said(logging.Handler):
    """Warnings and errors of one package, a line each, without tracebacks."""

    def __init__(self, package: str) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        logging.getLogger(package).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._lines.append(record.getMessage())

    def take(self) -> list[str]:
        """What was said since the last call."""
        return [self._lines.popleft() for _ in range(len(self._lines))]
