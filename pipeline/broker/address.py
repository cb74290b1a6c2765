"""Redis's addresses: which are accepted, and how they look in a message.

A password may stand in the user part or in the query. A message shows neither, and it shows
nothing else when the URL is so malformed that the two can't be told from the rest.
"""

import re
from urllib.parse import parse_qs, urlsplit

from pipeline.config import RedisConfig, read_secret
from pipeline.errors import ConfigError

SCHEMES = ("redis", "rediss", "unix")
_SECRET_IN_QUERY = re.compile(
    r"([?&;]\w*(?:pass|pwd|secret|token|auth|key)\w*=)[^&;]*", re.IGNORECASE
)


def mask(url: str) -> str:
    """The URL without its secrets: ``redis://:pa/ss@host/0?password=x`` -> ``redis://:***@host/0?…``.

    Works on text, not on a parsed URL: an unescaped ``/`` or ``#`` in a password would move half of
    it into the path. What stands before the last ``@`` is taken for credentials.
    """
    text = _SECRET_IN_QUERY.sub(r"\1***", url)
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    if "@" in rest:
        credentials, _, host = rest.rpartition("@")
        user = credentials.partition(":")[0] + ":" if ":" in credentials else ""
        rest = f"{user}***@{host}"
    return scheme + separator + rest


def resolve(config: RedisConfig) -> tuple[str, str | None]:
    """The URL to connect to, and the password that stands apart from it.

    Raises:
        ConfigError: an address that isn't Redis's, two passwords, or one that can't be read.
    """
    url = config.url.get_secret_value() if config.url else ""
    shown = mask(url)
    if not url.isprintable():
        raise ConfigError("redis.url: holds control characters; write them as %XX")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(
            f"redis.url: {_scheme(url)}… can't be parsed; special characters in a password are "
            "written as %XX, or the password goes into password_env or password_file"
        ) from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"redis.url: {_scheme(url)}… must start with redis://, rediss:// (TLS) or unix:// "
            "(a socket)"
        )
    if parts.scheme == "unix" and not parts.path:
        raise ConfigError(f"redis.url: {shown} names no socket; write unix:///path/to/redis.sock")
    if port == 0:
        raise ConfigError(f"redis.url: {shown} has port 0; Redis listens on 6379 by default")
    password = read_secret(env=config.password_env, file=config.password_file, what="redis")
    if password is not None and (parts.password or parse_qs(parts.query).get("password")):
        raise ConfigError(
            f"redis: a password stands in the url ({shown}) and in password_env or "
            "password_file; keep one"
        )
    return url, password


def _scheme(url: str) -> str:
    """All that is shown of a URL in which a password can't be told from a host or a port."""
    found = re.match(r"\w{1,16}://", url)
    return found[0] if found else ""
