"""Videos made to order: every picture bears its number, so a test can ask which ones came through.

The number stands in the middle as a grid of 4x4 blocks that survive compression, scaling and the
centre crop. The upper row is white and the lower one black, so a picture that isn't upright is
told from one that is:

    1 1 1 1
    b b b b     bits 7 … 4
    b b b b     bits 3 … 0
    0 0 0 0
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

NUMBERS = 256
SHARE = Fraction(3, 4)  # of the shorter side: the centre crop keeps all of it
QUICK = {"preset": "ultrafast", "crf": "18"}
STEADY = QUICK | {"x264-params": "bframes=0:scenecut=0", "g": "10"}
SMALL = (160, 120)


def drawn(
    number: int, size: tuple[int, int] = SMALL, *, widen: Fraction = Fraction(1)
) -> NDArray[np.uint8]:
    """RGB of a picture that shows ``number``; ``widen`` undoes pixels that aren't square."""
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    side = int(min(width / float(widen), height) * float(SHARE)) // 4
    tall, wide = side, int(side * widen)
    bits = [number >> bit & 1 for bit in range(7, -1, -1)]
    cells = np.array([[1] * 4, bits[:4], bits[4:], [0] * 4], np.uint8)
    code = np.kron(cells, np.ones((tall, wide), np.uint8)) * 200 + 28
    top, left = (height - 4 * tall) // 2, (width - 4 * wide) // 2
    picture[top : top + 4 * tall, left : left + 4 * wide] = code[:, :, None]
    return picture


def read_number(high_HWC: NDArray[np.uint8]) -> int:
    """The number in a sampled picture; an AssertionError if it isn't upright or isn't legible."""
    height, width, _ = high_HWC.shape
    assert height == width
    block = height * float(SHARE) / 4
    centres = [round(height / 2 + block * (place - 1.5)) for place in range(4)]
    reach = max(1, int(block / 5))
    bits = []
    for y in centres:
        for x in centres:
            patch = high_HWC[y - reach : y + reach + 1, x - reach : x + reach + 1]
            level = float(patch.mean())
            assert not 105 < level < 150, f"neither black nor white: {level}"
            bits.append(level >= 128)
    assert bits[:4] == [True] * 4 and bits[12:] == [False] * 4, "not upright"
    return sum(bit << 7 - place for place, bit in enumerate(bits[4:12]))


def write_clip(
    path: Path,
    *,
    pictures: Iterable[NDArray[np.uint8]] | None = None,
    count: int = 50,
    first: int = 0,
    fps: Fraction | int = 25,
    pts_ms: Sequence[int] | None = None,
    size: tuple[int, int] = SMALL,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] = STEADY,
    container: str | None = None,
    muxing: dict[str, str] | None = None,
    pixel_aspect: Fraction = Fraction(1),
    retime: "Callable[[int, Packet[VideoStream]], None] | None" = None,
) -> Path:
    """A clip of numbered pictures, at ``fps`` or at times of their own.

    ``retime`` may change each packet before it is written: its place in the file is given along.
    """
    if pictures is None:
        pictures = (
            drawn((first + index) % NUMBERS, size, widen=1 / pixel_aspect) for index in range(count)
        )
    with av.open(str(path), "w", format=container, options=muxing or {}) as output:
        stream = output.add_stream(codec, rate=Fraction(fps))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.options = dict(options)
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if pts_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for place, packet in enumerate(_encoded(stream, pictures, pts_ms, pix_fmt)):
            if retime:
                retime(place, packet)
            output.mux(packet)
    return path


def _encoded(
    stream: VideoStream,
    pictures: Iterable[NDArray[np.uint8]],
    pts_ms: Sequence[int] | None,
    pix_fmt: str,
) -> "Iterable[Packet[VideoStream]]":
    for index, rgb in enumerate(pictures):
        frame = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
        if pts_ms is not None:
            if index == len(pts_ms):
                break
            frame.pts, frame.time_base = pts_ms[index], Fraction(1, 1000)
        yield from stream.encode(frame)
    yield from stream.encode()


def write_sound(path: Path, *, muxing: dict[str, str] | None = None) -> Path:
    """A file with a second of silence and no picture."""
    with av.open(str(path), "w", options=muxing or {}) as output:
        stream = output.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), "fltp", "stereo")
        frame.sample_rate = 44100
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def write_turned(path: Path, clockwise: int, *, size: tuple[int, int] = SMALL) -> Path:
    """A clip as phones write it: the sensor's pictures, and "turn clockwise to show" in a header.

    ``size`` is that of the upright pictures.
    """
    stored = (size[1], size[0]) if clockwise % 180 else size
    pictures = (np.rot90(drawn(number, size), clockwise // 90) for number in range(50))
    write_clip(path, pictures=map(np.ascontiguousarray, pictures), size=stored)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix is after 40 bytes of other fields
    one = 1 << 16
    a, b, c, d = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[clockwise]
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Files glued together, as recorders do with MPEG-TS."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut(path: Path, source: Path, share: float) -> Path:
    """The beginning of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def scratched(path: Path, source: Path, *, seed: int, hits: int = 12, span: int = 40) -> Path:
    """A file whose middle half was overwritten with noise in some places."""
    data = bytearray(source.read_bytes())
    chance = np.random.default_rng(seed)
    for at in chance.integers(len(data) // 4, 3 * len(data) // 4, hits):
        noise = chance.bytes(span)
        data[at : at + span] = noise[: len(data) - at]
    path.write_bytes(data)
    return path
