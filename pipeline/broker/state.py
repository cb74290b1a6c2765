"""The folder of the embedded server: whose it is, where its socket lies, which locks guard it.

    lock           held (exclusive) for the moment in which the server is started or stopped
    users          held (shared) by every process that uses the server, for as long as it does
    server.lock    held by the server itself, through an inherited descriptor: whether one runs
                   here is a question to the kernel, not to a pid that may be another's by now
    socket         the path of the unix socket: ``redis.sock`` here, or elsewhere (see below)
    redis.pid, redis.log, appendonlydir/

The kernel drops a lock when its last holder dies, so no crash leaves one behind.
"""

import fcntl
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from pipeline.config import RedisConfig
from pipeline.errors import BrokerError
from pipeline.home import absolute
from pipeline.printable import printable
from pipeline.small_file import read_small

MAX_NOTE_BYTES = 8192  # a path
MAX_SOCKET_PATH = 100  # bytes; Linux takes 107, macOS 103
OURS = ("*.lock", "lock", "socket", "outbox", "*.sock", "*.sqlite", "cameras.json")
"""What a state folder of ours, or one in it, has in it."""
_NO_PATH = re.compile(r"[\x00-\x1f\x7f]")  # would end a line of the server's settings
_STAMP = re.compile(r"\d+:\w \d+ \w+ \d{4} [\d:.]+ [#*.-] ")  # 17:M 05 Jan 2026 12:00:01.234 #
_POLL_S = 0.02


def default_state_dir() -> Path:
    """``$XDG_STATE_HOME/actionstream``, or ``~/.local/state/actionstream``."""
    base = os.environ.get("XDG_STATE_HOME")
    return absolute(Path(base or "~/.local/state") / "actionstream")


def settled(config: RedisConfig) -> RedisConfig:
    """The same for a process that runs in another folder, with another environment."""
    file = config.password_file
    paths = {
        "state_dir": absolute(config.state_dir or default_state_dir()),
        "password_file": None if file is None else absolute(file),
    }
    return config.model_copy(update=paths)


class StateFolder:
    """A folder that only this user may enter, made when it isn't there."""

    def __init__(self, path: Path) -> None:
        self.path = private_folder(absolute(path))

    @property
    def socket(self) -> Path:
        """Where the server listens, or will when it is started.

        A note that names another place than this folder has, as in a copy of a folder, counts for
        nothing: what it names may be anybody's.
        """
        try:
            data, _ = read_small(self.path / "socket", MAX_NOTE_BYTES)
        except OSError:
            return self._choose_socket()
        noted = Path(os.fsdecode(data).strip())
        return noted if self._is_ours(noted) else self._choose_socket()

    def note_socket(self, socket: Path) -> None:
        """Write down where it listens, for people and for processes with another environment.

        Whole or not at all: a path that a full disk cut off names another file, to be deleted.
        """
        note = self.path / "socket.part"
        note.write_text(f"{socket}\n", encoding="utf-8", errors="surrogateescape")
        note.replace(self.path / "socket")

    def _is_ours(self, noted: Path) -> bool:
        if noted.name != "redis.sock":
            return False
        try:
            if noted.parent.name == self._name:  # in whatever folder for such things there was
                private_folder(noted.parent, may_be_link=False)
                return True
            return noted.parent.samefile(self.path)
        except (OSError, BrokerError, ValueError):
            return False

    @property
    def _name(self) -> str:
        return f"actionstream-{os.getuid()}-{_short_hash(self.path.resolve())}"

    def _choose_socket(self) -> Path:
        here = self.path / "redis.sock"
        if len(os.fsencode(here)) <= MAX_SOCKET_PATH:
            return here
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / self._name
        if len(os.fsencode(runtime / "redis.sock")) > MAX_SOCKET_PATH:
            runtime = Path("/tmp") / self._name
        return private_folder(runtime, may_be_link=False) / "redis.sock"

    @contextmanager
    def locked(self, timeout_s: float) -> Iterator[None]:
        """Nobody else starts or stops the server meanwhile."""
        descriptor = self.open_lock("lock")
        try:
            deadline = time.monotonic() + timeout_s
            while not try_lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"{self.path}: another process has been starting or stopping the server "
                        f"here for {timeout_s:g} s; end it, or use another state_dir"
                    )
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def open_lock(self, name: str) -> int:
        """A descriptor to lock; closing it gives the lock back."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path / name, flags, 0o600)
        except OSError as error:
            raise BrokerError(f"{self.path / name}: can't be opened: {error.strerror}") from None

    def server_runs(self) -> bool:
        """Whether a server of this folder is alive, answering or not."""
        descriptor = self.open_lock("server.lock")
        try:
            return not try_lock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)

    def server_pid(self) -> str:
        """What the server wrote about itself, for messages."""
        try:
            return (self.path / "redis.pid").read_text(encoding="ascii").strip() or "unknown"
        except (OSError, UnicodeDecodeError):
            return "unknown"

    def last_words(self) -> str:
        """The line of its log that says most about why the server didn't start.

        Without pid and time, so that the same reason reads the same at each attempt.
        """
        try:
            log = (self.path / "redis.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "it left no log"
        lines = [line for line in log.splitlines()[-50:] if line.strip()]
        told = [line for line in lines if " # " in line and "oO0Oo" not in line] or lines
        return _STAMP.sub("", " ".join(told[-1].split()))[-200:] if told else "its log is empty"


def try_lock(descriptor: int, kind: int) -> bool:
    """Whether the lock was to be had at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def private_folder(path: Path, *, may_be_link: bool = True) -> Path:
    """The folder, made if need be, ours and closed to others.

    In ``/tmp`` somebody else may have put a link or a folder of that name there first.
    """
    if _NO_PATH.search(str(path)):
        raise BrokerError(f"{printable(path)}: holds control characters; use another state_dir")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat() if may_be_link else path.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise BrokerError(f"{path}: belongs to another user; use another redis.state_dir")
        if stat.S_IMODE(found.st_mode) != 0o700:
            _close(path)
    except BrokerError:  # is an OSError too
        raise
    except OSError as error:
        raise BrokerError(
            f"{path}: can't be used as a state folder: {error.strerror}; "
            "set redis.state_dir, or give a Redis by redis.url"
        ) from None
    return path


def _close(path: Path) -> None:
    """Shut others out, unless it is a folder of something else."""
    there = [inside.name for inside in path.iterdir()]
    if there and not any(fnmatch(name, ours) for name in there for ours in OURS):
        raise BrokerError(
            f"{path}: is open to others, and holds other things; name a folder of its own as "
            "redis.state_dir (--state-dir), or run: chmod 700 on this one"
        )
    path.chmod(0o700)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
