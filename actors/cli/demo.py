"""``actionstream demo``: the main job on one video, seen from the subscriber's end."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Annotated

import typer
from rich.console import Console

from actors.cli.show import complain, event_line, summary
from pipeline.broker import open_broker
from pipeline.config import Config, RedisConfig
from pipeline.errors import ActionstreamError, ConfigError
from pipeline.model import load_from
from pipeline.run import run
from pipeline.sink import RedisSink
from pipeline.source import find_files
from pipeline.subscribe import Patience, follow

FOOTAGE = Path(".footage/room.webm")
SETTLED_S = 1.0  # nothing new for this long after the end of the video: all of it was read


def demo(
    video: Annotated[
        Path, typer.Argument(help="Any video; make footage brings the default.")
    ] = FOOTAGE,
) -> int:
    """Analyse a real video and print its events as a subscriber receives them from Redis."""
    if not video.exists():
        raise ConfigError(f"{video}: no such video; run make footage, or name one of your own")
    config = Config()
    recognizer = load_from(config.model)
    out = Console(soft_wrap=True, highlight=False)
    with TemporaryDirectory(prefix="actionstream-") as state:
        redis = RedisConfig(state_dir=Path(state))
        with open_broker(redis) as broker:
            out.print(f"A private Redis is up: {broker.how_to_connect}")
            out.print(f"Analysing {video} with {recognizer.spec.name}")
            if "mean nothing" in recognizer.spec.provenance.get("training", ""):
                out.print(
                    "This model is a placeholder with random weights: its events are real, "
                    "its labels mean nothing yet.",
                    style="yellow",
                )
            outcomes = []
            errors: list[ActionstreamError] = []

            def work() -> None:
                try:
                    sink = RedisSink(broker.client)
                    outcomes.extend(run(find_files([str(video)]), recognizer, config, sink))
                except ActionstreamError as error:
                    errors.append(error)
                finally:
                    ended.set()

            ended = Event()
            worker = Thread(target=work, name="run")
            patience = Patience()
            events = follow(broker.client, start="0", block_s=0.1, patience=patience)
            worker.start()
            Thread(target=_stop_after, args=(ended, patience.stop), daemon=True).start()
            seen = 0
            for event in events:
                out.print(event_line(event))
                seen += 1
            worker.join()
            if errors:
                raise errors[0]
            out.print(f"{seen} events received from Redis.")
            for number, entry in broker.client.xrange("actionstream:events", count=1):
                out.print(f"The first of them, as stored in Redis (entry {number}):")
                for name, value in entry.items():
                    out.print(f"  {name:<14} {value}", markup=False)
    summary(outcomes)
    if seen == 0:
        complain("no event came; another video may show more")
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _stop_after(ended: Event, stop: Event) -> None:
    """Let the reader catch up once the video has ended."""
    ended.wait()
    stop.wait(SETTLED_S)
    stop.set()
