"""The knobs of a subscriber."""

from dataclasses import dataclass

from pipeline.broker import SOCKET_TIMEOUT_S
from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a subscriber treats what isn't acknowledged."""

    max_deliveries: int = 5
    """Attempts at an event, by all consumers together, before it is a dead letter."""
    claim_idle_s: float = 60.0
    """When a consumer counts as dead; longer than the slowest handler."""
    sweep_s: float = 5.0
    """Between two attempts at an event that the handler refused."""
    batch: int = 16
    """New events fetched at once."""
    block_s: float = 1.0
    """The longest wait in Redis, and for ``stop`` to be seen; at most half a socket's time-out."""
    remember: int = 100_000
    """Events whose repeats are recognised."""

    def __post_init__(self) -> None:
        if self.max_deliveries < 2:
            raise ConfigError(
                "max_deliveries must be at least 2, because a batch that was fetched and not begun "
                f"counts as delivered; got {self.max_deliveries}"
            )
        for name in ("claim_idle_s", "sweep_s", "block_s", "batch", "remember"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be more than 0; got {getattr(self, name)}")
        if self.block_s >= SOCKET_TIMEOUT_S:
            raise ConfigError(
                f"block_s must be less than the socket's time-out, {SOCKET_TIMEOUT_S:g} s, or "
                f"silence would pass for a lost connection; got {self.block_s}"
            )
