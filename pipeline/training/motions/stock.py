"""The pictures that clips are made of: cut-outs, photographs, real video; RGB, small, in memory.

Splits never share a file: files are dealt out by name, so that the same folder always gives the
same pictures to training and to test.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

Image = NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VIDEO_SUFFIXES = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".ogv")
THING_PX = 256  # longer side of the largest copy of a cut-out
SMALLEST_PX = 12
STILL_PX = 360  # shorter side of a photograph
VIDEO_PX = 240
VIDEO_FRAMES = 400  # of one video, at most: 60 MB
FILLED = 0.33  # least share of its box that a thing covers
TURN_SHOWS = 0.18  # least difference between a thing and itself turned by a right angle


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A cut-out, trimmed: RGB times alpha and alpha, at sizes halved down to a few pixels."""

    name: str
    sizes_HWC: tuple[Image, ...]
    shows_turning: bool
    colour: NDArray[np.float64]
    """Mean RGB where it isn't transparent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """Frames of a real video, [F, H, W, 3], ``fps`` per second."""

    name: str
    frames_FHWC: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """A photograph."""

    name: str
    picture_HWC: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class StockFiles:
    """Which files a split may use."""

    things: tuple[Path, ...]
    stills: tuple[Path, ...]
    videos: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """The pictures of one split."""

    things: tuple[Thing, ...]
    stills: tuple[Still, ...]
    videos: tuple[Footage, ...]


def find_pictures(folder: Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    """Files below a folder, sorted by their path in it.

    Raises:
        DataError: no folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; it should hold {what}, of which make pictures brings some"
        )
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    if not found:
        raise DataError(f"{folder}: holds no {what} ({', '.join(suffixes)})")
    return found


def deal(paths: Sequence[Path], shares: Mapping[str, float]) -> dict[str, tuple[Path, ...]]:
    """Deal files out to splits in proportion; each gets one at least where there are enough.

    The order is that of a hash of the name: it neither follows the alphabet, where neighbours are
    alike, nor depends on where the folder lies.
    """
    order = sorted(paths, key=lambda path: sha256(path.name.encode()).digest())
    total, begin, given = sum(shares.values()), 0, {}
    passed = 0.0
    for place, (split, share) in enumerate(shares.items(), start=1):
        passed += share
        end = max(begin + 1, round(len(order) * passed / total))
        end = min(end, len(order) - (len(shares) - place)) if len(order) >= len(shares) else end
        given[split] = tuple(order[begin:end])
        begin = end
    return given


def read_stock(files: StockFiles, fps: float) -> Stock:
    """Read everything into memory.

    Raises:
        DataError: a file can't be read, or nothing usable is left.
    """
    things = tuple(thing for path in files.things if (thing := _thing(path)) is not None)
    if not any(thing.shows_turning for thing in things):
        raise DataError(
            f"of {len(files.things)} cut-outs none has transparency around a thing that shows when "
            "it turns; give more pictures with an alpha channel"
        )
    return Stock(
        things=things,
        stills=tuple(Still(name=path.name, picture_HWC=_still(path)) for path in files.stills),
        videos=tuple(
            Footage(name=path.name, frames_FHWC=_footage(path, fps)) for path in files.videos
        ),
    )


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise DataError(f"{path}: not a picture that can be read")
    if picture.dtype == np.uint16:
        picture = (picture // 257).astype(np.uint8)
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    return np.asarray(picture, np.uint8)


def _thing(path: Path) -> Thing | None:
    """None for a picture without transparency, or with little in it, such as a thin twig."""
    bgra = _read(path)
    if bgra.shape[2] != 4:
        return None
    rows, columns = np.nonzero(bgra[..., 3] > 127)
    if len(rows) < SMALLEST_PX**2:
        return None
    bgra = bgra[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    if bgra[..., 3].mean() > 250:  # a photograph in a frame, not a cut-out
        return None
    rgba = np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA), np.uint8)
    rgba[..., :3] = rgba[..., :3] * (rgba[..., 3:] / 255)
    shrink = min(1.0, THING_PX / max(rgba.shape[:2]))
    sizes = [_resized(rgba, shrink)]
    while max(sizes[-1].shape[:2]) >= 2 * SMALLEST_PX:
        sizes.append(_resized(sizes[-1], 0.5))
    share = sizes[0].mean(axis=(0, 1), dtype=np.float64) / 255
    if share[3] < FILLED:
        return None
    return Thing(
        name=path.name,
        sizes_HWC=tuple(sizes),
        shows_turning=_shows_turning(sizes[0]),
        colour=255 * share[:3] / share[3],
    )


def _shows_turning(rgba_HWC: Image) -> bool:
    """Whether a quarter turn changes it: a ball of one colour doesn't show that it turns."""
    side = max(rgba_HWC.shape[:2])
    square = np.zeros((side, side, 4), np.float32)
    y, x = (side - rgba_HWC.shape[0]) // 2, (side - rgba_HWC.shape[1]) // 2
    square[y : y + rgba_HWC.shape[0], x : x + rgba_HWC.shape[1]] = rgba_HWC
    square = cv2.resize(square, (32, 32), interpolation=cv2.INTER_AREA)
    either = np.maximum(square[..., 3], np.rot90(square)[..., 3]).sum() / 255
    change = np.abs(square - np.rot90(square)).max(axis=2).sum() / 255
    return bool(change / either > TURN_SHOWS)


def _still(path: Path) -> Image:
    bgr = _read(path)[..., :3]
    shrink = min(1.0, STILL_PX / min(bgr.shape[:2]))
    return np.ascontiguousarray(_resized(bgr, shrink)[..., ::-1])


def _footage(path: Path, fps: float) -> Image:
    frames = []
    try:
        with av.open(str(path)) as container:
            for frame in _on_grid(container, fps):
                rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                frames.append(_resized(rgb, min(1.0, VIDEO_PX / min(rgb.shape[:2]))))
                if len(frames) == VIDEO_FRAMES:
                    break
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path}: not a video that can be read: {error.strerror}") from None
    if not frames:
        raise DataError(f"{path}: holds no video")
    return np.stack(frames)


def _on_grid(container: av.container.InputContainer, fps: float) -> Iterator[av.VideoFrame]:
    """The first frame at or after each multiple of 1 / fps."""
    due_s = float("-inf")
    for frame in container.decode(video=0):
        if frame.pts is not None and frame.time >= due_s:
            due_s = max(due_s, frame.time) + 1 / fps
            yield frame


def _resized(picture: Image, factor: float) -> Image:
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    if (height, width) == picture.shape[:2]:
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
