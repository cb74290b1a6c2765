"""What was attached by command, and what is paused: a file in the state folder.

It survives a restart of the deployment. It holds no secret: of a password only the name of the
variable or the file that it is in, or that it was typed in and has to be asked for again.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.broker import private_folder
from pipeline.errors import ConfigError
from pipeline.small_file import read_small

VERSION = 1
MAX_BYTES = 64 << 20  # 10,000 cameras, with all that each may say


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A camera that stands in no config."""

    document: dict[str, object]
    """As it would stand in one, without the general defaults."""
    typed: bool = False
    """Its password was typed in, or is in the environment of whoever attached it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """All that is in the file."""

    attached: dict[str, Attached] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    """Whether they stand in the config or not."""


class Roster:
    """The file ``cameras.json``."""

    def __init__(self, folder: Path) -> None:
        self._path = private_folder(folder) / "cameras.json"
        self.noted = self._read()

    def save(self, noted: Noted) -> None:
        """Replace what is in the file, all or nothing.

        Raises:
            ConfigError: the disk doesn't take it.
        """
        cameras = [{"camera": one.document, "typed": one.typed} for one in noted.attached.values()]
        document = {"version": VERSION, "attached": cameras, "paused": sorted(noted.paused)}
        try:
            _replace(self._path, json.dumps(document, indent=1))
        except OSError as error:
            raise ConfigError(
                f"{self._path}: can't be written, so nothing was changed: {error.strerror}"
            ) from None
        self.noted = noted

    def _read(self) -> Noted:
        try:
            data, _ = read_small(self._path, MAX_BYTES)
        except FileNotFoundError:
            return Noted()
        except OSError as error:
            raise ConfigError(f"{self._path}: can't be read: {error.strerror}") from None
        try:
            return _parse(json.loads(data))
        except (ValueError, RecursionError):
            raise ConfigError(
                f"{self._path}: damaged, or of another version; move it away, and attach again "
                "the cameras that it names"
            ) from None


def _parse(document: object) -> Noted:
    """What a file says; ValueError if it isn't one of ours."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError("another version")
    attached, paused = document.get("attached"), document.get("paused")
    if not isinstance(attached, list) or not isinstance(paused, list):
        raise ValueError("no lists")
    found: dict[str, Attached] = {}
    for one in attached:
        camera = one.get("camera") if isinstance(one, dict) else None
        if not isinstance(camera, dict) or not isinstance(camera.get("name"), str):
            raise ValueError("no camera")
        found[camera["name"]] = Attached(document=camera, typed=bool(one.get("typed")))
    return Noted(attached=found, paused=frozenset(map(str, paused)))


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".cameras-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
