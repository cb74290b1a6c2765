"""``actionstream run``: cameras until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli.options import Prefix, RedisUrl, StateDir, config_of
from actors.cli.show import complain, summary
from actors.cli.signals import stopped_by_signals
from actors.control import ControlServer
from pipeline.broker import Broker, open_broker, private_client
from pipeline.config import RedisConfig
from pipeline.errors import BrokerAway
from pipeline.settle import card_from, origin_of, settle
from pipeline.sink import left_over
from pipeline.subscribe import group_states

if TYPE_CHECKING:
    from actors.supervisor import Supervisor

DEPLOYMENT = "default"
WELL_S = 300.0  # longer than a camera that comes and goes, mostly
GROUPS_S = 1.0  # how long a look at the consumers may hold up a page while Redis is frozen


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
    Meanwhile, change what runs by: actionstream attach, detach, pause, resume, reload.
    """
    from actors.cluster import cluster
    from actors.deployment import Deployment
    from actors.health import Health, served
    from actors.ray_death import ends_with_ray
    from actors.supervisor import Supervisor
    from actors.wishes import Wishes

    settings = config_of(config, redis={"url": redis, "state_dir": state_dir, "prefix": prefix})
    with ControlServer(settings.redis.state_dir) as control:
        deployment = Deployment(settings, config, control.folder)
        card = card_from(settings.model)
        knobs = settle(settings, card.spec)
        origin = origin_of(card, knobs)
        health = Health()
        with (
            _broker_that_may_be_away(settings.redis) as broker,
            private_client(broker.client, timeout_s=GROUPS_S) as asking,
            cluster(address),
            ends_with_ray(complain),
            stopped_by_signals() as stop,  # after Ray, which puts handlers of its own
            served(health, settings.health, complain) as pages,
            Supervisor(
                [],
                settings,
                knobs,
                origin,
                redis=settings.redis,
                stays=True,
                name=DEPLOYMENT,
                stop=stop,
            ) as supervisor,
        ):
            deployment.start(supervisor)
            health.watch(supervisor, lambda: group_states(asking, settings.redis.prefix))
            welcome(deployment.names, settings.redis.prefix, broker.how_to_connect)
            if pages:
                complain(f"health and metrics: {pages}/metrics")
            tell = Teller(supervisor)

            def look() -> None:
                health.turn()
                tell()

            with control.serving(Wishes(deployment)):
                outcomes = supervisor.run(stop, look)
    summary(outcomes)
    for path, (waiting, _) in left_over(settings.redis).items():
        complain(f"{waiting} events wait in {path}; the next run for the same Redis sends them")
    silent = [outcome.stream_id for outcome in outcomes if not outcome.tally.pictures]
    for name in silent:
        complain(f"camera {name}: not one picture came")
    return 1 if silent or supervisor.lost else 0


@contextmanager
def _broker_that_may_be_away(config: RedisConfig) -> Iterator[Broker]:
    """Cameras don't wait for Redis, events do; what somebody has to set right is refused.

    Raises: as ``open_broker``, but BrokerAway.
    """
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(open_broker(config))
        except BrokerAway as away:
            complain(f"{away}; events wait on disk meanwhile")
            broker = stack.enter_context(open_broker(config, must_answer=False))
        yield broker


def welcome(names: Sequence[str], prefix: str, how_to_connect: str) -> None:
    """What runs, and where its events go."""
    some = f"cameras: {len(names)}" if names else "no cameras yet; add one by: actionstream attach"
    complain(f"{some}; Ctrl-C ends the run in order")
    complain(f"events go to the stream {prefix}:events; {how_to_connect}")


class Teller:
    """Says what is wrong with a camera, once until it was well for a while."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._told: dict[str, set[str]] = {}

    def __call__(self) -> None:
        """Look at all of them."""
        states = self._supervisor.states
        for name, state in states.items():
            told = self._told.setdefault(name, set())
            if state.detail and state.detail not in told:
                told.add(state.detail)
                complain(
                    state.detail if state.state == "failed" else f"{state.detail}; trying again"
                )
            if state.state == "streaming" and time.time() - state.tally.since_s > WELL_S:
                told.clear()
        for name in self._told.keys() - states.keys():
            del self._told[name]
