"""source: a camera or a file in, packets out.

In: a path or an address. Out: a ``Feed``, whose ``packets()`` are those of the best video stream.
The rule that is easy to get wrong: what FFmpeg is handed has been judged before, and what it says
is translated, because its texts hold passwords and its URLs open local files.
"""

from typing import Protocol

from pipeline.records import SourceKind
from pipeline.source.address import Address, parse_address
from pipeline.source.camera import CameraSource
from pipeline.source.feed import Feed
from pipeline.source.files import FileSource, find_files


class Source(Protocol):
    """Something that can be opened, again and again, for its packets."""

    @property
    def kind(self) -> SourceKind:
        """Live sources come at their own pace; files wait."""

    @property
    def stream_id(self) -> str:
        """The stream's name in every event."""

    def open(self) -> Feed:
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
    "find_files",
    "parse_address",
]
