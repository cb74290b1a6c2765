"""Files as sources: which ones are meant, what their streams are called, how they are opened."""

import glob
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from pipeline.errors import (
    ConfigError,
    NotAVideo,
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceUnauthorized,
)
from pipeline.printable import printable
from pipeline.records import SourceKind
from pipeline.source.feed import Feed

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .gif .h264 .h265 .hevc .ivf .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf "
    ".nut .ogv .ts .vob .webm .wmv .y4m".split()
)
"""What a folder is searched for; a file named outright may end as it likes."""

FORMATS = (
    "3g2,3gp,asf,av1,avi,dv,flv,gif,h264,hevc,ivf,m4a,m4v,matroska,mj2,mjpeg,mov,mp4,mpeg,mpegts,"
    "mpegvideo,mxf,nut,obu,ogg,vc1,webm,wtv,yuv4mpegpipe"
)
"""FFmpeg's demuxers that read one file only: a playlist could open others behind our back."""

_PICTURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"II*\0": "TIFF"}
MAX_NAME = 200  # as of a camera
_SNIFF_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """A video file, read from its start to its end."""

    kind: ClassVar[SourceKind] = "file"
    knobs: ClassVar[None] = None
    port: ClassVar[None] = None
    path: Path
    stream_id: str

    @property
    def session_id(self) -> str:
        """Stable, so that a second run over the file gives the same event ids."""
        return sha256(b"file:" + self.stream_id.encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """The path as messages may name it."""
        return printable(self.path)

    def open(self) -> Feed:
        """The file's packets.

        Raises:
            SourceNotFound, SourceUnauthorized, NotAVideo: with the path and what to do.
        """
        _sniff(self.path, self.shown)
        return Feed(
            f"file:{self.path.absolute()}",  # "file:" keeps FFmpeg from reading "concat:…" in it
            kind="file",
            shown=self.shown,
            options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
            open_timeout_s=60.0,
            read_timeout_s=60.0,
        )


def find_files(
    patterns: Sequence[str], *, root: Path | None = None, name: str | None = None
) -> list[FileSource]:
    """The files meant by paths, folders (searched by suffix) and globs, each once, in order.

    A stream is called ``name`` (one file only), else by its path relative to ``root``, else by
    its path as written. A path without a file is kept, so that opening it says so and the other
    inputs go on.

    Raises:
        ConfigError: ``name`` for several files, or two files that would share a name.
    """
    paths = list(dict.fromkeys(path for pattern in patterns for path in _expand(pattern)))
    if name is not None and len(paths) != 1:
        raise ConfigError(f"--name names one stream, but {len(paths)} files were given")
    if name is not None and len(name) > MAX_NAME:
        raise ConfigError(f"--name has {len(name)} characters; want at most {MAX_NAME}")
    sources = [
        FileSource(path=path, stream_id=printable(name or _stream_id(path, root))) for path in paths
    ]
    seen: dict[str, Path] = {}
    for source in sources:
        other = seen.setdefault(source.stream_id, source.path)
        if other != source.path:
            raise ConfigError(
                f"{printable(other)} and {printable(source.path)} would both be the stream "
                f"{source.stream_id!r}, and their events would mix; give --root or --name"
            )
    return sources


def _expand(pattern: str) -> list[Path]:
    if not pattern:
        raise ConfigError("an empty path was given; name a file or a folder, . for this one")
    scheme = re.match(r"(?:rtsps?|https?|rtmp):/{0,2}|file://", pattern, re.IGNORECASE)
    if scheme:  # the rest may hold a password
        raise ConfigError(
            f"analyze reads files by their paths, not {scheme[0]} addresses; cameras go into the "
            "config of: actionstream run"
        )
    path = Path(pattern)
    try:
        if path.is_dir():
            return _videos_below(path) or [path]
        exists = path.exists()
    except OSError:  # opening it will say why
        return [path]
    if not exists and glob.has_magic(pattern):
        return [Path(match) for match in sorted(glob.glob(pattern, recursive=True))] or [path]
    return [path]


def _videos_below(folder: Path) -> list[Path]:
    """By suffix; a pipe or a link to nowhere is kept, so that opening it says what it is."""
    return sorted(
        child
        for child in folder.rglob("*")
        if child.suffix.lower() in VIDEO_SUFFIXES and not child.is_dir()
    )


def _stream_id(path: Path, root: Path | None) -> str:
    if root is None:
        return path.as_posix().removeprefix("./")
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise ConfigError(f"{printable(path)} is not under --root {root}") from None


def _sniff(path: Path, shown: str) -> None:
    """Say what a file is when it plainly is no video: FFmpeg would only say "invalid data"."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise SourceNotFound(f"{shown}: a folder without videos; give a file or another folder")
        if not stat.S_ISREG(mode):  # a pipe would block for ever
            raise SourceForbidden(f"{shown}: a pipe or a device; give a file")
        with path.open("rb") as file:
            head = file.read(_SNIFF_BYTES)
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceNotFound(f"{shown}: no such file; check the path") from None
    except OSError as error:
        raise SourceUnauthorized(f"{shown}: can't be read: {error.strerror}") from None
    if not head:
        raise NotAVideo(f"{shown}: the file is empty; was it copied to its end?")
    for magic, kind in _PICTURES.items():
        if head.startswith(magic):
            raise NotAVideo(f"{shown}: a {kind} picture, not a video; give a video file")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"#extm3u", b"ffconcat", b"v=0")):
        raise NotAVideo(f"{shown}: a page or a playlist, not a video; give the video itself")
