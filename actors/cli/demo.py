"""``actionstream demo``: the main job on one video, seen from the subscriber's end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Annotated, cast

import typer
from rich.console import Console

from actors.cli.show import complain, event_line, summary
from actors.cli.signals import stopped_by_signals
from pipeline.broker import Broker, open_broker
from pipeline.config import Config, RedisConfig
from pipeline.errors import ConfigError
from pipeline.model import Recognizer, load_from
from pipeline.run import Outcome, run
from pipeline.sink import RedisSink
from pipeline.source import find_files
from pipeline.subscribe import Patience, follow
from pipeline.wire import events_key

FOOTAGE = Path(".footage/room.webm")
CATCH_UP_S = 1.0  # the reader asks Redis ten times a second


def demo(
    video: Annotated[
        Path, typer.Argument(help="Any video; make footage brings the default.")
    ] = FOOTAGE,
) -> int:
    """Analyse a real video and print its events as a subscriber receives them from Redis."""
    if not video.exists():
        raise ConfigError(f"{video}: no such video; run make footage, or name one of your own")
    recognizer = load_from(Config().model)
    out = Console(soft_wrap=True, highlight=False)
    with (
        TemporaryDirectory(prefix="actionstream-") as state,
        open_broker(RedisConfig(state_dir=Path(state))) as broker,
        stopped_by_signals() as stop,
    ):
        out.print(f"A private Redis is up for this demo: {broker.url}", markup=False)
        out.print(f"Analysing {video} with {recognizer.spec.name}", markup=False)
        _warn_of_placeholder(recognizer, out)
        outcomes = _analysed(video, recognizer, broker, out, stop)
        _show_entry(broker, out)
    summary(outcomes)
    return 1 if stop.is_set() or any(outcome.error for outcome in outcomes) else 0


def _warn_of_placeholder(recognizer: Recognizer, out: Console) -> None:
    if "mean nothing" in recognizer.spec.provenance.get("training", ""):
        out.print(
            "This model is a placeholder with random weights: its events are real, its labels "
            "mean nothing yet.",
            style="yellow",
        )


def _analysed(
    video: Path, recognizer: Recognizer, broker: Broker, out: Console, stop: Event
) -> list[Outcome]:
    """Run in one thread, read what comes out of Redis in this one."""
    reading = Patience()
    writing = Patience(stop=stop, revive=broker.revive)
    events = follow(broker.client, start="0", block_s=0.1, patience=reading)
    outcomes: list[Outcome] = []
    errors: list[BaseException] = []

    def work() -> None:
        sink = RedisSink(broker.client, patience=writing)
        outcomes.extend(run(find_files([str(video)]), recognizer, Config(), sink, stop=stop))

    worker = Thread(target=_then_stop, args=(work, errors, reading.stop), name="run")
    worker.start()
    seen = 0
    for event in events:
        out.print(event_line(event))
        seen += 1
    worker.join()
    if errors:
        raise errors[0]
    out.print(f"{seen} events received from Redis.")
    if not seen:
        complain("no event came; another video may show more")
    return outcomes


def _then_stop(work: Callable[[], None], errors: list[BaseException], stop: Event) -> None:
    """Work, let the reader catch up, and stop it, whatever happens."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads
        errors.append(error)
    stop.wait(CATCH_UP_S)
    stop.set()


def _show_entry(broker: Broker, out: Console) -> None:
    entries = cast("list[tuple[str, dict[str, str]]]", broker.client.xrange(events_key(), count=1))
    for number, entry in entries:
        out.print(f"The first of them, as stored in Redis (entry {number}):")
        for name, value in entry.items():
            out.print(f"  {name:<14} {value}", markup=False)
