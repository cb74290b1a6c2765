"""What people see: event lines, progress, the summary of a run."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from pipeline.printable import printable, without_passwords
from pipeline.records import NS, ActionEvent, EventType
from pipeline.tally import Outcome, Tally

LONGEST = 4_000  # characters: a screen, where a message quotes a hostile name
BEYOND = 1e9  # no score, and 30 years of seconds: a foreign number, of up to 300 digits
TYPE_STYLES = {EventType.START: "green", EventType.UPDATE: "yellow", EventType.END: "red"}


def complain(message: str) -> None:
    """One line on standard error, whatever the names of files in it hold; they may be addresses.

    Where nobody reads it, as on a terminal that was closed, it is lost, and work goes on.
    """
    line = shown(without_passwords(" ".join(message.split())))
    with suppress(OSError):
        print(f"actionstream: {line}", file=sys.stderr)  # noqa: T201


def shown(text: Path | str) -> str:
    """Text from outside on one line of a screen: it neither steers nor floods a terminal."""
    line = printable(str(text)[: LONGEST + 1])
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def moment(unix_s: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Local time, ``%f`` in milliseconds; ``?`` where a foreign number is no time of a calendar."""
    try:
        then = datetime.fromtimestamp(unix_s)
    except (OverflowError, OSError, ValueError):  # 1e300, what the C library refuses, nan
        return "?"
    return then.strftime(form.replace("%f", f"{then.microsecond // 1000:03}"))


def terminal() -> Console:
    """Standard output, for lines that hold text from outside.

    A character that its encoding lacks is escaped; by default it would end the command.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(soft_wrap=True, highlight=False)


def event_line(event: ActionEvent) -> Text:
    """Where, when, what: one event for a person."""
    line = Text()
    line.append(f"{_when(event):>12}  ")
    line.append(f"{event.type.value:<6} ", style=TYPE_STYLES[event.type])
    line.append(f"{shown(event.label)} ", style="bold")
    line.append(_short(event.score, 2))
    if event.end_pts_s is not None:
        line.append(f"  lasted {_short(event.end_pts_s - event.start_pts_s, 1)} s")
    line.append(f"  {shown(event.stream_id)}", style="cyan")
    if event.flags:
        line.append(f"  [{shown(', '.join(event.flags))}]", style="dim")
    return line


def _when(event: ActionEvent) -> str:
    """Time of day for a camera, position for a file."""
    if event.source_kind == "live":
        unix_s = event.start_time if event.end_time is None else event.end_time
        if unix_s is not None:
            return moment(unix_s, "%H:%M:%S.%f")
    return _position(event.start_pts_s if event.end_pts_s is None else event.end_pts_s)


def _position(pts_s: float) -> str:
    """``2:05.50``; a stream may begin before 0."""
    if abs(pts_s) >= BEYOND:
        return "?"
    minutes, hundredths = divmod(round(abs(pts_s) * 100), 6000)
    sign = "-" if pts_s < 0 else ""
    return f"{sign}{minutes}:{hundredths // 100:02}.{hundredths % 100:02}"


def _short(number: float, digits: int) -> str:
    return f"{number:.{digits}f}" if abs(number) < BEYOND else f"{number:.0e}"


class _Position(ProgressColumn):
    """How far, how fast, and what came of it."""

    def render(self, task: Task) -> Text:
        done_s = task.completed
        speed = done_s / task.elapsed if task.elapsed else 0.0
        total = f"/{task.total:.1f}" if task.total else ""
        return Text(f"{done_s:.1f}{total} s  {speed:.1f}x  {task.fields['events']} events")


class ProgressBars:
    """A bar per stream on standard error; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # a name may hold [brackets]
            BarColumn(),
            _Position(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, object] = {}

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, tallies: dict[str, Tally]) -> None:
        """Show the latest counts."""
        for stream_id, tally in list(tallies.items()):
            total_s = tally.length_ns / NS or None
            if stream_id not in self._tasks:
                self._tasks[stream_id] = self._progress.add_task(
                    shown(stream_id), total=total_s, events=0
                )
            task: object = self._tasks[stream_id]
            position_s = tally.position_ns / NS
            self._progress.update(
                task,  # type: ignore[arg-type]
                completed=position_s,
                total=max(total_s, position_s) if total_s else None,
                events=tally.events,
            )


def summary(outcomes: Sequence[Outcome]) -> None:
    """What each stream came to, on standard error; failures one line each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("stream", "pictures", "sampled", "windows", "events", "notes"):
        right = heading not in ("stream", "notes")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for outcome in outcomes:
        tally = outcome.tally
        counts = (tally.pictures, tally.sampled, tally.scored, tally.events)
        notes = Text(shown(", ".join(_notes(outcome))))
        table.add_row(Text(shown(outcome.stream_id)), *map(str, counts), notes)
    Console(stderr=True).print(table)
    for outcome in outcomes:
        if outcome.error is not None:
            complain(str(outcome.error))


def _notes(outcome: Outcome) -> list[str]:
    """What was not as it should be."""
    tally = outcome.tally
    notes = [f"{count} gaps ({reason})" for reason, count in tally.gaps.items()]
    notes += [f"{count} pictures dropped ({reason})" for reason, count in tally.dropped.items()]
    notes += [
        f"{count} windows dropped ({reason})"
        for reason, count in tally.windows_dropped.items()
        if count
    ]
    if tally.corrupt:
        notes.append(f"{tally.corrupt} corrupt pictures")
    if tally.truncated:
        notes.append("truncated: the header promises more")
    if outcome.error is not None:
        notes.append("failed")
    return notes
