"""Options that several commands share, and the config they make together with a file."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.broker.address import holds_password
from pipeline.config import Config, RedisConfig, load_config, parse_config
from pipeline.errors import ConfigError


def _without_password(
    context: typer.Context, option: typer.CallbackParam, url: str | None
) -> str | None:
    """The address, unless everybody on this machine can read a password in it (``ps``)."""
    source = context.get_parameter_source(option.name or "")
    typed = source is not None and source.name == "COMMANDLINE"
    if typed and url is not None and holds_password(url):
        raise ConfigError(
            "--redis: a password on the command line can be read by others on this machine; put "
            "the address into the environment variable ACTIONSTREAM_REDIS_URL, or into a config "
            "with redis.password_env or redis.password_file"
        )
    return url


ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with settings.", show_default=False)
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar="ACTIONSTREAM_REDIS_URL",
        callback=_without_password,
        help="redis://, rediss:// or unix:// address, without a password (in the variable it may "
        "have one); without an address, a private server is used.",
        show_default=False,
        show_envvar=True,
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="ACTIONSTREAM_STATE_DIR",
        help="Folder of the private server's data.",
        show_default="under ~/.local/state",
        show_envvar=True,
    ),
]
Prefix = Annotated[str | None, typer.Option(help="Prefix of the Redis keys.", show_default=False)]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A bundle or a published checkpoint.", show_default=False),
]
Device = Annotated[
    str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto: a GPU if there is one")
]


def config_of(file: Path | None = None, **sections: dict[str, object | None]) -> Config:
    """The config in a file, with the options that were given on top.

    Raises:
        ConfigError: as ``load_config``, for both.
    """
    base = load_config(file) if file else Config()
    document: dict[str, object] = base.model_dump(exclude_unset=True)
    for section, options in sections.items():
        given = {name: value for name, value in options.items() if value is not None}
        if given:
            before = document.get(section)
            document[section] = (before if isinstance(before, dict) else {}) | given
    return parse_config(document, where="options")


def redis_config(
    url: str | None, state_dir: Path | None, prefix: str | None, file: Path | None = None
) -> RedisConfig:
    """How to reach the Redis that options and config name."""
    return config_of(file, redis={"url": url, "state_dir": state_dir, "prefix": prefix}).redis
