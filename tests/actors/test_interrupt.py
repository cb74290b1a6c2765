"""Ctrl-C, or SIGTERM, while a command is still importing what it needs."""

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

COMMAND = "from actors.cli import main; main()"


@pytest.mark.parametrize("library", ["_multiarray_umath", "libtorch_cpu", "libtorch_python"])
@pytest.mark.parametrize(
    ("number", "before"),
    [
        (signal.SIGINT, signal.SIG_DFL),
        (signal.SIGINT, signal.SIG_IGN),  # as a script's "command &" has it
        (signal.SIGTERM, signal.SIG_DFL),
    ],
)
def test_a_signal_while_it_starts_is_one_line(
    library: str,
    number: signal.Signals,
    before: signal.Handlers,
    wait_until: Callable[..., None],
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "model", "ls"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, number, before),
    )
    maps = Path(f"/proc/{child.pid}/maps")
    wait_until(lambda: library in maps.read_text(), f"{library} is being loaded", timeout_s=100)
    child.send_signal(number)
    _, errors = child.communicate(timeout=100)
    assert errors == "actionstream: interrupted\n"
    assert child.returncode == 1
