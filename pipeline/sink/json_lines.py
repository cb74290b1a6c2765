"""Events as JSON lines, into a file or a stream: one object a line, flushed once per write.

A file is appended to, never overwritten. A line that a crash cut off is closed first, so that it
spoils itself only. Cost: one system call per write.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from pipeline import wire
from pipeline.errors import SinkError
from pipeline.records import ActionEvent
from pipeline.sink.stamp import stamped


class JsonLinesSink:
    """Writes ``wire.to_json`` of each event; ``-`` is standard output."""

    def __init__(self, target: str | Path | TextIO, *, now: Callable[[], float] = time.time):
        """Open it.

        Raises:
            SinkError: the file can't be opened for writing.
        """
        self._now = now
        if isinstance(target, str | Path) and str(target) != "-":
            self._name = str(target)
            self._stream = _open(Path(target))
            self._ours = True
        else:
            self._stream = sys.stdout if isinstance(target, str | Path) else target
            self._name = "standard output" if self._stream is sys.stdout else "the stream"
            self._ours = False

    def write(self, events: Sequence[ActionEvent]) -> None:
        """Hand the events to the operating system.

        Raises:
            SinkError: the disk is full, or the reader of a pipe is gone.
        """
        lines = "".join(wire.to_json(stamped(event, self._now())) + "\n" for event in events)
        try:
            self._stream.write(lines)
            self._stream.flush()
        except BrokenPipeError:
            self._forget_output()
            raise SinkError(f"{self._name}: its reader has closed the pipe") from None
        except OSError as error:
            raise SinkError(
                f"{self._name}: events can't be written: {error.strerror}; "
                "make room or choose another file, then run again"
            ) from None
        except ValueError:
            raise SinkError(f"{self._name}: is closed already") from None

    def close(self) -> None:
        """Close the file; a stream that was given stays open."""
        if self._ours:
            with suppress(OSError):  # a full disk was reported by write
                self._stream.close()

    def _forget_output(self) -> None:
        """Keep Python from flushing the dead pipe once more, with a traceback, when it exits."""
        if self._stream is sys.stdout:
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stdout.fileno())
                os.close(nowhere)


def _open(path: Path) -> TextIO:
    try:
        torn = _ends_in_the_middle_of_a_line(path)
        stream = path.open("a", encoding="utf-8", newline="\n")
        if torn:
            stream.write("\n")
    except FileNotFoundError:
        raise SinkError(f"{path}: there is no folder {path.parent}; create it first") from None
    except IsADirectoryError:
        raise SinkError(f"{path}: is a folder; name a file in it") from None
    except OSError as error:
        raise SinkError(f"{path}: can't be opened for writing: {error.strerror}") from None
    return stream


def _ends_in_the_middle_of_a_line(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
