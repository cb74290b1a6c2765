"""``actionstream demo``: the main job on real footage, seen from the subscriber's end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table

from actors.cli.show import complain, event_line, summary
from actors.cli.signals import stopped_by_signals
from actors.cli.strips import draw_strips
from actors.cli.takes import Take, make_takes
from pipeline.broker import Broker, open_broker
from pipeline.config import Config, RedisConfig
from pipeline.model import Recognizer, load_from
from pipeline.records import ActionEvent, EventType
from pipeline.run import run
from pipeline.sink import RedisSink
from pipeline.source import FileSource, find_files
from pipeline.subscribe import Patience, follow
from pipeline.tally import Outcome
from pipeline.wire import events_key

FOOTAGE = Path(".footage")
CATCH_UP_S = 1.0  # the reader asks Redis ten times a second


def demo(
    video: Annotated[
        Path | None,
        typer.Argument(help="A video of your own, instead of the footage of make footage."),
    ] = None,
    strips: Annotated[
        Path | None, typer.Option(help="Draw the frames of each event into this PNG file.")
    ] = None,
) -> int:
    """Analyse real footage, moved by known amounts, and print its events as Redis delivers them."""
    recognizer = load_from(Config().model)
    out = Console(soft_wrap=True, highlight=False)
    with (
        TemporaryDirectory(prefix="actionstream-") as scratch,
        open_broker(RedisConfig(state_dir=Path(scratch) / "redis")) as broker,
        stopped_by_signals() as stop,
    ):
        folder = Path(scratch) / "takes"
        takes = make_takes(FOOTAGE, folder) if video is None else []
        sources = find_files([str(video)]) if video else find_files([str(folder)], root=folder)
        out.print(f"A private Redis is up for this demo: {broker.url}", markup=False)
        out.print(f"Analysing {_what(takes, video)} with {recognizer.spec.name}", markup=False)
        outcomes, events = _analysed(sources, recognizer, broker, out, stop)
        _show_entry(broker, out)
        if takes and not stop.is_set():
            _compare(takes, events, out)
            shown = list(_strips(takes, events))
            if strips is not None and shown:
                draw_strips(strips, shown)
    summary(outcomes)
    return 1 if stop.is_set() or any(outcome.error for outcome in outcomes) else 0


def _what(takes: list[Take], video: Path | None) -> str:
    return f"{len(takes)} takes of real footage" if takes else str(video)


def _compare(takes: list[Take], events: list[ActionEvent], out: Console) -> None:
    """What was done in each take, and what was seen."""
    table = Table("take", "what was done", "events received", box=None, pad_edge=False)
    table.title, table.title_justify = "What was done, and what was seen", "left"
    true = 0
    for take in takes:
        seen = [e for e in events if e.stream_id == take.path.name and e.type is EventType.END]
        true += all(e.label in take.true_labels for e in seen) and bool(seen) == bool(
            take.true_labels
        )
        table.add_row(take.name, take.done, "\n".join(map(_seen, seen)) or "none")
    out.print(table)
    out.print(f"In {true} of {len(takes)} takes, exactly what was done was seen.")


def _strips(
    takes: list[Take], events: list[ActionEvent]
) -> Iterator[tuple[Path, ActionEvent, str]]:
    for take in takes:
        for event in events:
            if event.stream_id == take.path.name and event.type is EventType.END:
                yield take.path, event, take.done


def _seen(event: ActionEvent) -> str:
    return f"{event.label}, {event.start_pts_s:.1f} to {event.end_pts_s:.1f} s"


def _analysed(
    sources: list[FileSource],
    recognizer: Recognizer,
    broker: Broker,
    out: Console,
    stop: Event,
) -> tuple[list[Outcome], list[ActionEvent]]:
    """Run in one thread, read what comes out of Redis in this one."""
    reading = Patience()
    writing = Patience(stop=stop, revive=broker.revive)
    events = follow(broker.client, start="0", block_s=0.1, patience=reading)
    outcomes: list[Outcome] = []
    errors: list[BaseException] = []

    def work() -> None:
        sink = RedisSink(broker.client, patience=writing)
        outcomes.extend(run(sources, recognizer, Config(), sink, stop=stop))

    worker = Thread(target=_then_stop, args=(work, errors, reading.stop), name="run")
    worker.start()
    seen = []
    for event in events:
        out.print(event_line(event))
        seen.append(event)
    worker.join()
    if errors:
        raise errors[0]
    out.print(f"{len(seen)} events received from Redis.")
    if not seen:
        complain("no event came; another video may show more")
    return outcomes, seen


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
