"""The way into a running deployment: a unix socket in its state folder, for its owner alone.

    one request, one answer, each a line of JSON:
    {"verb": "pause", "name": "gate"}  ->  {"said": "gate is paused"}  or  {"error": "…"}

``Control`` is the near end, for programs; it needs no Ray. ``ControlServer`` is the far end, a
thread of the process that runs ``actionstream run``. There is one deployment per state folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from threading import Event, Thread
from typing import Self

from pipeline.broker import default_state_dir, private_folder
from pipeline.errors import ActionstreamError, ConfigError
from pipeline.home import absolute

log = logging.getLogger(__name__)

MAX_LINE = 1 << 20  # bytes; an answer that lists 1,000 cameras takes about 300 kB
MAX_PATH = 100  # bytes of a socket's path; Linux takes 107, macOS 103
READ_S = 5.0  # for a whole request: it is one line, written at once
ANSWER_S = 180.0  # a reload that detaches many cameras, on a machine that is busy
POLL_S = 0.2

Answer = Mapping[str, object]
Handle = Callable[[Mapping[str, object]], Answer]


def folder_of(state_dir: Path | None) -> Path:
    """The state folder, whether it is there or not."""
    return absolute(state_dir or default_state_dir())


class Control:
    """A running deployment, seen from outside: attach, detach, pause, resume, reload."""

    def __init__(self, state_dir: Path | None = None) -> None:
        """``state_dir`` is the deployment's ``redis.state_dir``."""
        self._folder = folder_of(state_dir)

    def attach(self, name: str, url: str, *, password: str | None = None, **knobs: object) -> str:
        """Add a camera; ``knobs`` as in a config: ``sample_fps``, ``region``, ``username`` ….

        A ``password`` isn't stored: after a restart the camera says that it needs it.

        Raises:
            ConfigError: no deployment runs here, or it can't have this camera.
        """
        camera = {"name": name, "url": url, **{knob: _plain(knobs[knob]) for knob in knobs}}
        return self._said(verb="attach", camera=camera, password=password)

    def detach(self, name: str) -> str:
        """Remove a camera, its open events ended. Raises ConfigError, as the others do."""
        return self._said(verb="detach", name=name)

    def pause(self, name: str) -> str:
        """Disconnect a camera until it is resumed."""
        return self._said(verb="pause", name=name)

    def resume(self, name: str, *, password: str | None = None) -> str:
        """Connect a camera that was paused, has failed, or waits for its password."""
        return self._said(verb="resume", name=name, password=password)

    def reload(self, config: Path) -> str:
        """Apply the difference between the cameras that run and those in a file."""
        return self._said(verb="reload", config=str(absolute(config)))

    def cameras(self) -> list[dict[str, object]]:
        """Name, state, since (Unix seconds), detail and counts of each."""
        cameras = self._ask({"verb": "cameras"}).get("cameras")
        return [dict(one) for one in cameras] if isinstance(cameras, list) else []

    def _said(self, **request: object) -> str:
        return str(self._ask(request).get("said"))

    def _ask(self, request: Mapping[str, object]) -> Answer:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(READ_S)
                line.connect(str(_socket_path(self._folder)))
                line.sendall(_encode(request))
                answer = _decode(line, ANSWER_S)
        except (FileNotFoundError, ConnectionRefusedError):
            raise ConfigError(
                f"no deployment runs in {self._folder}; start one with: actionstream run CONFIG "
                "(or name its folder by --state-dir)"
            ) from None
        except (TimeoutError, BlockingIOError):  # the second: too many wait already
            raise ConfigError(f"the deployment in {self._folder} doesn't answer") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"the deployment in {self._folder} is gone: {error}") from None
        if "error" in answer:
            raise ConfigError(str(answer["error"]))
        return answer


class ControlServer:
    """The far end; a context manager.

    It is there at once, so that a second deployment is refused early, and answers within
    ``serving``; whoever asks before waits.
    """

    def __init__(self, state_dir: Path | None) -> None:
        """Take the folder.

        Raises:
            ConfigError: a deployment runs there already, or the folder can't be used.
        """
        self.folder = private_folder(folder_of(state_dir))
        self._path = _socket_path(self.folder, make=True)
        self._closing = Event()
        lock = self.folder / "control.lock"
        try:
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{lock}: can't be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigError(
                f"a deployment runs in {self.folder} already; change it with actionstream attach, "
                "detach or reload, or give this one another --state-dir"
            ) from None
        self._listener = socket.socket(socket.AF_UNIX)
        making = self._path.with_suffix(".new")
        try:
            making.unlink(missing_ok=True)
            self._listener.bind(str(making))
            making.chmod(0o600)
            self._listener.listen(16)
            making.replace(self._path)  # whoever sees it is let in: it refuses until it listens
        except OSError as error:
            self._listener.close()
            os.close(self._lock)
            raise ConfigError(f"{self._path}: can't be made: {error.strerror}") from None
        self._listener.settimeout(POLL_S)

    @contextmanager
    def serving(self, handle: Handle) -> Iterator[None]:
        """Answer within the context, one request at a time."""
        thread = Thread(target=self._work, args=(handle,), name="control")
        thread.start()
        try:
            yield
        finally:
            self._closing.set()
            thread.join()

    def close(self) -> None:
        """No deployment runs here any more."""
        self._listener.close()
        self._path.unlink(missing_ok=True)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self, handle: Handle) -> None:
        while not self._closing.is_set():
            try:
                line, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:  # no descriptor is free
                time.sleep(POLL_S)
                continue
            with line, suppress(OSError):  # whoever asked is gone
                line.settimeout(READ_S)
                line.sendall(_encode(self._answer(line, handle)))

    def _answer(self, line: socket.socket, handle: Handle) -> Answer:
        try:
            return handle(_decode(line, READ_S))
        except ActionstreamError as error:
            return {"error": str(error)}
        except ValueError:
            return {"error": "not a request of this version"}
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - one wish doesn't end the others
            log.error("a request could not be carried out: %s", type(error).__name__)
            return {"error": f"it could not be carried out: {type(error).__name__}"}


def _plain(value: object) -> object:
    """As JSON can have it; a relative path would mean another file to the deployment."""
    if isinstance(value, Path):
        return str(absolute(value))
    return str(value) if isinstance(value, Fraction) else value


def _encode(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _decode(line: socket.socket, limit_s: float) -> dict[str, object]:
    """One line of JSON; ValueError if it isn't one, TimeoutError if it isn't there in time."""
    text, until_s = bytearray(), time.monotonic() + limit_s
    while not text.endswith(b"\n"):
        line.settimeout(max(0.001, until_s - time.monotonic()))
        more = line.recv(65536)
        if not more or len(text) > MAX_LINE:
            raise ValueError("the line ends too early, or never")
        text += more
    try:
        message = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def _socket_path(folder: Path, *, make: bool = False) -> Path:
    """Here, or where the path of the folder is too long for a socket, in one of ours in /tmp."""
    here = folder / "control.sock"
    if len(os.fsencode(here)) <= MAX_PATH:
        return here
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    elsewhere = Path("/tmp") / f"actionstream-{os.getuid()}-{name}"
    if make or os.path.lexists(elsewhere):  # which may be somebody else's, and passwords go there
        private_folder(elsewhere, may_be_link=False)
    return elsewhere / "control.sock"
