"""Calls past Ray: what is asked is what arrives, and nobody waits for the dead."""

import os
import pickle
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from actors import direct
from actors.direct import Address, Door, HungUp, Line


class Odd(Exception):
    """One that can't be sent."""

    def __reduce__(self) -> str:
        raise TypeError("not me")


def doubled(arrays: list[NDArray[np.uint8]]) -> list[int]:
    assert not any(array.flags.writeable for array in arrays)
    return [2 * int(array.sum()) for array in arrays]


def fail(kind: type[Exception]) -> None:
    raise kind("so it is")


def lambdas() -> object:
    return lambda: None


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_node", lambda: "this one")


@pytest.fixture
def address() -> Address:
    return Door({"doubled": doubled, "fail": fail, "lambdas": lambdas}).address


@contextmanager
def _elsewhere() -> Iterator[tuple[Address, int]]:
    """A door of a process of its own, and that process's id."""
    script = (
        "from actors import direct; from tests.actors import test_direct; import os, time\n"
        "direct._node = lambda: 'this one'\n"
        "door = direct.Door({'doubled': test_direct.doubled, 'die': lambda: os._exit(1)})\n"
        "print(door.address.name[1:], flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield Address(node="this one", name="\0" + child.stdout.readline().strip()), child.pid
        finally:
            child.kill()


@pytest.fixture
def line(address: Address) -> Iterator[Line]:
    with Line(address) as line:
        yield line


def test_arrays_of_any_number_and_size_arrive_whole(line: Line) -> None:
    rng = np.random.default_rng(0)
    for sizes in ([], [1], [0, 5, 64], [65, 1_000_000], [3], [200] * 50, [5_000_000, 1]):
        arrays = [rng.integers(0, 256, size, np.uint8) for size in sizes]
        assert line.lend("doubled", arrays) == [2 * int(array.sum()) for array in arrays]


def test_what_a_method_raises_is_raised_and_the_line_goes_on(line: Line) -> None:
    with pytest.raises(ZeroDivisionError, match="so it is"):
        line.call("fail", ZeroDivisionError)
    with pytest.raises(RuntimeError, match="Odd: so it is"):
        line.call("fail", Odd)
    with pytest.raises((AttributeError, pickle.PicklingError, RuntimeError)):
        line.call("lambdas")
    assert line.call("doubled", []) == []


def test_lines_do_not_wait_for_each_other(address: Address) -> None:
    found: list[list[int]] = []

    def ask(n: int) -> None:
        with Line(address) as line:
            for _ in range(100):
                found.append(line.lend("doubled", [np.full(n, 1, np.uint8)]))

    threads = [Thread(target=ask, args=(1000 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [[2000 * n] for n in range(8) for _ in range(100)]


def test_nobody_waits_for_a_process_that_died() -> None:
    with _elsewhere() as (address, _), Line(address) as line, Line(address) as idle:
        with pytest.raises(HungUp):
            line.call("die")
        with pytest.raises(HungUp):
            idle.call("die")
    with pytest.raises(HungUp, match="refused"):
        Line(address)


def test_a_door_that_has_no_thread_left_hangs_up_and_opens_again(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(direct, "Thread", type("Refused", (threading.Thread,), {"start": refuse}))
        with Line(address) as line, pytest.raises(HungUp):
            line.call("doubled", [])
    with Line(address) as line:
        assert line.call("doubled", []) == []


def test_a_door_that_has_no_descriptor_left_opens_again() -> None:
    with _elsewhere() as (address, process), Line(address):
        soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
        resource.prlimit(process, resource.RLIMIT_NOFILE, (3, hard))  # fewer than it has
        with (
            Line(address) as first,
            Line(address) as second,
        ):  # accept(2) had one ready for the first
            time.sleep(0.3)
            resource.prlimit(process, resource.RLIMIT_NOFILE, (soft, hard))
            assert first.lend("doubled", [np.ones(2, np.uint8)]) == [4]
            assert second.lend("doubled", [np.ones(3, np.uint8)]) == [6]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_turned_away(address: Address) -> None:
    script = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "end = socket.socket(socket.AF_UNIX)\n"
        "end.connect('\\0' + sys.argv[1])\n"
        "assert end.recv(1) == b'', 'was not hung up on'\n"
    )
    subprocess.run([sys.executable, "-c", script, address.name[1:]], check=True, timeout=60)
    with Line(address) as line:
        assert line.call("doubled", []) == []
