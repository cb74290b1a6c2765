"""What may be set of a camera: once for all of them, or for each.

``camera_defaults`` in a config holds what every camera begins with; a camera overrides any of it.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    field_validator,
    model_validator,
)

from pipeline.knobs import Frozen, Name, Positive, Rate, Share
from pipeline.tokens import holds_token, plain

MAX_URL = 2000  # bytes; FFmpeg cuts a path after 2047 without a word
MAX_NETWORKS = 64  # each camera has its own copy
_FLAG = r"(?:nobuffer|discardcorrupt|genpts|igndts)"
_MINUTE_US = 60_000_000
_PORTS = range(1024, 65536)
OPTIONS: dict[str, re.Pattern[str] | range] = {
    "analyzeduration": range(_MINUTE_US + 1),
    "buffer_size": range(1, (64 << 20) + 1),
    "fflags": re.compile(rf"[+-]?{_FLAG}(?:[+-]{_FLAG})*"),
    "max_delay": range(_MINUTE_US + 1),
    "max_port": _PORTS,
    "min_port": _PORTS,
    "pkt_size": range(188, 65508),
    "probesize": range(2048, (64 << 20) + 1),
    "reorder_queue_size": range(100_001),
    "user_agent": re.compile(r"[\x20-\x7e]{1,100}"),
}
"""FFmpeg's options that a config may set, each with the values that it may have. FFmpeg has
hundreds, some of which open files or listen, and takes names that it doesn't know without a word; a
value that it refuses would look like a camera that can't be opened."""


def _network(value: object) -> object:
    """As ``ipaddress`` reads it; pydantic would try each kind and complain of both."""
    if isinstance(value, str):
        try:
            return ipaddress.ip_network(value)
        except ValueError:  # whose text quotes the value, which may be an address with a login
            raise ValueError(
                "want a network such as 192.168.0.0/16, without host bits behind its prefix"
            ) from None
    if not isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        raise ValueError("want a network such as 192.168.0.0/16")
    return value


Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network, PlainValidator(_network), PlainSerializer(str)
]


Extent = Annotated[float, Field(ge=0.02, le=1)]
Timeout = Annotated[float, Field(gt=0, le=3600)]


class Region(Frozen):
    """A part of the picture as it is shown, in shares of its width and height, from top left."""

    x: Share = 0.0
    y: Share = 0.0
    width: Extent = 1.0
    height: Extent = 1.0

    @model_validator(mode="after")
    def _lies_inside(self) -> "Region":
        if self.x + self.width > 1 + 1e-9 or self.y + self.height > 1 + 1e-9:
            raise ValueError(
                f"the region reaches beyond the picture: x + width is {self.x + self.width:g}, "
                f"y + height is {self.y + self.height:g}; want at most 1"
            )
        return self


def _region(value: object) -> object:
    """As it is written on a command line: 0.5,0,0.5,1 -> the right half."""
    if isinstance(value, str):
        value = value.split(",")
    if isinstance(value, list | tuple):
        if len(value) != 4:
            raise ValueError(f"want a region as x,y,width,height in shares, got {len(value)} parts")
        return dict(zip(("x", "y", "width", "height"), value, strict=True))
    return value


class RetryConfig(Frozen):
    """When a lost camera is tried again: exponential backoff with full jitter."""

    initial_delay_s: Positive = 1.0
    """The first wait is between 0 and this: many cameras come back at once."""
    max_delay_s: Positive = 30.0
    """No wait is longer, but after a refused login: between this and its double, since cameras
    lock out who tries often. A stream that was good for this long begins again at the start."""
    multiplier: float = Field(default=2.0, ge=1, le=100)
    max_attempts: int = Field(default=-1, ge=-1, le=1_000_000_000)
    """Failures in a row after which the camera is given up; -1: never."""

    @model_validator(mode="after")
    def _grows(self) -> "RetryConfig":
        if self.max_delay_s < self.initial_delay_s:
            raise ValueError(
                f"max_delay_s ({self.max_delay_s:g}) must be at least initial_delay_s "
                f"({self.initial_delay_s:g}), or waits would shrink"
            )
        return self


class CameraKnobs(Frozen):
    """How a camera is connected and looked at."""

    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: Timeout = 10.0
    frame_timeout_s: Timeout = 10.0
    """Without a picture for this long, the connection is given up; half of it is a stall."""
    retry: RetryConfig = RetryConfig()
    corrupt: Literal["keep", "discard"] = "keep"
    """Damaged pictures, and those that build on them: kept and flagged, or dropped and counted."""
    sample_fps: Rate | None = None
    """Instead of ``sampling.sample_fps``."""
    region: Annotated[Region, BeforeValidator(_region)] | None = None
    """The part of the picture that is looked at."""
    fit: Literal["crop", "letterbox"] = "crop"
    """Cut out the centre square, or shrink all of it and leave black bars."""
    allowed_networks: Annotated[tuple[Network, ...], Field(max_length=MAX_NETWORKS)] | None = None
    """Where cameras may be; anywhere if not given."""
    tls_verify: bool = False
    """rtsps only: does the camera have to prove its name? Few cameras can."""
    tls_ca_file: Path | None = None
    """Whose signatures are believed, PEM; by default those that the system believes."""
    options: dict[str, str | int] = Field(default_factory=dict)
    """FFmpeg's own, of those in ``OPTIONS``."""

    @field_validator("options")
    @classmethod
    def _options_are_allowed(cls, options: dict[str, str | int]) -> dict[str, str | int]:
        for name, value in options.items():
            if name not in OPTIONS:
                raise ValueError(
                    f"FFmpeg's option {name[:40]!r} can't be set here; allowed are: "
                    + ", ".join(OPTIONS)
                )
            _check_option(name, str(value))
        low, high = (int(options.get(name, usual)) for name, usual in _USUAL_PORTS.items())
        if low > high:
            raise ValueError(f"min_port ({low}) must be at most max_port ({high})")
        return options


_USUAL_PORTS = {"min_port": 5000, "max_port": 65000}
"""FFmpeg's."""


def _check_option(name: str, value: str) -> None:
    may_be = OPTIONS[name]
    if isinstance(may_be, re.Pattern):
        if not may_be.fullmatch(value):
            raise ValueError(f"the option {name} doesn't take {value[:40]!r}")
    elif not re.fullmatch(r"[0-9]{1,10}", value) or int(value) not in may_be:
        raise ValueError(
            f"the option {name} doesn't take {value[:40]!r}; want a whole number from "
            f"{may_be[0]} to {may_be[-1]}"
        )


class CameraConfig(CameraKnobs):
    """One camera."""

    name: Name
    """The stream's name in every event."""
    url: SecretStr = Field(max_length=MAX_URL)
    """``rtsp://`` or ``rtsps://``; better without the password."""
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None

    def knobs(self) -> CameraKnobs:
        """How it is connected and looked at, without who it is."""
        return CameraKnobs(**{name: getattr(self, name) for name in CameraKnobs.model_fields})


def over_defaults(camera: object, defaults: object) -> object:
    """What is written of a camera over what is written of all; ``retry`` and ``options`` merge."""
    if not isinstance(camera, Mapping) or not isinstance(defaults, Mapping):
        return camera  # the models say what is wrong with it
    merged = {**defaults, **camera}
    for name in ("retry", "options"):
        general, own = defaults.get(name), camera.get(name)
        if isinstance(general, Mapping) and isinstance(own, Mapping):
            merged[name] = {**general, **own}
    return merged


def holds_secret(url: SecretStr | None) -> bool:
    """Does a URL have a login written into it, in front of the host or in its path?

    A camera's path may be nothing but a token; that of Redis is a file's or a number.
    """
    if url is None:
        return False
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        in_front = bool(parts.password)
    except ValueError:
        return "@" in text
    path = plain(f"{parts.path}?{parts.query}")
    in_path = bool(_LOGIN_IN_PATH.search(path))
    return in_front or in_path or (parts.scheme in ("rtsp", "rtsps") and holds_token(path))


_LOGIN_IN_PATH = re.compile(
    r"(?:pass|pwd|psw|pw|token|key|auth|secret)[^/&?]*[=:][^/&?]+|/[^/&?:]+:[^/&?]+", re.IGNORECASE
)
