"""The file under a journal: opened, read, and saved from what broke it, whoever holds it."""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import wire
from pipeline.records import ActionEvent, EventType, Flag

READ = "SELECT id, written_s, arrived_s, body FROM events"

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(Exception):
    """The file is no outbox, or of another version, or its pages are broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An event that waits."""

    id: int
    event: ActionEvent
    body: str
    """The event as JSON, without ``arrived_s``."""
    written_s: float
    """Unix seconds."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is broken, and not the disk full or closed for writing."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED


def set_aside(path: Path) -> Path:
    """Rename a damaged file, for people to look at; where it is now."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    for part, kept in zip(parts(path), parts(aside), strict=True):
        with suppress(FileNotFoundError):
            part.rename(kept)
    return aside


def salvage(path: Path) -> tuple[list[Row], list[ActionEvent]]:
    """What can still be read of a damaged file: what waits, and the ends of what was open."""
    rows: list[Row] = []
    ends: list[ActionEvent] = []
    with suppress(Damaged, sqlite3.Error):
        db = connect(path)
        try:
            with suppress(sqlite3.Error):
                for row in db.execute(f"{READ} ORDER BY id"):
                    with suppress(ValueError):
                        rows.extend(rows_of([row]))
            for held_pts_s, body in db.execute("SELECT held_pts_s, body FROM open"):
                with suppress(ValueError):
                    ends.append(end_of(wire.from_json(body), held_pts_s))
        finally:
            db.close()
    return rows, ends


def waiting(path: Path) -> tuple[int, float | None]:
    """Of a file that anybody may hold: how many wait, and since when the oldest does.

    Raises:
        sqlite3.Error: it can't be read.
    """
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        count, oldest_s = db.execute("SELECT count(*), min(written_s) FROM events").fetchone()
        return count, oldest_s
    finally:
        db.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection that never syncs within somebody's write.

    Raises:
        Damaged: the file is no database.
        sqlite3.Error: as the disk has it.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("PRAGMA journal_size_limit = 8388608")
    except sqlite3.Error as error:
        db.close()
        if is_damage(error):
            raise Damaged(str(error)) from None
        raise
    return db


def parts(path: Path) -> list[Path]:
    """The files that SQLite keeps for one."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]


def rows_of(found: Iterable[tuple[int, float, float | None, str]]) -> Iterator[Row]:
    """What ``READ`` has found.

    Raises:
        ValueError: one of them is no event.
    """
    for number, written_s, arrived_s, body in found:
        event = replace(wire.from_json(body), arrived_s=arrived_s)
        yield Row(id=number, event=event, body=body, written_s=written_s)


def end_of(event: ActionEvent, held_pts_s: float) -> ActionEvent:
    """The end of an event whose writer died after this line."""
    offset_s = None if event.start_time is None else event.start_time - event.start_pts_s
    return replace(
        event,
        seq=event.seq + 1,
        type=EventType.END,
        end_pts_s=held_pts_s,
        end_time=None if offset_s is None else held_pts_s + offset_s,
        flags=tuple(sorted({*event.flags, Flag.INTERRUPTED})),
    )
