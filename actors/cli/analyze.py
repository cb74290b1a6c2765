"""``actionstream analyze``: files to their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Annotated

import typer

from actors.cli.options import (
    ConfigFile,
    Device,
    Model,
    Prefix,
    RedisUrl,
    StateDir,
    config_of,
)
from actors.cli.show import ProgressBars, complain, summary
from actors.cli.signals import stopped_by_signals
from pipeline.broker import Broker, open_broker
from pipeline.config import Config, RedisConfig
from pipeline.errors import ConfigError, SinkError
from pipeline.records import ActionEvent
from pipeline.settle import card_from, origin_of, settle
from pipeline.sink import JsonLinesSink, Outbox, Patience, Sink, StatusPost, left_over, open_outbox
from pipeline.source import FileSource, find_files
from pipeline.stream import Report, nobody
from pipeline.tally import Outcome, Tally
from pipeline.wire import events_key

REFRESH_S = 0.2
GIVE_UP_S = 60.0  # a run over files has somebody waiting for it
FLUSH_S = 5.0


def analyze(
    files: Annotated[list[str], typer.Argument(help="Videos, folders of videos, or patterns.")],
    jsonl: Annotated[
        str | None,
        typer.Option(help="Append events as JSON lines to a file, or to - (standard output)."),
    ] = None,
    redis: RedisUrl = None,
    config: ConfigFile = None,
    model: Model = None,
    device: Device = None,
    frames: Annotated[
        int | None, typer.Option(help="T, where the checkpoint's name doesn't tell.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Text file, a label per line, for a checkpoint without.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the stream (one file).")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Streams are named by their path below this folder.")
    ] = None,
    sample_fps: Annotated[
        str | None, typer.Option(help="Pictures looked at per second.", show_default="the model's")
    ] = None,
    hop: Annotated[
        int | None,
        typer.Option(help="Pictures from window to window.", show_default="the model's"),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Refuse larger pictures.", show_default="4096x2304")
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run on Ray actors, files in parallel.")
    ] = False,
    address: Annotated[
        str | None, typer.Option(help="Join the Ray cluster at this address.")
    ] = None,
    state_dir: StateDir = None,
    prefix: Prefix = None,
) -> int:
    """Recognise actions in video files and publish them as events.

    Events go to Redis Streams (a private server's, unless --redis names one) and, with --jsonl,
    to a file or to standard output instead. Exit code 0: all files were read; 1: some could not
    be; 2: the call is wrong.
    """
    settings = config_of(
        config,
        redis={"url": redis, "state_dir": state_dir, "prefix": prefix},
        model={"path": model, "device": device, "frames": frames, "labels": labels},
        sampling={"sample_fps": sample_fps, "hop": hop, "max_pixels": max_pixels},
    )
    sources = find_files(files, name=name, root=root)
    to_redis = redis is not None or settings.redis.url is not None or jsonl is None
    with ExitStack() as stack:
        lines = _json_lines(stack, jsonl) if jsonl is not None else None
        broker = stack.enter_context(open_broker(settings.redis)) if to_redis else None
        if broker is not None:
            key = events_key(settings.redis.prefix)
            complain(f"events go to the stream {key}; {broker.how_to_connect}")
        stop = stack.enter_context(stopped_by_signals())
        bars = stack.enter_context(ProgressBars())
        if ray or address is not None:
            outcomes, lost = _on_ray(sources, settings, broker, lines, stop, bars, address)
        else:
            outcomes, lost = _in_process(sources, settings, broker, lines, stop, bars)
        unsent = 0 if broker is None else _unsent(settings.redis, broker, stop)
    summary(outcomes)
    if lost:
        complain("analyse the files again once there is room")
    if unsent:
        complain(f"{unsent} events are left on disk; the next analyze or run sends them")
    if stop.is_set():
        complain(
            "interrupted: open events were ended for now, the rest was not looked at; the same "
            "call again begins anew, and tells their true ends"
        )
    failed = stop.is_set() or lost or unsent or any(outcome.error for outcome in outcomes)
    return 1 if failed else 0


class _Tee:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def write(self, events: Sequence[ActionEvent]) -> None:
        for sink in self._sinks:
            sink.write(events)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


def _json_lines(stack: ExitStack, target: str) -> JsonLinesSink:
    try:
        lines = JsonLinesSink(target)
    except SinkError as error:
        raise ConfigError(str(error)) from None
    stack.callback(lines.close)
    return lines


def _in_process(
    sources: Sequence[FileSource],
    config: Config,
    broker: Broker | None,
    lines: JsonLinesSink | None,
    stop: Event,
    bars: ProgressBars,
) -> tuple[list[Outcome], int]:
    from pipeline.model import load_from  # these two bring torch
    from pipeline.run import run

    recognizer = load_from(config.model)
    sinks: list[Sink] = [lines] if lines else []
    report: Report = nobody
    tallies: dict[str, Tally] = {}
    outbox = None
    with ExitStack() as stack:
        if broker is not None:
            patience = Patience(give_up_s=GIVE_UP_S, stop=stop, revive=broker.revive)
            outbox = stack.enter_context(open_outbox(config.redis, broker, patience=patience))
            stack.callback(_tell_repeats, outbox)
            sinks.append(outbox)
            post = StatusPost(broker.client, config.redis.prefix, patience=patience)
            stack.callback(post.close)
            report = post.write_status
        outcomes = _watched(
            lambda: run(
                sources, recognizer, config, _Tee(sinks), stop=stop, report=report, tallies=tallies
            ),
            lambda: bars.update(tallies),
        )
    return outcomes, outbox.lost if outbox else 0


def _tell_repeats(outbox: Outbox) -> None:
    outbox.flush(FLUSH_S)
    if repeats := outbox.state.repeats:
        complain(f"{repeats} of the events were in Redis already, and are not stored again")


def _unsent(config: RedisConfig, broker: Broker, stop: Event) -> int:
    """Wait a while for Redis to take what is left on disk; how many events it did not take."""
    if not left_over(config):
        return 0
    until_s = time.monotonic() + GIVE_UP_S
    with stopped_by_signals(stop), open_outbox(config, broker) as outbox:
        if waiting := outbox.flush(REFRESH_S):
            complain(f"{waiting} events wait for Redis; Ctrl-C leaves them on disk")
        while (left := outbox.flush(REFRESH_S)) and not stop.is_set():
            if time.monotonic() > until_s:
                break
        return left


def _watched(work: Callable[[], list[Outcome]], look: Callable[[], None]) -> list[Outcome]:
    """Do the work in a thread, so that signals and the progress bars are served meanwhile."""
    outcomes: list[Outcome] = []
    errors: list[BaseException] = []

    def go() -> None:
        try:
            outcomes.extend(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)

    worker = Thread(target=go, name="run")
    worker.start()
    while worker.is_alive():
        worker.join(REFRESH_S)
        look()
    if errors:
        raise errors[0]
    return outcomes


def _on_ray(
    sources: Sequence[FileSource],
    config: Config,
    broker: Broker | None,
    lines: JsonLinesSink | None,
    stop: Event,
    bars: ProgressBars,
    address: str | None,
) -> tuple[list[Outcome], int]:
    from actors.cluster import cluster, run_name
    from actors.ray_death import ends_with_ray
    from actors.supervisor import Supervisor

    card = card_from(config.model)
    settings = settle(config, card.spec)
    origin = origin_of(card, settings)
    with (
        cluster(address),
        ends_with_ray(complain),
        stopped_by_signals(stop),  # again: Ray has put handlers of its own
        Supervisor(
            sources,
            config,
            settings,
            origin,
            redis=None if broker is None else config.redis,
            keep_events=lines is not None,
            name=run_name(),
            stop=stop,
        ) as supervisor,
    ):
        while supervisor.busy:
            supervisor.step()
            stop.wait(REFRESH_S)
            if lines is not None:
                lines.write(supervisor.take_events())
            bars.update(supervisor.tallies)
            if stop.is_set():
                break
        supervisor.drain()
        if lines is not None:
            lines.write(supervisor.take_events())
        outcomes = supervisor.outcomes
    return outcomes, supervisor.lost
