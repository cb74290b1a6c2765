"""Events out of the pipeline: into Redis Streams, or as JSON lines.

A sink has one verb. ``write`` returns when the events are out of our hands (Redis has answered,
the outbox or the operating system has the bytes), in order and with none left out, or raises
``SinkError``. ``published_at`` and, for live pictures, ``latency_ms`` are stamped on the way out.

    Outbox        for what has to go on while Redis is away: on disk, then to Redis, each event once
    RedisSink     straight to Redis, each event once; waits for it
    JsonLinesSink lines; a write that was given up may have been stored in part
    StatusPost    changes of state to Redis, without waiting; StatusLog waits
"""

from collections.abc import Sequence
from typing import Protocol

from pipeline.broker import Patience
from pipeline.records import ActionEvent
from pipeline.sink.event_stream import EventStream
from pipeline.sink.json_lines import JsonLinesSink
from pipeline.sink.outbox import Outbox
from pipeline.sink.outboxes import left_over, open_outbox
from pipeline.sink.redis_streams import RedisSink, StatusLog
from pipeline.sink.sender import Delivery
from pipeline.sink.state import Limits, OutboxState
from pipeline.sink.status_post import StatusPost

__all__ = [
    "Delivery",
    "EventStream",
    "JsonLinesSink",
    "Limits",
    "Outbox",
    "OutboxState",
    "Patience",
    "RedisSink",
    "Sink",
    "StatusLog",
    "StatusPost",
    "left_over",
    "open_outbox",
]


class Sink(Protocol):
    """Where events go."""

    def write(self, events: Sequence[ActionEvent]) -> None:
        """Write them, in order, all of them."""

    def close(self) -> None:
        """Give back what is held; events that were written stay written. May be called twice."""
