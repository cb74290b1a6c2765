"""What a Redis error means: whether it passes by itself, and how to say it in one line.

Texts are kept out where they could quote a command (``AUTH`` holds a password), redis-py's also
where they say less than the operating system's error underneath.
"""

import re
import socket
import ssl

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pipeline.printable import printable

_PASSING = frozenset(
    "BUSY CLUSTERDOWN LOADING MASTERDOWN MISCONF NOREPLICAS OOM READONLY TRYAGAIN UNBLOCKED".split()
)
"""Replies after which the same command may succeed later: memory freed, a replica promoted …"""

_SCRIPT_LACKS_RIGHTS = re.compile(r"ACL failure in script|user executing the script can't")
"""How Valkey, and how Redis 7, says NOPERM of a command within a script."""

_CODE = re.compile(r"([A-Z]{2,})\b")


class SecretUnreadable(AuthenticationError):
    """The file of a password can't be read now; the text says which, and why."""


def code(error: Exception) -> str:
    """The first word of Redis's reply, where it is a code: ``WRONGTYPE Operation …`` -> WRONGTYPE.

    Redis-py takes some codes off and keeps them in the exception's class only.
    """
    found = _CODE.match(_reply(error))
    return found.group(1) if found else ""


def passes(error: RedisError) -> bool:
    """Whether waiting can help: lost connections, time-outs, and the replies in ``_PASSING``."""
    if isinstance(error, AuthenticationError | AuthorizationError):  # are ConnectionErrors
        return False
    if isinstance(error, RedisConnectionError):
        return not any(isinstance(cause, ssl.SSLError) for cause in _chain(error))
    if isinstance(error, RedisTimeoutError):
        return True
    if isinstance(error, ClusterDownError | OutOfMemoryError | ReadOnlyError | TryAgainError):
        return True
    return isinstance(error, ResponseError) and code(error) in _PASSING


def explain(error: Exception) -> str:
    """What went wrong and what to do, without address and without secrets."""
    if isinstance(error, SecretUnreadable):
        return str(error)
    for cause in _chain(error):
        if isinstance(cause, OSError) and (said := _explain_os(cause)):
            return said
    if isinstance(error, NoPermissionError) or _SCRIPT_LACKS_RIGHTS.search(_reply(error)):
        return f"the user lacks the rights (ACL): {_brief(error)}"
    if isinstance(error, BusyLoadingError):
        return "it is still loading its data; try again in a moment"
    if isinstance(error, MaxConnectionsError):
        return "no connection is free in the client's pool"
    if isinstance(error, AuthenticationError | AuthorizationError) or code(error) in (
        "NOAUTH",
        "WRONGPASS",
    ):
        return (
            "it wants another user or password; set password_env or password_file, "
            "or put them into the URL"
        )
    if isinstance(error, InvalidResponse):
        return "what answers is not a Redis server; check host and port"
    if isinstance(error, RedisTimeoutError):
        return "it accepts connections but doesn't answer in time; check host, port and its load"
    if str(error).startswith("Connection closed by server"):
        return "it closed the connection; is it a Redis, and does it want TLS (rediss://)?"
    if isinstance(error, RedisConnectionError):
        return f"the connection was lost: {_brief(error)}"
    return _brief(error)


def _explain_os(cause: OSError) -> str | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its TLS certificate is not trusted: {cause.verify_message}; add "
            "?ssl_ca_certs=/path/to/ca.pem to the URL"
        )
    if isinstance(cause, ssl.SSLError):
        return "no TLS could be agreed on"
    if isinstance(cause, socket.gaierror):
        return "no such host; check the name"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused; is it running, and is that its port?"
    if isinstance(cause, FileNotFoundError):
        return "there is no such socket; is it running?"
    if isinstance(cause, PermissionError):
        return "the socket may not be opened by this user"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "it closed the connection; a server with TLS wants rediss://"
    if isinstance(cause, TimeoutError):
        return "it doesn't answer in time; check host, port, firewall and its load"
    return None


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or at.__context__
    return found


def _brief(error: Exception) -> str:
    text = " ".join(_reply(error).split())
    return printable(text[:160]) or type(error).__name__


def _reply(error: Exception) -> str:
    """Redis's own words, and none of ours: commands hold passwords and the user's data.

    A pipeline puts the command in front; what Redis doesn't know (``AUTH``, ``HELLO``, if somebody
    renamed them) it quotes with its arguments.
    """
    words = str(error).rpartition(" of pipeline caused error: ")[2]
    return words.partition(", with args beginning with")[0]
