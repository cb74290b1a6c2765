"""How a Redis is reached: one that the config names, or a private one that is started here.

    with open_broker(config.redis) as broker:
        RedisSink(broker.client, config.redis.prefix)
        print("read along with:", broker.how_to_connect)

``connect`` and ``check`` say in one line why a Redis can't be used; ``EmbeddedServer`` is the
private one and its rule of life; ``faults`` tells what passes by itself from what doesn't.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from pipeline.broker.address import mask, resolve
from pipeline.broker.connect import (
    OLDEST,
    SOCKET_TIMEOUT_S,
    connect,
    how_to_connect,
    place,
    private_client,
)
from pipeline.broker.embedded import EmbeddedServer, find_server
from pipeline.broker.faults import code, explain, passes
from pipeline.broker.patience import Patience, Trial
from pipeline.config import RedisConfig

__all__ = [
    "OLDEST",
    "SOCKET_TIMEOUT_S",
    "Broker",
    "EmbeddedServer",
    "Patience",
    "Trial",
    "code",
    "connect",
    "explain",
    "find_server",
    "mask",
    "open_broker",
    "passes",
    "place",
    "private_client",
    "resolve",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A Redis that answers."""

    client: redis.Redis = field(repr=False)
    url: str
    """With its secrets masked; for the embedded one, an address that works as it is."""
    how_to_connect: str
    """A command for people: ``redis-cli -s /path/redis.sock``."""
    embedded: bool
    revive: Callable[[], None]
    """Start the embedded server again if it died (raises BrokerError); else does nothing."""


@contextmanager
def open_broker(config: RedisConfig) -> Iterator[Broker]:
    """The Redis that the config names, or without a URL the embedded one, started if need be.

    On leaving, the client is closed, and the embedded server ends if nobody else uses it.

    Raises:
        BrokerError: it can't be reached, used or started.
        ConfigError: the address or the password can't be made out.
    """
    if config.url is not None:
        client = connect(config)
        url = config.url.get_secret_value()
        try:
            yield Broker(
                client=client,
                url=mask(url),
                how_to_connect=how_to_connect(url),
                embedded=False,
                revive=lambda: None,
            )
        finally:
            client.close()
        return
    with EmbeddedServer(config.state_dir) as server:
        client = server.client()
        try:
            yield Broker(
                client=client,
                url=server.url,
                how_to_connect=f"redis-cli -s {server.socket}",
                embedded=True,
                revive=server.start,
            )
        finally:
            client.close()
