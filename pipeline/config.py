"""What a user may set: one YAML file, checked before anything starts.

Every model here is frozen and refuses unknown keys. Fields that a network also has an opinion on
(``sample_fps``, ``hop``, ``short_side_px``, thresholds) default to ``None``, which means "as the
weights suggest"; what the weights *require* (sizes, frames, labels) can't be set at all.
The answer after both were asked is ``pipeline.settings.Settings``.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from pipeline.cameras import MAX_URL, CameraConfig, CameraKnobs, holds_secret, over_defaults
from pipeline.document import read_document
from pipeline.errors import ConfigError
from pipeline.knobs import Frozen, Name, NotNegative, Positive, Rate, Share
from pipeline.settings import MAX_FRAMES, MAX_PIXELS, MAX_SIDE_PX, MAX_SMOOTHING
from pipeline.small_file import NoFile, read_small

MAX_SECRET_BYTES = 1 << 16
MAX_THREADS = 256
MAX_CAMERAS = 10_000  # a config of 1 MiB could name 40,000, each with a copy of the defaults
MOST_PIXELS = 1 << 28  # 16,384 x 16,384: a gigabyte decoded
MOST_KEPT = 1 << 40
SHOWN = 10  # complaints in one message
LONGEST = 400  # characters of each: some quote a value
_KEY = re.compile(r"[\w-]{1,40}")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SHAPES = {
    "tuple_type": "a list is wanted here (each of its items begins with -)",
    "model_type": "settings are wanted here, each as name: value",
}
"""By type of complaint: what pydantic says in Python's words."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO  # of a file's mode: what anyone but its owner may do


MAX_PATH = 4096  # characters; Linux takes no more bytes


class ModelConfig(Frozen):
    """Which weights, where."""

    path: str = Field(default="default", max_length=MAX_PATH)
    """A bundle, a published checkpoint, or ``default`` for the one that comes along."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    frames: int | None = Field(default=None, ge=2, le=MAX_FRAMES)
    """T, where neither file nor file name tells."""
    beta: int | None = Field(default=None, ge=1, le=MAX_FRAMES)
    labels: str | None = Field(default=None, max_length=MAX_PATH)
    """A text file with a label per line, where the weights bring none."""


class SamplingConfig(Frozen):
    """Overrides of what the weights suggest about pictures and windows."""

    sample_fps: Rate | None = None
    max_gap_s: Positive = 1.0
    short_side_px: int | None = Field(default=None, gt=0, le=MAX_SIDE_PX)
    hop: int | None = Field(default=None, le=MAX_FRAMES)
    max_pixels: int = Field(default=MAX_PIXELS, gt=0, le=MOST_PIXELS)

    @field_validator("hop")
    @classmethod
    def _even_hop(cls, hop: int | None) -> int | None:
        if hop is not None and (hop < 2 or hop % 2):
            raise ValueError(
                f"hop must be an even number of frames, because big and little frames "
                f"alternate; got {hop}"
            )
        return hop


class EventConfig(Frozen):
    """Overrides of what the weights suggest about events; see ``EventSpec``."""

    enter: Share | None = None
    exit: Share | None = None
    smoothing_windows: int | None = Field(default=None, ge=1, le=MAX_SMOOTHING)
    min_duration_s: NotNegative | None = None
    merge_gap_s: NotNegative | None = None
    cooldown_s: NotNegative | None = None
    update_interval_s: Positive | None = None
    background: tuple[str, ...] | None = None


class RecognizerConfig(Frozen):
    """How windows are batched, and what of the machine the network may use."""

    batch_size: int = Field(default=8, ge=1, le=1024)
    """Windows of a batch at most; on a CPU fewer, where those are cheaper."""
    batch_timeout_ms: float | None = Field(default=None, ge=0, le=10_000)
    """How long a batch waits for company once its first window is there; by default not at all
    for cameras, and a little where many files are worked on at once."""
    workers: int | None = Field(default=None, ge=1, le=MAX_THREADS)
    """Batches computed side by side; by default one per CPU core, or one on a GPU."""
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    """CPU threads per batch: more makes one window faster and all windows together slower."""
    count: int = Field(default=1, ge=1, le=MAX_THREADS)
    """Recognizer actors; streams are dealt out among them."""


class DecodeConfig(Frozen):
    """How containers are read."""

    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    """Slice threads per stream. Frame threads are not offered: they lose pictures of damaged
    files without an error, and not the same ones each time."""


class RedisConfig(Frozen):
    """Where events go; without a URL, to a private server of our own."""

    url: SecretStr | None = Field(default=None, max_length=MAX_URL)
    password_env: str | None = None
    """Name of the environment variable that holds the password."""
    password_file: Path | None = None
    prefix: Name = "actionstream"
    maxlen: int = Field(default=1_000_000, ge=100, le=MOST_KEPT)
    """About how many entries a stream keeps; Redis trims by whole nodes of 100."""
    state_dir: Path | None = None
    """Where the outbox and the private server keep theirs; by default under ``$XDG_STATE_HOME``."""
    outbox_max_events: int = Field(default=200_000, ge=1, le=MOST_KEPT)
    """How many events may wait on disk while Redis is away; then the oldest go, and are counted."""
    outbox_max_bytes: int = Field(default=256 << 20, ge=1, le=MOST_KEPT)
    """And how many bytes of them; the file takes about 1.3 times as much."""


class HealthConfig(Frozen):
    """Where health and metrics are served, over HTTP without a password."""

    host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9_.:%-]+$")
    """An address of this machine; anything but loopback lets others read the names of streams."""
    port: int | None = Field(default=9464, ge=0, le=65535)
    """0 or null: nowhere."""


class Config(Frozen):
    """The whole file."""

    model: ModelConfig = ModelConfig()
    sampling: SamplingConfig = SamplingConfig()
    events: EventConfig = EventConfig()
    recognizer: RecognizerConfig = RecognizerConfig()
    decode: DecodeConfig = DecodeConfig()
    redis: RedisConfig = RedisConfig()
    health: HealthConfig = HealthConfig()
    camera_defaults: CameraKnobs = CameraKnobs()
    """What every camera begins with, and may say otherwise."""
    cameras: tuple[CameraConfig, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _empty_sections_are_defaults(cls, document: object) -> object:
        """``events:`` with nothing but comments below it is None in YAML."""
        if isinstance(document, dict):
            known = cls.model_fields
            return {k: v for k, v in document.items() if v is not None or k not in known}
        return document

    @model_validator(mode="before")
    @classmethod
    def _cameras_begin_with_their_defaults(cls, document: object) -> object:
        if not isinstance(document, dict) or not isinstance(document.get("cameras"), list | tuple):
            return document
        cameras, defaults = document["cameras"], document.get("camera_defaults", {})
        if len(cameras) > MAX_CAMERAS:
            raise ValueError(f"cameras: want at most {MAX_CAMERAS}, got {len(cameras)}")
        return {**document, "cameras": [over_defaults(camera, defaults) for camera in cameras]}

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Config":
        names = Counter(camera.name for camera in self.cameras)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"two cameras are named {twice[0]!r}; their events would mix")
        return self

    def camera(self, document: Mapping[str, object]) -> CameraConfig:
        """One more camera, as it would be if it stood in the file.

        Raises:
            ConfigError: it can't be one; the message never holds a value that may be a secret.
        """
        defaults = self.camera_defaults.model_dump(exclude_unset=True)
        try:
            return CameraConfig.model_validate(over_defaults(document, defaults))
        except ValidationError as error:
            raise ConfigError(f"the camera can't be attached: {describe(error)}") from None


def load_config(path: Path) -> Config:
    """The config in a YAML file.

    Raises:
        ConfigError: the file can't be read, isn't YAML, or says something impossible; the message
            names file, place and consequence, and never a value that may be a secret.
    """
    document, mode = read_document(path)
    config = parse_config(document, where=str(path))
    if mode & OTHERS and any(map(holds_secret, _urls(config))):
        raise ConfigError(
            f"{path}: holds a password or token, and others can read it; run: chmod 600 {path} "
            "(or name the password by password_env or password_file)"
        )
    return config


def _urls(config: Config) -> list[SecretStr | None]:
    return [config.redis.url, *(camera.url for camera in config.cameras)]


def parse_config(document: dict[str, object], *, where: str) -> Config:
    """The config in a mapping; ``where`` names it in messages.

    Raises:
        ConfigError: as ``load_config``.
    """
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe(error)}") from None


def describe(error: ValidationError) -> str:
    """Complaints of pydantic on one line: place, what is wrong, what would be right.

    Inputs are left out on purpose, and so are keys that look like no key: a mistyped one may hold
    a password.
    """
    details = error.errors(include_input=False, include_url=False)
    parts = []
    for detail in details[:SHOWN]:
        steps = [str(step) for step in detail["loc"]]
        place = ".".join(step if _KEY.fullmatch(step) else "…" for step in steps)
        if detail["type"] != "extra_forbidden":
            message = _SHAPES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        elif _KEY.fullmatch(steps[-1]):
            message = "no such setting (a typing error, or of a newer version)"
        else:
            message = "not the name of a setting (is there a space after each colon?)"
        message = message if len(message) <= LONGEST else f"{message[:LONGEST]}…"
        parts.append(f"{place}: {message}" if place else message)
    more = f"; and {len(details) - SHOWN} more" if len(details) > SHOWN else ""
    return "; ".join(parts) + more


def read_secret(*, env: str | None, file: Path | None, what: str) -> str | None:
    """A secret from the environment or a file, or None where neither is named.

    Raises:
        ConfigError: the variable isn't set, the file can't be read or others can read it, or
            both are named.
    """
    if env and file:
        raise ConfigError(f"{what}: password_env and password_file are both given; keep one")
    if env:
        if not _VARIABLE.fullmatch(env):
            raise ConfigError(f"{what}: password_env wants the name of a variable, such as CAM_PW")
        value = os.environ.get(env)
        if value is None:
            shown = env if env.isupper() else "that password_env names"  # else it may be a password
            raise ConfigError(f"{what}: the environment variable {shown} is not set")
        return value
    return _secret_in(file, what) if file else None


def _secret_in(file: Path, what: str) -> str:
    try:
        data, status = read_small(file, MAX_SECRET_BYTES + 1)
        if len(data) > MAX_SECRET_BYTES:
            raise NoFile
        secret = data.decode().rstrip("\r\n")
    except NoFile:
        raise ConfigError(
            f"{what}: {file} is no password file: not a file, or a large one"
        ) from None
    except OSError as error:
        raise ConfigError(  # its path may be the password itself
            f"{what}: can't read the file that password_file names: {error.strerror}"
        ) from None
    except UnicodeDecodeError:  # whose text holds a part of it
        raise ConfigError(f"{what}: the password file {file} is not text in UTF-8") from None
    if status.st_mode & OTHERS:
        raise ConfigError(f"{what}: others can read the password file; run: chmod 600 {file}")
    return secret
