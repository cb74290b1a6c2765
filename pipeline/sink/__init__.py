"""Events out of the pipeline: into Redis Streams, or as JSON lines.

A sink has one verb. ``write`` returns when the events are out of our hands (Redis has answered,
the operating system has the bytes), in order and with none left out, or raises ``SinkError``. It
stamps ``published_at`` and, for live pictures, ``latency_ms``. A write that was given up may have
been stored in part, so a caller who writes again makes repeats: ``(event_id, seq)`` tells them.
"""

from collections.abc import Sequence
from typing import Protocol

from pipeline.broker import Patience
from pipeline.records import ActionEvent
from pipeline.sink.json_lines import JsonLinesSink
from pipeline.sink.redis_streams import RedisSink, StatusLog

__all__ = ["JsonLinesSink", "Patience", "RedisSink", "Sink", "StatusLog"]


class Sink(Protocol):
    """Where events go."""

    def write(self, events: Sequence[ActionEvent]) -> None:
        """Write them, in order, all of them."""

    def close(self) -> None:
        """Give back what is held; events that were written stay written. May be called twice."""
