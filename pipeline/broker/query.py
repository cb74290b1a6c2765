"""What may stand after the ``?`` of a Redis's address: a closed list, every value checked.

Redis-py hands any name on to its connection. Many want objects (``retry``, ``event_dispatcher``)
or change the replies that we read (``protocol``, ``encoding``); given as text they end in a
traceback, some of them only when the connection is lost. Names are compared as they are written:
none hides behind ``%XX`` from whoever looks for passwords.
"""

import os
import re
import ssl
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, unquote_plus

from pipeline.errors import ConfigError

LONGEST_TIMEOUT_S = 3600.0  # more passes for never, and the operating system's ends at 292 years
DATABASE = re.compile(r"[0-9]{1,9}")  # Redis counts them in 32 bits

_CLIENT_NAME = re.compile(r"[!-~]{1,100}")  # Redis refuses spaces and line ends in it
_TRUTHS = ("true", "false", "yes", "no", "1", "0")
_NAME = re.compile(r"[A-Za-z_]{1,40}")
_PLAIN_VALUE = re.compile(r"[\w./~:%+-]*")


def _is_timeout(text: str) -> bool:
    try:
        return 0 < float(text) <= LONGEST_TIMEOUT_S  # false for nan
    except ValueError:
        return False


_TIMEOUT = (_is_timeout, f"seconds, more than 0 and at most {LONGEST_TIMEOUT_S:g}")
_FILE = (os.path.isfile, "a file that is there")
_SETTINGS: dict[str, tuple[Callable[[str], object], str]] = {
    "db": (DATABASE.fullmatch, "the number of a database"),
    "username": (bool, "a user's name"),
    "password": (bool, "a password"),
    "client_name": (_CLIENT_NAME.fullmatch, "a name without spaces, of at most 100 characters"),
    "socket_timeout": _TIMEOUT,
    "socket_connect_timeout": _TIMEOUT,
    "ssl_ca_certs": _FILE,
    "ssl_ca_path": (os.path.isdir, "a folder that is there"),
    "ssl_certfile": _FILE,
    "ssl_keyfile": _FILE,
    "ssl_cert_reqs": (("required", "none").__contains__, "required or none"),
    "ssl_check_hostname": (lambda text: text.lower() in _TRUTHS, "true or false"),
}
"""By name: whether a value fits, and what would."""


def check_query(parts: SplitResult, shown: str) -> None:
    """Pass, or say which setting is at fault; ``shown`` is the address without its secrets.

    Raises:
        ConfigError: a name that isn't in the list, a value that doesn't fit, a certificate that
            can't be used.
    """
    given: dict[str, str] = {}
    for piece in filter(None, parts.query.split("&")):
        name, equals, written = piece.partition("=")
        if name not in _SETTINGS:
            quoted = f": {name}" if equals and _NAME.fullmatch(name) else ""
            raise ConfigError(
                f"redis.url: {shown} has a setting after '?' that can't be used{quoted}; "
                f"there are: {', '.join(_SETTINGS)}"
            )
        fits, wanted = _SETTINGS[name]
        value = unquote_plus(written)
        if name in given or not fits(value):
            twice = "; it is given twice" if name in given else ""
            raise ConfigError(
                f"redis.url: {shown} has a setting after '?' that can't be used: "
                f"{name} wants {wanted}{twice}"
            )
        given[name] = value
    tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
    if tls and parts.scheme != "rediss":
        raise ConfigError(
            f"redis.url: {shown} has a setting after '?' that can't be used: {min(tls)} is for "
            "TLS; write rediss://"
        )
    _check_certificates(tls, shown)


def hide(query: str) -> str:
    """The query as messages may show it: known settings with plain values, but no password."""
    return "&".join(map(_hidden, query.split("&")))


def _hidden(piece: str) -> str:
    name, equals, value = piece.partition("=")
    if name in _SETTINGS and name != "password" and _PLAIN_VALUE.fullmatch(value):
        is_path = name.startswith("ssl_")
        if is_path or _SETTINGS[name][0](unquote_plus(value)):
            return piece
    return f"{name}=***" if equals and _NAME.fullmatch(name) else "***"


def _check_certificates(tls: Mapping[str, str], shown: str) -> None:
    """Load them once: later, a file that is no certificate passes for a server without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities, folder = tls.get("ssl_ca_certs"), tls.get("ssl_ca_path")
    certificate, key = tls.get("ssl_certfile"), tls.get("ssl_keyfile")
    if key and not certificate:
        raise ConfigError(f"redis.url: {shown} has ssl_keyfile without ssl_certfile; give both")
    if authorities or folder:
        try:
            context.load_verify_locations(authorities, folder)
        except OSError:
            raise ConfigError(
                f"redis.url: {shown}: ssl_ca_certs or ssl_ca_path can't be used: no certificates "
                "in PEM, or not for us to read"
            ) from None
    if certificate:
        try:
            # With a password at hand OpenSSL doesn't ask the terminal for one.
            context.load_cert_chain(certificate, key, password="")
        except OSError:
            raise ConfigError(
                f"redis.url: {shown}: ssl_certfile can't be used: no certificate in PEM with its "
                "key (in ssl_keyfile, or in the same file), a key that is encrypted, or not for "
                "us to read"
            ) from None
