"""Folders of numbered pictures: 00001.jpg, 00002.jpg, …, as frames are extracted from videos."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from pipeline.decode import Scaler
from pipeline.errors import NotAVideo, PictureTooLarge, SourceError
from pipeline.settings import MAX_PIXELS

CODECS = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png"}
PICTURE_SUFFIXES = frozenset(CODECS)


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder, in the order of their numbers: 2.jpg before 10.jpg."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
    return sorted(found, key=lambda path: (_number(path), path.name))


def _number(path: Path) -> int:
    digits = "".join(c for c in path.stem if c in "0123456789")
    return int(digits[-18:] or 0)


def read_pictures(paths: Sequence[Path], scaler: Scaler) -> Iterator[NDArray[np.uint8]]:
    """Each picture, [H, W, 3] RGB, scaled.

    Raises:
        SourceError: a file can't be read, or is no picture.
    """
    for path in paths:
        yield _read(path, scaler)


def _read(path: Path, scaler: Scaler) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror}") from None
    decoder = av.CodecContext.create(CODECS[path.suffix.lower()], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
        if not frames:
            raise NotAVideo(f"{path}: holds no picture")
        if frames[0].width * frames[0].height > MAX_PIXELS:
            raise PictureTooLarge(f"{path}: has more than {MAX_PIXELS} pixels")
        return scaler.whole(frames[0], pixel_aspect=Fraction(1))
    except av.FFmpegError:
        raise NotAVideo(f"{path}: can't be decoded as a picture; is the file whole?") from None
