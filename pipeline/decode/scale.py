"""A decoded picture -> the two small pictures that are kept: never the full frame.

High is ``size_px`` square: the shorter side (as displayed) is scaled to ``short_side_px``, then
the centre is cut out. Low is the exact 2x2 mean of high, rounded half up. Scaling comes before
the colour conversion, in one pass; bilinear, whose kernel grows when it shrinks, so nothing
aliases. Rotation is turned upright after the cut, when there is little left to turn.
"""

from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.config import PictureSpec
from pipeline.records import read_only

QUALITY = Interpolation.BILINEAR | Interpolation.ACCURATE_RND


class Scaler:
    """Scales the pictures of one stream; keeps FFmpeg's scaling tables between them."""

    def __init__(self, spec: PictureSpec) -> None:
        self._spec = spec
        self._reformatter = VideoReformatter()

    def scale(
        self, frame: VideoFrame, *, pixel_aspect: Fraction
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """High [S, S, 3] and low [S/2, S/2, 3], RGB, read-only.

        ``pixel_aspect`` is the width of a pixel over its height.
        """
        size = self._spec.size_px
        width, height = fit(
            frame.width, frame.height, pixel_aspect=pixel_aspect, short=self._spec.short_side_px
        )
        small = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=QUALITY, threads=1
        )
        plane = small.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        top, left = (height - size) // 2, (width - size) // 2
        high = rows[top : top + size, 3 * left : 3 * (left + size)].reshape(size, size, 3)
        high = np.rot90(high, k=round(frame.rotation / 90) % 4)
        high = np.array(high, order="C")  # a copy: the plane's memory is reused
        return read_only(high), read_only(halve(high))


def fit(width: int, height: int, *, pixel_aspect: Fraction, short: int) -> tuple[int, int]:
    """Width and height, with square pixels, whose smaller one is ``short``."""
    shown_width = width * pixel_aspect
    if shown_width < height:
        return short, max(short, round(short * height / shown_width))
    return max(short, round(short * shown_width / height)), short


def halve(high_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2x2 block, rounded half up; height and width must be even."""
    height, width, channels = high_HWC.shape
    blocks = high_HWC.reshape(height // 2, 2, width // 2, 2, channels)
    total = blocks[:, 0, :, 0].astype(np.uint16)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        total += blocks[:, row, :, column]
    return ((total + 2) >> 2).astype(np.uint8)
