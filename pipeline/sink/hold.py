"""What waits, in order: on disk, or in memory for as long as the disk takes nothing.

A file here belongs to one process at a time. A process takes the first that is free, and takes over
the others that nobody holds; so what a crash left is found by whoever comes, or lives on beside it.
What was open in them is ended, flagged ``interrupted``: its writer is dead.

A damaged file is set aside under another name, and what can still be read of it goes on. Not for
several threads.
"""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pipeline import wire
from pipeline.broker import private_folder
from pipeline.records import ActionEvent, EventType
from pipeline.sink.journal import Journal
from pipeline.sink.journal_file import Damaged, Row, is_damage, salvage, set_aside

log = logging.getLogger(__name__)

DISK_WAIT_S = 1.0  # between two attempts at a disk that takes nothing
ADOPT_S = 10.0  # how soon the events of a process that died beside us are found
SLOTS = 64  # processes with the same state folder and the same Redis
REMEMBERED = 1000  # rows: while Redis takes events, none is read from disk again


class Hold:
    """Rows between ``append`` and ``arrived``."""

    def __init__(self, folder: Path, name: str, *, now: Callable[[], float] = time.time) -> None:
        """Open what is there; a disk that refuses is ``trouble``, not an error."""
        self.trouble = ""
        """Why the disk takes nothing; empty where it does."""
        self.waiting = 0
        self.bytes = 0
        """Of the text of what waits."""
        self.arrived_id = 0
        self._folder = folder
        self._name = name
        self._now = now
        self._journal: Journal | None = None
        self._held: Path | None = None
        self._unsaved: list[Row] = []
        self._ongoing: dict[str, Row] = {}
        """Of each live event that was written here and not ended: its latest row."""
        self._noted = False
        """The file knows what is open. Not if it is new, or took nothing for a while."""
        self._recent: deque[Row] = deque(maxlen=REMEMBERED)
        """The last of what waits, on disk or not: all of it, where it is as many."""
        self._last_id = 0
        self._broken = False
        """What is in the file can't be read or written until it is opened again."""
        self._unreadable = False
        """A row was none, so each is looked at then."""
        self._try_disk_at_s = 0.0
        self._adopt_at_s = 0.0
        self.care()

    @property
    def in_memory(self) -> int:
        """How many are not on disk."""
        return len(self._unsaved)

    @property
    def reopens(self) -> bool:
        """Whether all that waits does so until the file is opened again, which ``care`` does."""
        return self._broken and self._journal is not None

    def append(self, events: Sequence[ActionEvent]) -> None:
        """Add them, on disk where that is possible."""
        self._add([(event, self._now()) for event in events])
        if not self.trouble or time.monotonic() >= self._try_disk_at_s:
            self._save()

    def oldest(self, after: int, count: int) -> list[Row]:
        """The first so many with a greater id that have not arrived."""
        after = max(after, self.arrived_id)
        if len(self._recent) == self.waiting:
            return list(islice((row for row in self._recent if row.id > after), count))
        saved = self._saved(lambda journal: journal.read(after, count))
        if self.reopens:
            return []  # what is on disk comes first, once it is opened again
        return (saved + [row for row in self._unsaved if row.id > after])[:count]

    def oldest_live(self, after: int, count: int, *, in_memory_only: bool) -> list[Row]:
        """The first so many of cameras: those that may be dropped."""
        after = max(after, self.arrived_id)
        fresh = [row for row in self._unsaved if row.id > after and _is_live(row)]
        if in_memory_only:
            return fresh[:count]
        return (self._saved(lambda journal: journal.read_live(after, count)) + fresh)[:count]

    def _saved(self, read: Callable[[Journal], list[Row]]) -> list[Row]:
        """What can be read from disk."""
        if self._journal is not None and not self._broken:
            try:
                return read(self._journal)
            except (sqlite3.Error, ValueError) as error:
                self._unreadable = isinstance(error, ValueError)
                self._refused(error)
                self._broken = True  # whatever it was: what waits there must not be passed over
        return []

    def arrived(self, rows: Sequence[Row]) -> None:
        """These, the oldest, are out of our hands."""
        self.arrived_id = rows[-1].id
        self.waiting -= len(rows)
        self.bytes -= sum(len(row.body) for row in rows)
        while self._recent and self._recent[0].id <= self.arrived_id:
            self._recent.popleft()
        self._unsaved = [row for row in self._unsaved if row.id > self.arrived_id]
        if self._journal is not None and not self._broken:
            try:
                self._journal.forget(self.arrived_id)
            except sqlite3.Error as error:  # sent again after a restart, and known as a repeat
                self._refused(error)

    def drop(self, rows: Sequence[Row]) -> bool:
        """Take out these, if the disk lets us."""
        fresh = {row.id for row in self._unsaved}
        saved = [row for row in rows if row.id not in fresh]
        if saved and self._journal is not None:
            try:
                self._journal.drop(saved)
            except sqlite3.Error as error:
                self._refused(error)
                return False
        gone = {row.id for row in rows}
        self._unsaved = [row for row in self._unsaved if row.id not in gone]
        self._recent = deque((row for row in self._recent if row.id not in gone), REMEMBERED)
        self.waiting -= len(rows)
        self.bytes -= sum(len(row.body) for row in rows)
        return True

    def care(self) -> None:
        """What is due: open the file, put on disk what is in memory, take over what others left.

        Call it now and then, while no row is on its way: after a change of file ids begin anew.
        """
        now_s = time.monotonic()
        if now_s < self._try_disk_at_s:
            return
        if self._journal is None or self._broken or _is_gone(self._journal.path):
            self._open()
        elif self.trouble:
            self._save()
        if self._journal is None or self._broken:
            return
        if now_s >= self._adopt_at_s and not self.trouble:
            self._adopt_at_s = now_s + ADOPT_S
            self._adopt()
        with suppress(sqlite3.Error):
            self._journal.shrink()

    def journal_to_sync(self, *, due: bool) -> Journal | None:
        """The file, if it should be synced: outside of any lock, as that may take long."""
        journal = None if self._broken else self._journal
        return journal if journal is not None and (due or journal.is_long) else None

    def close(self) -> None:
        """Give back the file; what waits stays in it, and what it doesn't take stays in memory."""
        self._save()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _add(self, events: Sequence[tuple[ActionEvent, float]]) -> None:
        for event, written_s in events:
            self._last_id += 1
            body = wire.to_json(event)
            row = Row(id=self._last_id, event=event, body=body, written_s=written_s)
            self._unsaved.append(row)
            self._recent.append(row)
            self.waiting += 1
            self.bytes += len(body)
            if event.type is EventType.END:
                self._ongoing.pop(event.event_id, None)
            elif event.held_pts_s is not None:  # a file's is derived again with the same id
                self._ongoing[event.event_id] = row

    def _save(self) -> None:
        if self._journal is None or self._broken:
            return
        try:
            if self._unsaved or not self._noted:
                self._journal.append(
                    self._unsaved, still_open=None if self._noted else self._ongoing.values()
                )
                self._unsaved, self._noted = [], True
            if self.trouble:
                self._journal.forget(self.arrived_id)
        except sqlite3.Error as error:
            self._refused(error)
            return
        if self.trouble:
            log.warning("%s: takes events again", self._journal.path)
            self.trouble = ""

    def _open(self) -> None:
        """The first file that is free; rows in memory come after those in it."""
        if self._journal is not None:
            if _is_gone(self._journal.path):  # somebody deleted it; its rows can still be read
                self._unsaved = self.oldest(self.arrived_id, self.waiting)
            self._journal.close()
            self._journal = None
        try:
            journal = self._first_free()
            count, size, last_id = journal.measure()
            ends = journal.interrupted() if journal.path != self._held else []
        except (OSError, ValueError, sqlite3.Error, Damaged) as error:
            self._refused(error)
            return
        self._journal, self._held = journal, journal.path
        self._broken = self._unreadable = self._noted = False
        fresh, self._unsaved = self._unsaved, []
        self._recent.clear()
        self._last_id, self.arrived_id, self.waiting, self.bytes = last_id, 0, count, size
        self._add([(row.event, row.written_s) for row in fresh])
        self._add([(end, self._now()) for end in ends])
        self._save()

    def _first_free(self) -> Journal:
        private_folder(self._folder)
        for n in range(SLOTS):
            with suppress(BlockingIOError):
                path = self._folder / f"{self._name}-{n}.sqlite"
                return self._sound(path, every_row=self._unreadable)
        raise OSError(f"{SLOTS} processes use this folder already")

    def _sound(self, path: Path, *, every_row: bool) -> Journal:
        """The file, or a new one in its place where it is damaged."""
        try:
            return Journal(path, every_row=every_row)
        except Damaged as error:
            aside = set_aside(path)
            rows, ends = salvage(aside)
            log.error(
                "%s: the outbox is damaged (%s); it is %s now; what waited in it and can still "
                "be read is sent: %d events",
                *(path, error, aside.name, len(rows)),
            )
        later: list[Row] = []
        if path == self._held:
            ends = []  # they are open in this process, which goes on
            later, self._unsaved = self._unsaved, []
            self._recent.clear()
            self.waiting = self.bytes = 0
        self._add([(row.event, row.written_s) for row in rows])
        self._add([(end, self._now()) for end in ends])
        self._add([(row.event, row.written_s) for row in later])
        return Journal(path)

    def _adopt(self) -> None:
        """Take over the files of our name that nobody holds."""
        assert self._journal is not None
        paths: list[Path] = []
        with suppress(OSError):  # it is looked at again in a while
            paths = sorted(self._folder.glob(f"{self._name}-*.sqlite"))
        for path in paths:
            if path == self._held:
                continue
            try:
                left = self._sound(path, every_row=True)
            except (OSError, sqlite3.Error, Damaged):
                continue  # in use; or not to be had, which is asked again
            for rows in left.chunks():
                self._add([(row.event, row.written_s) for row in rows])
                self._save()
            self._add([(end, self._now()) for end in left.interrupted()])
            self._save()
            if self.trouble:
                left.close()
                return
            left.remove()

    def _refused(self, error: Exception) -> None:
        """The disk said no: one line, and again in a while."""
        self._try_disk_at_s = time.monotonic() + DISK_WAIT_S
        self._noted = False
        self._broken = self._broken or _wants_reopening(error)
        said = getattr(error, "strerror", None) or str(error)
        if said != self.trouble:
            self.trouble = said
            log.error(
                "%s: the outbox can't be written: %s; events wait in memory meanwhile, and go "
                "out, but don't outlive this process; make room or set redis.state_dir",
                *(self._held or self._folder, said),
            )


def _is_live(row: Row) -> bool:
    return row.event.source_kind == "live"


def _is_gone(path: Path) -> bool:
    """Whether it was deleted. A folder that can't be looked into may still have it."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _wants_reopening(error: Exception) -> bool:
    """A disk that is full or read-only leaves the file as it was; damage doesn't."""
    return isinstance(error, ValueError) or (
        isinstance(error, sqlite3.Error) and (is_damage(error) or _was_moved(error))
    )


def _was_moved(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED
