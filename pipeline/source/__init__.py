"""source: a camera or a file in, packets out.

In: a path or an address. Out: a ``Feed``, whose ``packets()`` are those of the best video stream.
The rule that is easy to get wrong: what FFmpeg is handed has been judged before, and what it says
is translated, because its texts hold passwords and its URLs open local files.
"""

from typing import Protocol

from pipeline.cameras import CameraKnobs
from pipeline.records import SourceKind
from pipeline.source.address import Address, parse_address
from pipeline.source.camera import CameraSource, camera_source
from pipeline.source.feed import Feed
from pipeline.source.files import FileSource, find_files
from pipeline.source.watched import Watch, Watched, WatchedFeed


class Source(Protocol):
    """Something that can be opened, again and again, for its packets."""

    @property
    def kind(self) -> SourceKind:
        """Live sources come at their own pace; files wait."""

    @property
    def stream_id(self) -> str:
        """The stream's name in every event."""

    @property
    def shown(self) -> str:
        """The source as messages may name it: nothing secret, nothing unprintable."""

    @property
    def knobs(self) -> CameraKnobs | None:
        """How a camera is connected and looked at; a file has none."""

    @property
    def port(self) -> int | None:
        """Where a camera listens; a file has none."""

    def open(self) -> Feed | WatchedFeed:
        """A fresh feed.

        Raises:
            SourceError: it can't be opened.
        """


__all__ = [
    "Address",
    "CameraSource",
    "Feed",
    "FileSource",
    "Source",
    "Watch",
    "Watched",
    "WatchedFeed",
    "camera_source",
    "find_files",
    "parse_address",
]
