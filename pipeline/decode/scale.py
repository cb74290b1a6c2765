"""A decoded picture -> the two small pictures that are kept: never the full frame.

High is ``size_px`` square: the shorter side (as displayed) is scaled to ``short_side_px``, then
the centre is cut out. Low is the exact 2x2 mean of high, rounded half up. Scaling comes first, in
the video's own colours; bilinear, whose kernel grows when it shrinks, so nothing aliases. Colours
are converted last, and of the centre alone: FFmpeg takes longer for all of it, and longest at full
size. Rotation is turned upright after that. A region is cut out first, without a copy;
with ``fit="letterbox"``, what is shown is shrunk to fit into the square, and bars are black.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.cameras import Region
from pipeline.records import read_only
from pipeline.settings import PictureSpec

SHRINK = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
CONVERT = Interpolation.POINT | Interpolation.ACCURATE_RND
UNSPECIFIED = 2  # H.273: "image characteristics are unknown"
COLOURS = frozenset({0, 1, UNSPECIFIED, 4, 5, 6, 7, 9})  # H.273 matrices that swscale converts
RANGES = frozenset({0, 1, 2})
MAX_ASPECT = 16  # of a pixel; beyond is damage, and would ask for a picture of any size
MAX_SHAPE = 16  # of a picture as shown, one side over the other; beyond, its middle is taken
MIN_CUT_PX = 2  # of a side: chroma may be stored for every other pixel
BETWEEN = "yuv444p"  # chroma at full size, so that converting it needs no second scaling


class Box(NamedTuple):
    """A part of a picture, in pixels as stored."""

    left: int
    top: int
    width: int
    height: int


class Scaler:
    """Scales the pictures of one stream; keeps FFmpeg's scaling tables between them."""

    def __init__(self, spec: PictureSpec) -> None:
        self._spec = spec
        self._region_cutter, self._middle_cutter = _Cutter(), _Cutter()
        self._centre_cutter = _Cutter()
        self._shapes_of: tuple[int, ...] = ()
        """Width and height as stored, and the aspect of a pixel, for which these were computed."""
        self._shapes: tuple[Box, tuple[int, int]] = (Box(0, 0, 0, 0), (0, 0))
        self._shrinker = VideoReformatter()
        self._converter = VideoReformatter()

    def scale(self, frame: VideoFrame, *, pixel_aspect: Fraction) -> NDArray[np.uint8]:
        """[S, S, 3], RGB, read-only.

        ``pixel_aspect`` is the width of a pixel over its height.
        """
        size = self._spec.size_px
        small = self._shrunk(frame, pixel_aspect)
        top, left = (small.height - size) // 2, (small.width - size) // 2
        if self._spec.fit == "letterbox":
            square = np.zeros((size, size, 3), np.uint8)
            square[-top : small.height - top, -left : small.width - left] = self._rgb(small)
            high = _upright(square, frame)
        else:
            centre = Box(left=left, top=top, width=size, height=size)
            high = _upright(self._rgb(self._centre_cutter.cut(small, centre)), frame)
        return read_only(high)

    def whole(self, frame: VideoFrame, *, pixel_aspect: Fraction) -> NDArray[np.uint8]:
        """The picture before crop or bars: [H, W, 3], RGB.

        The smaller of H and W is short_side_px, or with letterboxing the larger one size_px.
        """
        return _upright(self._rgb(self._shrunk(frame, pixel_aspect)), frame)

    def _shrunk(self, frame: VideoFrame, pixel_aspect: Fraction) -> VideoFrame:
        """As stored, not turned, in the video's own colours."""
        if frame.colorspace not in COLOURS:  # a wrong tint is better than no picture
            frame.colorspace = UNSPECIFIED
        if frame.color_range not in RANGES:
            frame.color_range = 0
        if self._spec.region:
            frame = self._region_cutter.cut(frame, _box_of(self._spec.region, frame))
        stored = (frame.width, frame.height, *pixel_aspect.as_integer_ratio())
        if stored != self._shapes_of:
            self._shapes, self._shapes_of = self._new_shapes(frame, pixel_aspect), stored
        box, (width, height) = self._shapes
        return self._shrinker.reformat(
            self._middle_cutter.cut(frame, box),
            width=width,
            height=height,
            format=BETWEEN,
            interpolation=SHRINK,
            threads=1,
        )

    def _new_shapes(self, frame: VideoFrame, pixel_aspect: Fraction) -> tuple[Box, tuple[int, int]]:
        """What is taken of pictures like this one, and how large that is made."""
        spec, size = self._spec, (frame.width, frame.height)
        if spec.fit == "letterbox":
            return Box(0, 0, *size), fit_inside(*size, pixel_aspect=pixel_aspect, long=spec.size_px)
        # of a strip, all but the centre would be made large to be cut off
        box = middle(*size, pixel_aspect=pixel_aspect)
        short = fit(box.width, box.height, pixel_aspect=pixel_aspect, short=spec.short_side_px)
        return box, short

    def _rgb(self, small: VideoFrame) -> NDArray[np.uint8]:
        """[H, W, 3], in memory that the next call uses again."""
        height, width = small.height, small.width
        small = self._converter.reformat(small, format="rgb24", interpolation=CONVERT, threads=1)
        plane = small.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        return rows[:, : 3 * width].reshape(height, width, 3)


class _Cutter:
    """Cuts boxes out of pictures, by moving FFmpeg's pointers."""

    def __init__(self) -> None:
        self._made_for: tuple[object, ...] = ()
        self._graph = Graph()

    def cut(self, frame: VideoFrame, box: Box) -> VideoFrame:
        """A box of a picture, to the next whole pixels that its colours allow."""
        if box == (0, 0, frame.width, frame.height):
            return frame
        colours = (frame.format.name, frame.colorspace, frame.color_range)
        wanted = (frame.width, frame.height, colours, box)
        if wanted != self._made_for:
            self._graph, self._made_for = self._cutting(frame, box), wanted
        self._graph.push(frame)
        cut = self._graph.pull()
        assert isinstance(cut, VideoFrame)
        return cut

    def _cutting(self, frame: VideoFrame, box: Box) -> Graph:
        graph = Graph()
        graph.threads = 1  # there is nothing to compute
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        )
        cutter = graph.add("crop", f"{box.width}:{box.height}:{box.left}:{box.top}")
        graph.link_nodes(source, cutter, graph.add("buffersink"))
        graph.configure()
        return graph


def _box_of(region: Region, frame: VideoFrame) -> Box:
    region = as_stored(region, frame.rotation)
    width = max(MIN_CUT_PX, round(region.width * frame.width))
    height = max(MIN_CUT_PX, round(region.height * frame.height))
    return Box(
        left=min(int(region.x * frame.width), frame.width - width),
        top=min(int(region.y * frame.height), frame.height - height),
        width=width,
        height=height,
    )


def as_stored(region: Region, rotation: float) -> Region:
    """Where a region of the picture as shown lies in the picture before it is turned upright."""
    x, y, width, height = region.x, region.y, region.width, region.height
    for _ in range(round(rotation / 90) % 4):
        x, y, width, height = 1 - y - height, x, height, width
    return Region.model_construct(x=max(0.0, x), y=max(0.0, y), width=width, height=height)


def _upright(rows_HWC: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """A copy, turned as the file says."""
    turns = round(frame.rotation / 90) % 4
    return np.array(np.rot90(rows_HWC, k=turns) if turns else rows_HWC, order="C")


def middle(width: int, height: int, *, pixel_aspect: Fraction) -> Box:
    """The middle of a picture, all of it unless it is a strip."""
    aspect = _bounded(pixel_aspect)
    kept_width = min(width, max(MIN_CUT_PX, int(MAX_SHAPE * height / aspect)))
    kept_height = min(height, max(MIN_CUT_PX, int(MAX_SHAPE * width * aspect)))
    return Box((width - kept_width) // 2, (height - kept_height) // 2, kept_width, kept_height)


def _bounded(pixel_aspect: Fraction) -> Fraction:
    """What may be believed of a pixel's width over its height."""
    return pixel_aspect if 1 / MAX_ASPECT <= pixel_aspect <= MAX_ASPECT else Fraction(1)


def fit(width: int, height: int, *, pixel_aspect: Fraction, short: int) -> tuple[int, int]:
    """Width and height, with square pixels, whose smaller one is ``short``."""
    shown_width = width * _bounded(pixel_aspect)
    if shown_width < height:
        return short, max(short, round(short * height / shown_width))
    return max(short, round(short * shown_width / height)), short


def fit_inside(width: int, height: int, *, pixel_aspect: Fraction, long: int) -> tuple[int, int]:
    """Width and height, with square pixels, whose larger one is ``long``."""
    shown_width = width * _bounded(pixel_aspect)
    if shown_width < height:
        return max(1, round(long * shown_width / height)), long
    return long, max(1, round(long * height / shown_width))
