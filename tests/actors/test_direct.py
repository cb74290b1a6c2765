"""Calls past Ray: what is asked is what arrives, and nobody waits for the dead."""

import os
import pickle
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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
    script = (
        "from actors import direct; import os, time\n"
        "direct._node = lambda: 'this one'\n"
        "door = direct.Door({'die': lambda: os._exit(1)})\n"
        "print(door.address.name[1:], flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    address = Address(node="this one", name="\0" + child.stdout.readline().strip())
    with Line(address) as line, Line(address) as idle:
        with pytest.raises(HungUp):
            line.call("die")
        with pytest.raises(HungUp):
            idle.call("die")
    child.communicate()  # until then it may still be found
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


def test_a_door_that_has_no_descriptor_left_opens_again(address: Address) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lines = [Line(address)]
    assert lines[0].call("doubled", []) == []
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))  # for our end, not for the door's
    try:
        lines.append(Line(address))
        time.sleep(0.3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert lines[1].lend("doubled", [np.ones(3, np.uint8)]) == [6]
    for line in lines:
        line.close()


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
