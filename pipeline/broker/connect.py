"""A Redis by its address: connected, checked, and known to be new enough.

``connect`` asks twice: once without any patience, so that a wrong address is said in seconds, then
by a client that bridges a short loss of connection by itself (``RETRIES``). Longer losses are the
business of sink and subscriber, which know what may be repeated.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from pipeline.broker.address import mask, resolve
from pipeline.broker.faults import SecretUnreadable, code, explain, passes
from pipeline.config import RedisConfig, read_secret
from pipeline.errors import BrokerAway, BrokerError, ConfigError

OLDEST = (6, 2)  # XAUTOCLAIM, ZMSCORE, XPENDING IDLE
CONNECT_TIMEOUT_S = 3.0
SOCKET_TIMEOUT_S = 5.0
HEALTH_CHECK_S = 30  # PING before the first command after a silence of this long
RETRIES = 3  # about a second in all, for a restart behind a proxy
_RETRY_CAP_S = 0.5


def connect(config: RedisConfig) -> redis.Redis:
    """A client of the Redis that the config names.

    Raises:
        BrokerAway: it can't be reached, or can't work just now.
        BrokerError: it can't be used, isn't a Redis, or is older than 6.2.
        ConfigError: the address or the password can't be made out.
    """
    url, password = resolve(config)
    probe = _client(url, password, patient=False)
    try:
        check(probe, url)
    finally:
        probe.close()
    return connect_later(config)


def connect_later(config: RedisConfig) -> redis.Redis:
    """The same client where Redis may be away: nothing is sent yet.

    Raises:
        ConfigError: the address or the password can't be made out.
    """
    url, password = resolve(config)
    client = _client(url, password, patient=True)
    if config.password_file is not None:
        settings = client.connection_pool.connection_kwargs
        settings.pop("password")
        user = settings.pop("username", None)
        settings["credential_provider"] = _PasswordFile(user, config.password_file)
    return client


def connect_socket(path: str, *, patient: bool = True) -> redis.Redis:
    """A client of the server at a unix socket; nothing is sent yet."""
    return redis.Redis(
        unix_socket_path=path,
        decode_responses=True,
        encoding_errors="surrogateescape",
        socket_timeout=SOCKET_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_S,
        retry=_retry(patient),
        protocol=2,
    )


def private_client(client: redis.Redis, *, timeout_s: float | None = None) -> redis.Redis:
    """A client of the same server with connections of its own, and with no patience.

    For reads that must not be repeated behind the caller's back, and for replies whose shape must
    not depend on how the given client was made. It waits as long as that one, but never without
    end, and no longer than ``timeout_s``. Close it.
    """
    pool = client.connection_pool
    settings = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if "maint_notifications" not in name  # those belong to the other pool
    }
    if settings.get("socket_timeout") is None:
        settings["socket_timeout"] = SOCKET_TIMEOUT_S
    if timeout_s is not None:
        for name in ("socket_timeout", "socket_connect_timeout"):
            if settings.get(name) is not None:
                settings[name] = min(timeout_s, settings[name])
    settings.update(
        decode_responses=True,
        encoding_errors="surrogateescape",
        protocol=2,
        retry=_retry(patient=False),
        retry_on_error=[],
    )
    return redis.Redis.from_pool(
        redis.ConnectionPool(connection_class=pool.connection_class, **settings)
    )


def longest_block_s(own: redis.Redis) -> float:
    """How long a private client's read may block: more silence passes for a lost connection."""
    return float(own.connection_pool.connection_kwargs["socket_timeout"]) / 2


def check(client: redis.Redis, url: str) -> None:
    """Ask whether it is a Redis that we can work with.

    Raises:
        BrokerAway, BrokerError: it isn't, now or ever; the message holds the URL masked.
    """
    try:
        client.ping()
        version = _version(client)
    except (RedisError, OSError, UnicodeError) as error:
        plain = "; use redis:// if it has no TLS" if url.startswith("rediss:") else ""
        away = isinstance(error, RedisError) and passes(error)
        kind = BrokerAway if away else BrokerError
        raise kind(f"{mask(url)}: {explain(error)}{plain}") from None
    except (AttributeError, TypeError, ValueError):  # what redis-py makes of ":one" or ":1"
        raise BrokerError(
            f"{mask(url)}: what answers is not a Redis server; check host and port"
        ) from None
    if version is not None and version < OLDEST:
        raise BrokerError(
            f"{mask(url)}: Redis {'.'.join(map(str, version))} is too old; "
            f"want {'.'.join(map(str, OLDEST))} or newer, or Valkey"
        )


def place(client: redis.Redis) -> str:
    """Where the client is connected to, for messages: ``host:6379`` or a socket's path."""
    settings = client.connection_pool.connection_kwargs
    if path := settings.get("path"):
        return str(path)
    return f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"


def how_to_connect(url: str) -> str:
    """A command for people: ``redis-cli -u redis://host:6379/0``, the password masked."""
    if urlsplit(url).scheme == "unix":
        return f"redis-cli -s {urlsplit(url).path}"
    return f"redis-cli -u {mask(url)}"


class _PasswordFile(CredentialProvider):
    """The password as it stands in its file when a connection is made: it may be changed."""

    def __init__(self, user: str | None, file: Path) -> None:
        self._user = user
        self._file = file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = read_secret(env=None, file=self._file, what="redis") or ""
        except ConfigError as error:
            raise SecretUnreadable(str(error)) from None
        return (self._user, password) if self._user else (password,)


def _client(url: str, password: str | None, *, patient: bool) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        password=password,
        decode_responses=True,
        # A foreign entry may hold any bytes; this way they survive a copy to the dead letters.
        encoding_errors="surrogateescape",
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_S,
        retry=_retry(patient),
        protocol=2,  # the same shape of replies from 6.2 to the newest
    )


def _retry(patient: bool) -> Retry:
    if patient:
        return Retry(ExponentialWithJitterBackoff(cap=_RETRY_CAP_S, base=0.05), RETRIES)
    return Retry(NoBackoff(), 0)


def _version(client: redis.Redis) -> tuple[int, ...] | None:
    """The version of Redis whose commands it has (Valkey says 7.2.4), None where it won't tell."""
    try:
        information: object = client.info("server")
    except NoPermissionError:
        return None
    except ResponseError as error:
        if code(error) == "NOPERM":
            return None
        raise
    said = information.get("redis_version", "") if isinstance(information, dict) else ""
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})", str(said))
    return (int(numbers.group(1)), int(numbers.group(2))) if numbers else None
