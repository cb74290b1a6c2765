"""A camera as a source: RTSP over TCP or UDP."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pipeline.cameras import CameraConfig, CameraKnobs
from pipeline.config import read_secret
from pipeline.errors import ActionstreamError, ConfigError
from pipeline.home import absolute
from pipeline.records import SourceKind
from pipeline.source.address import Address, parse_address
from pipeline.source.feed import Feed
from pipeline.source.networks import located

PROBE = "200000"  # bytes and microseconds: opening takes 0.24 s instead of 1 s


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSource:
    """A camera that speaks RTSP; each ``open`` is a new connection."""

    kind: ClassVar[SourceKind] = "live"
    stream_id: str
    address: Address
    knobs: CameraKnobs = field(default_factory=CameraKnobs)

    @property
    def shown(self) -> str:
        """The camera as messages may name it."""
        return f"camera {self.stream_id} ({self.address})"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.address.port

    def open(self) -> Feed:
        """The camera's packets. FFmpeg's time-outs don't always hold: see ``Watched``.

        Raises:
            SourceUnauthorized, SourceNotFound, SourceUnreachable, SourceTimeout, SourceForbidden:
                with the address, less its secrets, and what to check.
        """
        knobs = self.knobs
        proves_name = knobs.tls_verify and self.address.scheme == "rtsps"
        address = located(self.address, knobs.allowed_networks, keep_name=proves_name)
        return Feed(
            address.url(),
            kind="live",
            shown=self.shown,
            options=self._options(),
            open_timeout_s=knobs.open_timeout_s,
            read_timeout_s=knobs.frame_timeout_s,
        )

    def _options(self) -> dict[str, str]:
        """What FFmpeg is told; whatever a config may set comes first, so that ours wins."""
        knobs = self.knobs
        options = {"analyzeduration": PROBE, "probesize": PROBE}
        options |= {name: str(value) for name, value in knobs.options.items()}
        options |= {
            "protocol_whitelist": "rtsp,rtp,udp,tcp",
            "rtsp_transport": knobs.transport,
            "allowed_media_types": "video",  # or sound would hide that no picture comes
            "timeout": str(int(knobs.open_timeout_s * 1e6)),  # TCP connect, microseconds
        }
        if self.address.scheme == "rtsps":
            options["protocol_whitelist"] += ",tls,srtp"
            options["tls_verify"] = str(int(knobs.tls_verify))
            if knobs.tls_ca_file:
                options["ca_file"] = str(knobs.tls_ca_file)
        return options


def camera_source(config: CameraConfig, *, password: str | None = None) -> CameraSource:
    """The camera that a config describes, its address judged and its password fetched.

    A ``password`` that is given stands for whatever the config names.

    Raises:
        ConfigError: it can't be used; the message names it.
    """
    what = f"camera {config.name!r}"
    if password is None:
        password = read_secret(env=config.password_env, file=config.password_file, what=what)
    try:
        address = parse_address(
            config.url.get_secret_value(), username=config.username, password=password
        )
    except ActionstreamError as error:
        raise ConfigError(f"{what}: {error}") from None
    knobs = config.knobs()
    if knobs.tls_ca_file is not None:
        knobs = knobs.model_copy(update={"tls_ca_file": _authorities(knobs.tls_ca_file, what)})
    return CameraSource(stream_id=config.name, address=address, knobs=knobs)


def _authorities(path: Path, what: str) -> Path:
    """Where they are, looked at once: FFmpeg would blame the camera for a file that is none."""
    path = absolute(path)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        raise ConfigError(
            f"{what}: tls_ca_file {path} can't be used: no certificates in PEM, or not for us to "
            "read"
        ) from None
    return path
