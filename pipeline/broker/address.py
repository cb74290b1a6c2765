"""Redis's addresses: which are accepted, and how they look in a message.

A password may stand in the user part or in the query. A message shows neither, and it shows
nothing else when the URL is so malformed that the two can't be told from the rest.
"""

import re
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pipeline.broker.query import DATABASE, check_query, hide
from pipeline.config import RedisConfig, read_secret
from pipeline.errors import ConfigError
from pipeline.printable import KNOWN_SCHEMES

SCHEMES = ("redis", "rediss", "unix")
_IN_QUERY = re.compile(r"([?&;])([^=&;?#@/]*)=[^&;]*")
_SECRET = re.compile(r"pass|pwd|secret|token|auth|key", re.IGNORECASE)


def mask(url: str) -> str:
    """The URL without its secrets: ``redis://:pa/ss@host/0?password=x`` -> ``redis://:***@host/0?…``.

    Works on text, not on a parsed URL: an unescaped ``/`` or ``#`` in a password would move half of
    it into the path. What stands before the last ``@`` is taken for credentials.
    """
    text = _IN_QUERY.sub(_without_secret, url)
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    if "@" in rest:
        credentials, _, host = rest.rpartition("@")
        user = credentials.partition(":")[0] + ":" if ":" in credentials else ""
        rest = f"{user}***@{host}"
    place, mark, query = rest.partition("?")
    return scheme + separator + place + mark + (hide(query) if query else "")


def _without_secret(found: re.Match[str]) -> str:
    """``?p%61ssword=x`` -> ``?p%61ssword=***``: the name is what redis-py will read."""
    return f"{found[1]}{found[2]}=***" if _SECRET.search(unquote(found[2])) else found[0]


def holds_password(url: str) -> bool:
    """Whether a password can be read in it; a user's name is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False  # nobody can tell, and ``resolve`` refuses it
    return bool(parts.password) or "password" in parse_qs(parts.query)


def resolve(config: RedisConfig) -> tuple[str, str | None]:
    """The URL to connect to, and the password that stands apart from it.

    Raises:
        ConfigError: an address that isn't Redis's, two passwords, or one that can't be read.
    """
    url = config.url.get_secret_value() if config.url else ""
    parts = _split(url)
    shown = mask(url)
    if parts.scheme == "unix":
        _check_socket(parts, shown)
    else:
        _check_server(parts, shown)
    check_query(parts, shown)
    password = read_secret(env=config.password_env, file=config.password_file, what="redis")
    if password is not None and (parts.password or parse_qs(parts.query).get("password")):
        raise ConfigError(
            f"redis: a password stands in the url ({shown}) and in password_env or "
            "password_file; keep one"
        )
    return parts.scheme + url[len(parts.scheme) :], password  # redis-py wants it in small letters


def _split(url: str) -> SplitResult:
    """The parts of a URL in which a password can be told from the rest."""
    if " " in url or not url.isprintable():
        raise ConfigError(
            "redis.url: holds a space or a control character, perhaps at its beginning or end; "
            "take it out, or write it as %XX"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # read, it is checked
    except ValueError:
        raise ConfigError(
            f"redis.url: {_scheme(url)}… can't be parsed; special characters in a password are "
            "written as %XX, or the password goes into password_env or password_file"
        ) from None
    if parts.scheme not in SCHEMES or not _scheme(url):
        raise ConfigError(
            f"redis.url: {_scheme(url)}… must start with redis://, rediss:// (TLS) or unix:// "
            "(a socket)"
        )
    # redis://:12#hunter2@host: the login ends at its first # and passes for a host with a port
    behind = parts.query if parts.scheme == "unix" else parts.path + parts.query
    stray = re.search(r"\][^:]", parts.netloc.rpartition("@")[2])  # [::1]hunter2
    if "#" in url or "@" in behind or stray:
        raise ConfigError(
            f"redis.url: {_scheme(url)}… holds a /, ? or # in its login, or an @ or # behind its "
            "host; write them as %2F, %3F, %23 and %40, or put the password into password_env or "
            "password_file"
        )
    return parts


def _check_socket(parts: SplitResult, shown: str) -> None:
    """``unix://[user:password@]/path``: between login and path stands nothing."""
    if parts.netloc and not parts.netloc.endswith("@"):  # unix://:pa/ss@/path, unix://run/x.sock
        raise ConfigError(
            "redis.url: unix://… wants three slashes, unix:///path/to/redis.sock, and in a "
            "password a / is written as %2F"
        )
    if not parts.path or "\0" in unquote(parts.path):
        raise ConfigError(f"redis.url: {shown} names no socket; write unix:///path/to/redis.sock")


def _check_server(parts: SplitResult, shown: str) -> None:
    """``redis://[user:password@]host[:port][/database]``."""
    host = unquote(parts.hostname or "")
    try:
        host.encode("idna")
    except UnicodeError:  # a..b, or more than 63 characters between two dots
        host = ""
    if not host or not host.isprintable():
        # Not shown: redis://:1234 may be a password whose host was forgotten.
        raise ConfigError(
            f"redis.url: {parts.scheme}://… names no host; write "
            f"{parts.scheme}://HOST[:PORT][/DATABASE]"
        )
    if parts.port == 0:
        raise ConfigError(f"redis.url: {shown} has port 0; Redis listens on 6379 by default")
    database = parts.path.removeprefix("/")
    if database and not DATABASE.fullmatch(database):
        raise ConfigError(
            f"redis.url: {parts.scheme}://… has something else than the number of a database "
            "behind its host; write /0, or nothing"
        )


def _scheme(url: str) -> str:
    """All that is shown of a URL in which a password can't be told from a host or a port."""
    found = re.match(r"(\w{1,16})://", url)
    return found[0] if found and found[1].lower() in KNOWN_SCHEMES else ""
