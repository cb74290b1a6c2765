"""Which commands there are, and what each brings with it."""

import subprocess
import sys
from importlib import metadata

import pytest

from actors.cli.app import COMMANDS

WITHOUT_TORCH = ("attach", "events", "status", "dead", "data")
COUNT = """
import sys
from actors.cli.app import app_for
app_for({asked!r})
print(*(name in sys.modules for name in ("torch", "ray", "av")))
"""


def actionstream(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from actors.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("asked", [*WITHOUT_TORCH, "--version"])
def test_what_only_looks_or_asks_starts_without_torch_ray_and_ffmpeg(asked: str) -> None:
    code = COUNT.format(asked=asked)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3


def test_help_lists_every_command() -> None:
    done = actionstream("--help")
    assert done.returncode == 0
    listed = done.stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line[2:3].strip()] == list(COMMANDS)


def test_the_version_is_that_of_the_package() -> None:
    done = actionstream("--version")
    assert (done.returncode, done.stdout.strip()) == (0, metadata.version("actionstream"))


@pytest.mark.parametrize("wrong", [["eventz"], ["--nosuch"], ["--nosuch", "events"]])
def test_a_command_that_is_not_there_is_one_line(wrong: list[str]) -> None:
    done = actionstream(*wrong)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("actionstream: No such ")


def test_an_argument_too_many_is_not_quoted_as_it_may_be_a_password() -> None:
    done = actionstream("attach", "rtsp://127.0.0.1/x", "--name", "gate", "admin", "hunter2")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("actionstream: Got more arguments than it takes")
    assert "hunter2" not in line
