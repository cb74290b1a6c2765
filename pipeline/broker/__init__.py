"""How a Redis is reached: one that the config names, or a private one that is started here.

    with open_broker(config.redis) as broker:
        RedisSink(broker.client, config.redis.prefix)
        print("read along with:", broker.how_to_connect)

``connect`` and ``check`` say in one line why a Redis can't be used; ``EmbeddedServer`` is the
private one and its rule of life; ``faults`` tells what passes by itself from what doesn't.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from pipeline.broker.address import mask, resolve
from pipeline.broker.connect import (
    OLDEST,
    SOCKET_TIMEOUT_S,
    connect,
    connect_later,
    how_to_connect,
    longest_block_s,
    place,
    private_client,
)
from pipeline.broker.embedded import EmbeddedServer, find_server
from pipeline.broker.faults import code, explain, passes
from pipeline.broker.patience import Patience, Revival, Trial, pause_s
from pipeline.broker.state import default_state_dir, private_folder, settled
from pipeline.config import RedisConfig
from pipeline.errors import BrokerError

__all__ = [
    "OLDEST",
    "SOCKET_TIMEOUT_S",
    "Broker",
    "EmbeddedServer",
    "Patience",
    "Revival",
    "Trial",
    "code",
    "connect",
    "default_state_dir",
    "explain",
    "find_server",
    "longest_block_s",
    "mask",
    "open_broker",
    "passes",
    "pause_s",
    "place",
    "private_client",
    "private_folder",
    "resolve",
    "settled",
]

log = logging.getLogger(__name__)


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
def open_broker(config: RedisConfig, *, must_answer: bool = True) -> Iterator[Broker]:
    """The Redis that the config names, or without a URL the embedded one, started if need be.

    On leaving, the client is closed, and the embedded server ends if nobody else uses it. Unless it
    ``must_answer``, one that is away is given back as well, for whoever has an outbox.

    Raises:
        BrokerAway: it can't be reached.
        BrokerError: it can't be used or started.
        ConfigError: the address or the password can't be made out.
    """
    if config.url is None:
        with _embedded(config, must_answer=must_answer) as broker:
            yield broker
        return
    client = connect(config) if must_answer else connect_later(config)
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


@contextmanager
def _embedded(config: RedisConfig, *, must_answer: bool) -> Iterator[Broker]:
    server = EmbeddedServer(config.state_dir)
    try:
        server.start()
    except BrokerError as error:
        if must_answer:
            raise
        log.warning("%s", error)
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
        server.stop()
