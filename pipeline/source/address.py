"""Camera addresses: parsed and judged before FFmpeg sees them, and free of secrets when shown.

FFmpeg takes ``file:``, ``concat:``, ``subfile:``, ``cache:`` and more wherever it takes a URL, so
a "camera" could read any local file; only the schemes in ``SCHEMES`` pass here.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from pipeline.cameras import MAX_URL
from pipeline.errors import ConfigError, SourceForbidden
from pipeline.printable import KNOWN_SCHEMES
from pipeline.tokens import holds_token, plain

MAX_LOGIN = 127  # bytes of user:password, %-encoded: FFmpeg cuts longer ones without a word
SCHEMES = ("rtsp", "rtsps")
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a camera is; ``str()`` of it holds no secret."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    """Path and query, as written; begins with a slash or is empty."""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{_without_secrets(self.path)}"

    def url(self) -> str:
        """What FFmpeg needs, secrets included: never to be logged."""
        login = f"{self.login()}@" if self.username is not None else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{login}{host}:{self.port}{self.path}"

    def login(self) -> str:
        """As it stands in a URL: never to be logged."""
        given = (text for text in (self.username, self.password) if text is not None)
        return ":".join(quote(text, safe="") for text in given)


def parse_address(url: str, *, username: str | None = None, password: str | None = None) -> Address:
    """The address in a camera's URL; a login given apart wins over the one in the URL.

    Raises:
        SourceForbidden: a scheme that isn't for cameras, or one that would have us listen.
        ConfigError: not a URL, one without a host, or with more than FFmpeg takes.
    """
    if " " in url or not url.isprintable():
        raise ConfigError("the camera's URL holds spaces or control characters; write them as %XX")
    if len(url.encode()) > MAX_URL:
        raise ConfigError(f"the camera's URL has more than {MAX_URL} bytes")
    scheme, colon, _ = url.partition(":")
    if not colon or scheme.lower() not in SCHEMES:
        shown = scheme.lower() if colon and scheme.lower() in KNOWN_SCHEMES else "none of these"
        raise SourceForbidden(
            f"a camera's URL must begin with rtsp:// or rtsps:// (its scheme is {shown}); "
            "to analyse a local file, use: actionstream analyze FILE"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("the camera's URL has no valid host or port") from None
    if port == 0 or re.search(r".\[|\][^:]", parts.netloc.rpartition("@")[2]):
        raise ConfigError("the camera's URL has no valid host or port")
    if not parts.hostname:
        raise ConfigError("the camera's URL names no host; want rtsp://HOST[:PORT]/PATH")
    # rtsp://admin:12/34@10.0.0.1/: the login ends at its first / and passes for a host with a port
    cut = "@" in f"{parts.path}?{parts.query}" and not _is_surely_a_host(parts.hostname)
    if parts.fragment or parts.netloc.endswith(":") or cut:
        raise ConfigError(
            "the camera's URL holds a /, ? or # in its login; write them as %2F, %3F and %23 "
            "(and an @ in its path as %40)"
        )
    if re.search(r"(?:^|[?&;])listen(?:$|[&;=])", parts.query):
        raise SourceForbidden("a camera's URL may not ask FFmpeg to listen; leave ?listen out")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        if username is None and parts.username is not None:
            username = unquote(parts.username, errors="strict")
        if password is None and parts.password is not None:
            password = unquote(parts.password, errors="strict")
    except UnicodeDecodeError:
        raise ConfigError("what the camera's URL has as %XX in its login isn't UTF-8") from None
    if password is not None and not username:
        raise ConfigError("the camera has a password but no username; give both")
    address = Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        path=path,
        username=username,
        password=password,
    )
    _check_login(address)
    return address


def _check_login(address: Address) -> None:
    if address.username is not None and ":" in address.username:
        raise ConfigError(
            "the camera's username holds a colon; give the password apart, by password_env or "
            "password_file"
        )
    for what, text in (("username", address.username), ("password", address.password)):
        if text is not None and _NO_TEXT.search(text):
            raise ConfigError(f"the camera's {what} holds control characters, or isn't UTF-8")
    if (length := len(address.login())) > MAX_LOGIN:
        raise ConfigError(
            f"the camera's username and password take {length} bytes in a URL, where FFmpeg has "
            f"room for {MAX_LOGIN}; shorten them (a special character takes three or more)"
        )


def _is_surely_a_host(text: str) -> bool:
    """A name with dots may be the user's."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text == "localhost"
    return True


def _without_secrets(path: str) -> str:
    """Cameras take logins there as well: /user=admin_password=…, /admin:…/main, /stream?pwd=…."""
    before, mark, _ = path.partition("?")
    shown = "/".join("***" if _is_secret(plain(part)) else part for part in before.split("/"))
    return f"{shown}?***" if mark else shown


def _is_secret(part: str) -> bool:
    return bool(set("=:") & set(part)) or holds_token(part)


_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # would end a header of RTSP
