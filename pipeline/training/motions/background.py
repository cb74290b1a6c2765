"""What is behind the things: a photograph, real video, a picture that stirs, or next to nothing.

A background is a picture of the world around the frame; where it ends it is mirrored.
"""

from typing import Protocol

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.training.motions.stock import Footage, Image, Stock

CALMEST_OF = 4  # stretches of a real video, of which the one that moves least is taken
MOST_DETAILED_OF, DETAIL, THUMBNAIL_PX = 5, 8.0, 24


class Background(Protocol):
    """Where a frame's background comes from."""

    kind: str
    name: str

    def picture(self, frame: int, camera: NDArray[np.float64], large_px: int) -> Image:
        """[large_px, large_px, 3], writeable; ``camera`` takes the world to the frame."""
        ...


class Pictures:
    """One picture for all frames, or one for each; ``view`` takes the world to picture pixels."""

    def __init__(
        self, kind: str, name: str, pictures_FHWC: Image, view: NDArray[np.float64]
    ) -> None:
        self.kind, self.name = kind, name
        self._pictures_FHWC, self._view = pictures_FHWC, view

    def picture(self, frame: int, camera: NDArray[np.float64], large_px: int) -> Image:
        """See ``Background``."""
        source = self._pictures_FHWC[frame % len(self._pictures_FHWC)]
        to_world = np.linalg.inv(camera) @ np.diag((1 / large_px, 1 / large_px, 1))
        return _warped(source, self._view @ to_world, large_px)


class Stirring:
    """A picture whose parts sway like leaves, under passing shade."""

    kind = "stirring"

    def __init__(self, base: Pictures, rng: Generator, frames: int) -> None:
        self.name = base.name
        self._base = base
        grid = int(rng.integers(3, 7))
        self._sway = rng.normal(0, 1, (2, 2, grid, grid)).astype(np.float32)
        self._strength = rng.uniform(0.004, 0.025)
        self._turns = rng.uniform(0.4, 2.5) / frames
        self._shade = rng.normal(0, 1, (4, 4)).astype(np.float32)
        self._shade_by = rng.uniform(0, 0.3)
        self._drift = rng.normal(0, 0.12, 2)

    def picture(self, frame: int, camera: NDArray[np.float64], large_px: int) -> Image:
        """See ``Background``."""
        plain = self._base.picture(frame, camera, large_px)
        phase = 2 * np.pi * self._turns * frame
        field = self._sway[0] * np.float32(np.sin(phase)) + self._sway[1] * np.float32(
            np.cos(phase)
        )
        y, x = np.mgrid[0:large_px, 0:large_px].astype(np.float32)
        px = self._strength * large_px
        size = (large_px, large_px)
        dx, dy = (cv2.resize(part, size, interpolation=cv2.INTER_CUBIC) * px for part in field)
        swayed = cv2.remap(
            plain,
            (x + dx).astype(np.float32),
            (y + dy).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        shift = np.array([[large_px / 3, 0, 0], [0, large_px / 3, 0]], np.float64)
        shift[:, 2] = self._drift * frame * large_px - large_px / 2
        shade = cv2.warpAffine(
            self._shade, shift, (large_px, large_px), borderMode=cv2.BORDER_REFLECT_101
        )
        lit = swayed * (1 - self._shade_by * np.clip(shade, -1, 1))[..., None]
        return np.clip(lit, 0, 255).astype(np.uint8)


def background_for(
    kind: str, stock: Stock, frames: int, rng: Generator, *, must_show_motion: bool
) -> Background:
    """A random background of a kind; the stock must hold what it needs.

    Where the camera's own motion is the class, an even surface would hide it: then the first of a
    few that has some detail is taken, or the one that has most.
    """
    tried = [
        _random(kind, stock, frames, rng)
        for _ in range(MOST_DETAILED_OF if must_show_motion else 1)
    ]
    detail = [_detail(background) for background in tried]
    enough = next((n for n, found in enumerate(detail) if found >= DETAIL), int(np.argmax(detail)))
    return tried[enough]


def mean_colour(background: Background) -> NDArray[np.float64]:
    """Of the first frame, RGB."""
    return np.asarray(_thumbnail(background).mean(axis=(0, 1)), np.float64)


def _detail(background: Background) -> float:
    """Mean step between neighbouring pixels of a thumbnail, in steps of 255."""
    thumbnail = _thumbnail(background).astype(np.float64)
    return (
        float(np.abs(np.diff(thumbnail, axis=0)).mean() + np.abs(np.diff(thumbnail, axis=1)).mean())
        / 2
    )


def _thumbnail(background: Background) -> Image:
    return background.picture(0, np.eye(3), THUMBNAIL_PX)


def _random(kind: str, stock: Stock, frames: int, rng: Generator) -> Background:
    if kind == "video":
        return _video(stock.videos[rng.integers(len(stock.videos))], frames, rng)
    if kind == "plain":
        return _plain(rng)
    still = stock.stills[rng.integers(len(stock.stills))]
    picture = still.picture_HWC
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    base = Pictures("photograph", still.name, picture[None], _view(picture, rng, (0.3, 1.0)))
    return Stirring(base, rng, frames) if kind == "stirring" else base


def _view(picture: Image, rng: Generator, sides: tuple[float, float]) -> NDArray[np.float64]:
    """World to picture: the frame is a square of some share of the shorter side."""
    height, width = picture.shape[:2]
    side = rng.uniform(*sides) * min(height, width)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    return np.array([[side, 0, left], [0, side, top], [0, 0, 1]])


def _video(footage: Footage, frames: int, rng: Generator) -> Pictures:
    """The calmest of a few stretches: its own motion is not what the clip is about."""
    best: tuple[float, Image, NDArray[np.float64]] | None = None
    length = len(footage.frames_FHWC)
    for _ in range(CALMEST_OF):
        begin = int(rng.integers(max(1, length - frames)))
        stretch = footage.frames_FHWC[begin : begin + frames]
        view = _view(stretch[0], rng, (0.5, 1.0))
        side, left, top = int(view[0, 0]), int(view[0, 2]), int(view[1, 2])
        seen = stretch[:, top : top + side : 4, left : left + side : 4].astype(np.float32)
        stir = float(np.abs(np.diff(seen, axis=0)).mean()) if len(seen) > 1 else 0.0
        if best is None or stir < best[0]:
            best = (stir, stretch, view)
    assert best is not None
    _, stretch, view = best
    if rng.random() < 0.5:
        stretch = stretch[::-1]
    return Pictures("video", footage.name, stretch, view)


def _plain(rng: Generator) -> Pictures:
    """A colour, a gradient or a coarse texture."""
    cells = int(rng.choice((2, 8, 24)))
    coarse = rng.uniform(0, 255, 3) + rng.normal(0, rng.uniform(8, 60), (cells, cells, 3))
    clipped = np.clip(coarse, 0, 255).astype(np.uint8)
    picture = np.asarray(cv2.resize(clipped, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)
    return Pictures("plain", "", picture[None], _view(picture, rng, (0.5, 1.0)))


def _warped(source: Image, to_source: NDArray[np.float64], large_px: int) -> Image:
    """Sample a picture where ``to_source`` sends each pixel; shrunk first, so as not to alias."""
    shrink = float(np.hypot(to_source[0, 0], to_source[1, 0]))
    while shrink >= 2:
        half = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        source = np.asarray(half, np.uint8)
        to_source = np.diag((0.5, 0.5, 1.0)) @ to_source
        shrink /= 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (large_px, large_px)
    return np.asarray(
        cv2.warpAffine(source, to_source[:2], size, flags=flags, borderMode=cv2.BORDER_REFLECT_101),
        np.uint8,
    )
