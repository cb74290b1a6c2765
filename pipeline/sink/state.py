"""How much may wait in an outbox, and how it is doing."""

from dataclasses import dataclass, field

from pipeline.errors import ConfigError
from pipeline.latency import Histogram
from pipeline.sink.sender import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may wait."""

    max_events: int = 200_000
    max_bytes: int = 256 << 20
    """Of their text; the file takes about 1.3 times as much."""

    def __post_init__(self) -> None:
        for name in ("max_events", "max_bytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"outbox: {name} must be more than 0; got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxState:
    """How an outbox is doing."""

    waiting: int
    bytes: int
    oldest_age_s: float
    """How long the oldest has waited; 0 where none does."""
    delivery: Delivery
    trouble: str
    """Why the disk takes nothing; empty where it does."""
    full: bool = False
    """So much waits that a camera's oldest events go, and a file's analysis waits."""
    repeats: int = 0
    """Events that Redis had already."""
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    """By stream and reason."""
    delivery_took: Histogram = field(default_factory=Histogram)
    """From an event on disk until Redis had acknowledged it."""
