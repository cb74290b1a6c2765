"""A small data set of real videos: a bright square that moves left, right, up or down."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIDE_PX, FRAMES = 72, 8
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SPLITS = {"train": 8, "validation": 3}


def moving_square(direction: str, chance: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Pictures of a square on a dark ground that goes a step per picture."""
    right, down = DIRECTIONS[direction]
    x, y = (26 - 4 * step * (FRAMES - 1) // 2 for step in (right, down))
    x, y = x + int(chance.integers(-8, 9)), y + int(chance.integers(-8, 9))
    colour = chance.integers(128, 256, 3)
    pictures = []
    for n in range(FRAMES):
        picture = chance.integers(0, 40, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        left, top = x + 4 * right * n, y + 4 * down * n
        picture[max(0, top) : top + 20, max(0, left) : left + 20] = colour
        pictures.append(picture)
    return pictures


def write_video(path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    """An H.264 file, 8 pictures a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(8))
        stream.width = stream.height = SIDE_PX
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make_squares(root: Path) -> Path:
    """``ROOT/SPLIT/DIRECTION/N.mp4``."""
    chance = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for direction in DIRECTIONS:
            folder = root / split / direction
            folder.mkdir(parents=True)
            for n in range(count):
                write_video(folder / f"{n}.mp4", moving_square(direction, chance))
    return root
