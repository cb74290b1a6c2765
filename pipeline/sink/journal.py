"""The outbox's file: events that Redis has not acknowledged, and what is open, in SQLite.

    events    what waits, in the order in which it is to be sent
    open      of each live event that was published and not ended: its latest line

Both change in one transaction, so what is on disk is always a moment that was. Write-ahead log with
``synchronous=NORMAL``: a commit takes 0.02 to 0.1 ms and outlives the death of any process;
``sync`` makes it outlive a loss of power, too (a sync takes 2 to 300 ms). An exclusive lock on
a file beside it, which the kernel drops when its holder dies, tells whose it is.

Not for several threads, but for ``sync``, which has a connection of its own and stops nobody.
"""

import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline import wire
from pipeline.records import ActionEvent, EventType
from pipeline.sink.journal_file import (
    READ,
    Damaged,
    Row,
    connect,
    end_of,
    is_damage,
    parts,
    rows_of,
)

VERSION = 1
CHUNK = 1000  # rows read at once
WAL_PAGES = 1000  # synced and begun anew when so long: 4 MB

_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, written_s REAL NOT NULL, arrived_s REAL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS open (
    event_id TEXT PRIMARY KEY, held_pts_s REAL NOT NULL, body TEXT NOT NULL
);
PRAGMA user_version = {VERSION};
"""


class Journal:
    """One file, and whoever holds it."""

    def __init__(self, path: Path, *, every_row: bool = False) -> None:
        """Open it, or make it; with ``every_row``, see that each can be read.

        Raises:
            BlockingIOError: somebody else holds it.
            Damaged: it can't be read.
            OSError, sqlite3.Error: as the disk has it.
        """
        self.path = path
        self._unsynced = 0
        self._lock = os.open(
            path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(
                os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            )  # closed to others
            self._db = connect(path)
            try:
                self._begin(every_row)
                self._syncer = connect(path)
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, rows: Sequence[Row], *, still_open: Collection[Row] | None = None) -> None:
        """Add them, and note what they leave open; all or none.

        Args:
            rows: what waits.
            still_open: all that is open after these, for a file that doesn't know it.

        Raises:
            sqlite3.Error: the disk is full, read-only, broken …
        """
        with self._transaction():
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?)",
                [(row.id, row.written_s, row.event.arrived_s, row.body) for row in rows],
            )
            if still_open is not None:
                self._db.execute("DELETE FROM open")
            for row in rows if still_open is None else still_open:
                self._note(row)
        self._unsynced += len(rows) + len(still_open or ())

    def read(self, after: int, count: int) -> list[Row]:
        """The oldest with a greater id."""
        found = self._db.execute(
            f"{READ} WHERE id > ? ORDER BY id LIMIT ?",
            (after, count),
        )
        return list(rows_of(found))

    def chunks(self) -> Iterator[list[Row]]:
        """All of them, the oldest first, some at a time."""
        after = 0
        while rows := self.read(after, CHUNK):
            yield rows
            after = rows[-1].id

    def read_live(self, after: int, count: int) -> list[Row]:
        """The oldest of cameras with a greater id; looks at each of a file that stands before."""
        found = self._db.execute(
            f"{READ} WHERE id > ? AND "
            "json_extract(body, '$.source_kind') = 'live' ORDER BY id LIMIT ?",
            (after, count),
        )
        return list(rows_of(found))

    def forget(self, upto: int) -> None:
        """Take out those up to this id: they have arrived."""
        self._db.execute("DELETE FROM events WHERE id <= ?", (upto,))
        self._unsynced += 1

    def drop(self, rows: Sequence[Row]) -> None:
        """Take out these."""
        with self._transaction():
            self._db.executemany("DELETE FROM events WHERE id = ?", [(row.id,) for row in rows])

    def measure(self) -> tuple[int, int, int]:
        """How many wait, their bytes, and the greatest id (0 for none)."""
        found = self._db.execute("SELECT count(*), sum(length(body)), max(id) FROM events")
        count, size, last = found.fetchone()
        return count, size or 0, last or 0

    def interrupted(self) -> list[ActionEvent]:
        """The ends of what was open when its writer died."""
        found = self._db.execute("SELECT held_pts_s, body FROM open ORDER BY rowid")
        return [end_of(wire.from_json(body), held_pts_s) for held_pts_s, body in found]

    def sync(self) -> None:
        """See it safe from a loss of power; may take long, and stops nobody else."""
        if self._unsynced:
            self._unsynced = 0
            self._syncer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    @property
    def is_long(self) -> bool:
        """Whether its log should be synced, so that it can begin anew."""
        return self._unsynced >= WAL_PAGES

    def shrink(self) -> None:
        """Give back the room that a long wait took."""
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free >= WAL_PAGES:
            self._db.execute(f"PRAGMA incremental_vacuum({WAL_PAGES})").fetchall()
            self._unsynced += WAL_PAGES

    def close(self) -> None:
        """Give it back."""
        with suppress(sqlite3.Error):
            self._syncer.close()
        with suppress(sqlite3.Error):
            self._db.close()
        os.close(self._lock)

    def remove(self) -> None:
        """Give it back and delete it, or where that can't be, empty it."""
        with suppress(sqlite3.Error):
            self._db.executescript("DELETE FROM events; DELETE FROM open")
        with suppress(OSError):
            for path in parts(self.path):
                path.unlink(missing_ok=True)
        self.close()

    def _begin(self, every_row: bool) -> None:
        try:
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise Damaged(f"is of version {version}, this program knows {VERSION}")
            self._db.executescript(_SCHEMA)
            (said,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise Damaged(said)
            self.interrupted(), self.read(0, 1)
            if every_row:
                deque(self.chunks(), maxlen=0)
        except (sqlite3.Error, ValueError) as error:
            if isinstance(error, ValueError) or is_damage(error):
                raise Damaged(str(error)) from None
            raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # where the disk is full, it may be rolled back already
                self._db.execute("ROLLBACK")
            raise

    def _note(self, row: Row) -> None:
        event = row.event
        if event.type is EventType.END:
            self._db.execute("DELETE FROM open WHERE event_id = ?", (event.event_id,))
        elif event.held_pts_s is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO open VALUES (?, ?, ?)",
                (event.event_id, event.held_pts_s, row.body),
            )
