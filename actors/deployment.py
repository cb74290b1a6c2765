"""What people want of a running deployment, carried out on its supervisor, one wish at a time.

    stands in the config   runs from the start; ``reload`` gives the config another look
    attached by command    noted in the state folder, and there again after a restart

The rule that is easy to get wrong: first everything is judged, then it is noted, then it is done;
so a wish that is refused has changed nothing.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from actors.roster import Attached, Noted, Roster
from actors.snapshot import StreamSnapshot
from pipeline.cameras import holds_secret
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError
from pipeline.source import CameraSource, camera_source
from pipeline.stream import CameraState

DETACH_S = 30.0  # its last windows are scored, and a connection that hangs is left after 2 s
POLL_S = 0.05
AT_START = [part for part in Config.model_fields if part not in ("cameras", "camera_defaults")]
"""Sections of a config that are only read when a deployment starts."""


class Streams(Protocol):
    """The part of the supervisor that is used here."""

    def attach(self, source: CameraSource, *, paused: bool = False) -> None: ...  # noqa: D102
    def detach(self, stream_id: str) -> None: ...  # noqa: D102
    def pause(self, stream_id: str, paused: bool = True) -> None: ...  # noqa: D102
    def has(self, stream_id: str) -> bool: ...  # noqa: D102
    def note(self, stream_id: str, state: CameraState, detail: str) -> None: ...  # noqa: D102
    def snapshot(self) -> list[StreamSnapshot]: ...  # noqa: D102


class Deployment:
    """The cameras that should run. Not for several threads."""

    def __init__(self, config: Config, where: Path, folder: Path) -> None:
        """The cameras of a config, and those that were attached before.

        Raises:
            ConfigError: a camera of the config can't be used, or the state folder can't.
        """
        self._config = config
        self._where = where
        self._at_start = load_config(where)  # ``config`` has the command's options as well
        self._streams: Streams | None = None
        self._roster = Roster(folder)
        self._passwords: dict[str, str] = {}
        """Typed in; nowhere but here."""
        self._in_config = {camera.name: camera for camera in config.cameras}
        self._sources = dict(_judged(config, where))
        """What was last attached and not detached since, by name."""
        attached = _without(self._attached, self._in_config)  # the config has them now
        self._save(attached=attached, paused=self._paused & {*self._in_config, *attached})

    @property
    def names(self) -> list[str]:
        """Every camera that should run."""
        return [*self._in_config, *self._attached]

    def start(self, streams: Streams) -> None:
        """Attach everything that should run."""
        self._streams = streams
        for name in self._in_config:
            self._run(name, self._sources[name])
        for name in self._attached:
            try:
                self._run(name, self._source(name))
            except ConfigError as error:
                again = f"run: actionstream resume {shlex.quote(name)} --ask-password"
                self._there.note(name, CameraState.FAILED, f"{error}; {again}")

    def attach(self, document: Mapping[str, object], password: str | None = None) -> str:
        """One more camera, as it would stand in a config; a ``password`` is kept in memory alone.

        Raises:
            ConfigError: it can't be used, or there is one of that name.
        """
        camera = self._config.camera(document)
        if holds_secret(camera.url):
            raise ConfigError(
                "the camera's URL holds a password or token, which ps and the shell's history "
                "show; leave a password out, and give --username with --password-env, "
                "--password-file or --ask-password; put a token into a config, and: reload CONFIG"
            )
        if camera.name in self.names:
            raise ConfigError(
                f"a camera named {camera.name!r} is there already, and their events would mix; "
                "choose another name, or detach it first"
            )
        if self._there.has(camera.name):
            raise ConfigError(f"{camera.name}: was detached and still ends; try again later")
        source = camera_source(camera, password=password)
        attached = Attached(document=dict(document), typed=password is not None)
        self._save(attached=self._attached | {camera.name: attached})
        if password is not None:
            self._passwords[camera.name] = password
        try:
            self._run(camera.name, source)
        except ConfigError:  # everything ends just now
            self._save(attached=_without(self._attached, [camera.name]))
            raise
        return f"{camera.name} is attached"

    def detach(self, name: str) -> str:
        """Let a camera go for good; its open events are ended when this returns.

        Raises:
            ConfigError: there is none of that name.
        """
        self._expect(name)
        self._save(attached=_without(self._attached, [name]), paused=self._paused - {name})
        in_config = self._in_config.pop(name, None) is not None
        self._expect_gone(self._drop([name]))
        more = f"; it stands in {self._where}, and comes back at a restart" if in_config else ""
        return f"{name} is detached{more}"

    def pause(self, name: str) -> str:
        """Let a camera go until ``resume``, over a restart, too.

        Raises:
            ConfigError: there is none of that name.
        """
        self._expect(name)
        self._save(paused=self._paused | {name})
        self._there.pause(name)
        return f"{name} is paused"

    def resume(self, name: str, password: str | None = None) -> str:
        """Go on with a camera that is paused, has failed, or waits for its password.

        Raises:
            ConfigError: there is none of that name, or it can't be used.
        """
        self._expect(name)
        runs = name in self._sources and self._there.has(name) and password is None
        source = None if runs else self._source(name, password)
        self._save(paused=self._paused - {name})
        if source is None:
            self._there.pause(name, False)
            return f"{name} goes on"
        if password is not None:
            self._note_password(name, password)
        if self._there.has(name):
            self._expect_gone(self._drop([name]))
        self._run(name, source)
        return f"{name} is connected again"

    def reload(self, path: Path) -> str:
        """Make the config's cameras those of a file; what is the same goes on untouched.

        What was attached by command stays, unless the file names it, too.

        Raises:
            ConfigError: something in the file can't be used, and nothing was changed; or a camera
                doesn't end, and all others were.
        """
        config = load_config(path)
        typed = self._still_typed(config)
        sources = _judged(config, path, typed)
        if not sources:
            raise ConfigError(f"{path}: names no cameras, so nothing was changed")
        there = set(self.names)
        new = [name for name in sources if name not in there]
        gone = [name for name in self._in_config if name not in sources]
        changed = [
            name for name in sources if name in there and sources[name] != self._sources.get(name)
        ]
        ending = [name for name in new if self._there.has(name)]  # they were detached just now
        started = self._at_start
        later = [part for part in AT_START if getattr(config, part) != getattr(started, part)]
        self._save(attached=_without(self._attached, sources), paused=self._paused - set(gone))
        self._in_config = {camera.name: camera for camera in config.cameras}
        defaults = {"camera_defaults": config.camera_defaults}
        self._config, self._where = self._config.model_copy(update=defaults), path
        for name in set(sources) - set(typed):
            self._passwords.pop(name, None)
        left = self._drop([*gone, *changed, *ending])
        for name in [*new, *changed]:
            if name not in left:
                self._run(name, sources[name])
        self._expect_gone(left)
        return _told(attached=new, detached=gone, changed=changed, later=later)

    def cameras(self) -> list[StreamSnapshot]:
        """How each is doing."""
        return self._there.snapshot()

    @property
    def _there(self) -> Streams:
        assert self._streams is not None, "start comes first"
        return self._streams

    @property
    def _attached(self) -> dict[str, Attached]:
        return self._roster.noted.attached

    @property
    def _paused(self) -> frozenset[str]:
        return self._roster.noted.paused

    def _save(
        self,
        attached: dict[str, Attached] | None = None,
        paused: frozenset[str] | None = None,
    ) -> None:
        now = self._roster.noted
        wanted = Noted(
            attached=now.attached if attached is None else attached,
            paused=now.paused if paused is None else paused,
        )
        if wanted != now:
            self._roster.save(wanted)

    def _expect(self, name: str) -> None:
        if name not in self.names:
            there = ", ".join(self.names[:10]) or "none"
            raise ConfigError(f"there is no camera named {name[:80]!r}; there are: {there}")

    def _source(self, name: str, password: str | None = None) -> CameraSource:
        """A camera as it would be attached now."""
        password = password or self._passwords.get(name)
        if name in self._in_config:
            return camera_source(self._in_config[name], password=password)
        attached = self._attached[name]
        camera = self._config.camera(attached.document)
        named = camera.password_env or camera.password_file
        if attached.typed and password is None and not named:
            raise ConfigError(f"camera {name!r}: its password was typed in, and is stored nowhere")
        return camera_source(camera, password=password)

    def _note_password(self, name: str, password: str) -> None:
        self._passwords[name] = password
        if name in self._attached:
            typed = replace(self._attached[name], typed=True)
            self._save(attached=self._attached | {name: typed})

    def _run(self, name: str, source: CameraSource) -> None:
        self._sources[name] = source
        self._there.attach(source, paused=name in self._paused)

    def _still_typed(self, config: Config) -> dict[str, str]:
        """Typed passwords of cameras for which a config names none itself."""
        return {
            camera.name: self._passwords[camera.name]
            for camera in config.cameras
            if camera.name in self._passwords
            and not (camera.password_env or camera.password_file or holds_secret(camera.url))
        }

    def _drop(self, names: Sequence[str]) -> list[str]:
        """Detach cameras, and wait until they are gone; those that take too long."""
        for name in names:
            self._there.detach(name)
            self._sources.pop(name, None)
            if name not in self.names:
                self._passwords.pop(name, None)
        deadline_s = time.monotonic() + DETACH_S
        while left := [name for name in names if self._there.has(name)]:
            if time.monotonic() > deadline_s:
                break
            time.sleep(POLL_S)
        return left

    def _expect_gone(self, left: Sequence[str]) -> None:
        if left:
            raise ConfigError(
                f"{', '.join(left)}: detached, but still ends after {DETACH_S:g} s; "
                "see the status, and ask again for what else was to be done with it"
            )


def _judged(
    config: Config, where: Path, typed: Mapping[str, str] | None = None
) -> dict[str, CameraSource]:
    """The cameras of a config, their addresses judged and their passwords fetched, or ``typed``.

    Raises:
        ConfigError: one of them can't be used; the message names it.
    """
    try:
        return {
            camera.name: camera_source(camera, password=(typed or {}).get(camera.name))
            for camera in config.cameras
        }
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _without(attached: Mapping[str, Attached], names: Iterable[str]) -> dict[str, Attached]:
    return {name: one for name, one in attached.items() if name not in set(names)}


def _told(*, later: Sequence[str], **done: Sequence[str]) -> str:
    """What a reload did: ``attached yard; detached gate; events: from the next start``."""
    parts = [f"{what} {', '.join(names)}" for what, names in done.items() if names]
    parts = parts or ["the same cameras as before"]
    if later:
        parts.append(f"{', '.join(later)}: changed as well, which counts from the next start")
    return "; ".join(parts)
