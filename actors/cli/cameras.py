"""``actionstream attach``, ``detach``, ``pause``, ``resume``, ``reload``, while ``run`` runs."""

from __future__ import annotations

import os
import warnings
from getpass import GetPassWarning
from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import ConfigFile, StateDir, redis_config
from actors.cli.show import complain
from actors.control import Control
from pipeline.errors import ConfigError
from pipeline.home import absolute

CameraName = Annotated[str, typer.Argument(metavar="NAME", help="The camera's name.")]
AskPassword = Annotated[
    bool, typer.Option("--ask-password", help="Type the password in; it is stored nowhere.")
]


def attach(
    url: Annotated[str, typer.Argument(help="rtsp:// or rtsps:// address, without a password.")],
    name: Annotated[str, typer.Option("--name", "-n", help="The stream's name in every event.")],
    sample_fps: Annotated[
        str | None, typer.Option(help="Pictures looked at per second.", show_default=False)
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            "--roi",
            metavar="X,Y,WIDTH,HEIGHT",
            help="The part of the picture that is looked at, in shares: 0.5,0,0.5,1.",
            show_default=False,
        ),
    ] = None,
    fit: Annotated[str | None, typer.Option(help="crop or letterbox.", show_default=False)] = None,
    transport: Annotated[str | None, typer.Option(help="tcp or udp.", show_default=False)] = None,
    corrupt: Annotated[
        str | None, typer.Option(help="Damaged pictures: keep or discard.", show_default=False)
    ] = None,
    username: Annotated[str | None, typer.Option(show_default=False)] = None,
    password_env: Annotated[
        str | None, typer.Option(help="Variable that holds the password.", show_default=False)
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help="File that holds it, which only you can read.", show_default=False),
    ] = None,
    ask_password: AskPassword = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> int:
    """Add a camera to the deployment that runs; it is there again after a restart."""
    password = _password(ask_password, env=password_env, file=password_file)
    file = None if password_file is None else str(absolute(password_file))
    knobs = {
        "sample_fps": sample_fps,
        "region": region,
        "fit": fit,
        "transport": transport,
        "corrupt": corrupt,
        "username": username,
        "password_env": password_env,
        "password_file": file,
    }
    given = {knob: value for knob, value in knobs.items() if value is not None}
    control = _control(config, state_dir)
    return _say(control.attach(name, url, password=password, **given))


def detach(name: CameraName, config: ConfigFile = None, state_dir: StateDir = None) -> int:
    """Remove a camera from the deployment that runs, its open events ended."""
    return _say(_control(config, state_dir).detach(name))


def pause(name: CameraName, config: ConfigFile = None, state_dir: StateDir = None) -> int:
    """Disconnect a camera until it is resumed, over a restart, too."""
    return _say(_control(config, state_dir).pause(name))


def resume(
    name: CameraName,
    ask_password: AskPassword = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> int:
    """Connect a camera that was paused, has failed, or waits for its password."""
    control = _control(config, state_dir)
    return _say(control.resume(name, password=_password(ask_password)))


def reload(
    config: Annotated[Path, typer.Argument(help="The YAML file, changed.")],
    state_dir: StateDir = None,
) -> int:
    """Apply the difference between the cameras that run and those in a config.

    What is the same goes on untouched; what was attached by command stays.
    """
    return _say(_control(config, state_dir).reload(config))


def _control(config: Path | None, state_dir: Path | None) -> Control:
    return Control(redis_config(None, state_dir, None, config).state_dir)


def _say(said: str) -> int:
    complain(said)
    return 0


def _password(ask: bool, *, env: str | None = None, file: Path | None = None) -> str | None:
    """Typed in, or from the environment of whoever calls; a file is for the deployment to read."""
    if ask and (env or file):
        raise ConfigError("--ask-password and another place for the password are given; keep one")
    if ask:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GetPassWarning)  # without a terminal it can be seen
            password: str = typer.prompt("password", hide_input=True, err=True)
        return password
    return os.environ.get(env) if env else None
