"""``actionstream run``: cameras until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import Prefix, RedisUrl, StateDir, config_of
from actors.cli.show import complain, summary
from actors.cli.signals import stopped_by_signals
from pipeline.broker import open_broker
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.model import load_from
from pipeline.run import origin_of, settle
from pipeline.sink import left_over
from pipeline.source import CameraSource, camera_source

DEPLOYMENT = "default"


def run(
    config: Annotated[Path, typer.Argument(help="YAML file; see deploy/actionstream.yaml.")],
    redis: RedisUrl = None,
    address: Annotated[
        str | None, typer.Option(help="Join the Ray cluster at this address.")
    ] = None,
    state_dir: StateDir = None,
    prefix: Prefix = None,
) -> int:
    """Recognise actions on cameras, on Ray actors, until Ctrl-C or SIGTERM.

    A camera that can't be reached is tried again; what is open when the run ends is ended.
    """
    from actors.cluster import cluster
    from actors.supervisor import Supervisor

    settings = config_of(config, redis={"url": redis, "state_dir": state_dir, "prefix": prefix})
    sources = cameras_of(settings, where=config)
    recognizer = load_from(settings.model)
    knobs = settle(settings, recognizer.spec)
    origin = origin_of(recognizer, knobs)
    del recognizer  # the actors have their own
    with (
        open_broker(settings.redis) as broker,
        cluster(address),
        stopped_by_signals() as stop,  # after Ray, which puts handlers of its own
        Supervisor(
            sources, settings, knobs, origin, redis=settings.redis, name=DEPLOYMENT
        ) as supervisor,
    ):
        complain(f"cameras: {len(sources)}; Ctrl-C ends the run in order")
        complain(f"events go to the stream {settings.redis.prefix}:events; {broker.how_to_connect}")
        told: dict[str, str] = {}

        def tell() -> None:
            for name, state in supervisor.states.items():
                if state.detail and told.get(name) != state.detail:
                    complain(f"{state.detail}; trying again")
                told[name] = state.detail or told.get(name, "")

        outcomes = supervisor.run(stop, tell)
    summary(outcomes)
    for path, (waiting, _) in left_over(settings.redis).items():
        complain(f"{waiting} events wait in {path}; the next run for the same Redis sends them")
    silent = [outcome.stream_id for outcome in outcomes if not outcome.tally.pictures]
    for name in silent:
        complain(f"camera {name}: not one picture came")
    return 1 if silent else 0


def cameras_of(config: Config, *, where: Path) -> list[CameraSource]:
    """The cameras of a config, their addresses judged and their passwords fetched.

    Raises:
        ConfigError: there are none, or one of them can't be used; the message names it.
    """
    if not config.cameras:
        raise ConfigError(f"{where}: names no cameras; add some under 'cameras:'")
    try:
        return [camera_source(camera) for camera in config.cameras]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
