"""One example -> the chosen ones of its pictures, small, through the stages of ``pipeline``.

The packets are counted first, which takes a twentieth of decoding them; then the pictures are
decoded up to the last one that is wanted, and only those wanted are scaled. Where the decoder
gives fewer pictures than there were packets, they are chosen anew among those that it gives.
A file that holds less than its header promises is refused: the action may be in what is missing.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.config import MAX_PIXELS, PictureSpec
from pipeline.decode import PictureReader, Scaler
from pipeline.errors import NotAVideo, SourceError
from pipeline.source import Feed, FileSource
from pipeline.tally import Tally
from pipeline.training.data.examples import Example
from pipeline.training.data.pictures import picture_files, read_pictures
from pipeline.training.data.sampling import Indices

MAX_ASPECT = 2  # of a kept picture; a panorama loses its ends, so that one clip can't fill a cache
ENOUGH = Fraction(9, 10)  # of the pictures promised: headers round, and recorders drop a few

Choice = Callable[[int], Indices]
"""Number of pictures -> indices of those wanted, never decreasing."""


def read_clip(example: Example, choose: Choice, *, short_side_px: int) -> NDArray[np.uint8]:
    """The pictures that ``choose`` names, [F, H, W, 3] RGB, shorter side ``short_side_px``.

    Raises:
        SourceError: it can't be opened, is cut short, or holds no picture.
    """
    scaler = Scaler(PictureSpec(size_px=short_side_px, short_side_px=short_side_px))
    try:
        if example.path.is_dir():
            return _from_folder(example, choose, scaler)
        return _from_video(example, choose, scaler)
    except av.FFmpegError as error:
        raise NotAVideo(f"{example.path}: can't be decoded ({type(error).__name__})") from None
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{example.path}: can't be read: {error.strerror}") from None


def _from_folder(example: Example, choose: Choice, scaler: Scaler) -> NDArray[np.uint8]:
    files = picture_files(example.path)
    span = _frame_span(example, len(files))
    if not span:
        raise NotAVideo(f"{example.path}: holds {len(files)} pictures, none of them in the span")
    wanted, places = np.unique(choose(len(span)) + span.start, return_inverse=True)
    pictures = read_pictures([files[index] for index in wanted], scaler)
    return _stacked(example, list(pictures))[places]


def _from_video(example: Example, choose: Choice, scaler: Scaler) -> NDArray[np.uint8]:
    span = _video_span(example)
    while span:
        indices = choose(len(span)) + span.start
        wanted, places = np.unique(indices, return_inverse=True)
        pictures, came = _decoded(example, set(wanted.tolist()), int(wanted[-1]), scaler)
        if len(pictures) == len(wanted):
            return _stacked(example, pictures)[places]
        span = range(min(span.start, came), came)
    raise NotAVideo(f"{example.path}: not one picture in the span could be decoded")


def _decoded(
    example: Example, wanted: set[int], last: int, scaler: Scaler
) -> tuple[list[NDArray[np.uint8]], int]:
    """Those wanted, and how many came until the last of them."""
    found, came = [], 0
    with _open(example) as feed:
        aspect = feed.stream.sample_aspect_ratio or Fraction(1)
        reader = PictureReader(feed, max_pixels=MAX_PIXELS, threads=1, tally=Tally())
        for index, (picture, _) in enumerate(reader.pictures()):
            came = index + 1
            if index in wanted:
                found.append(scaler.whole(picture.frame, pixel_aspect=aspect))
            if index == last:
                break
    return found, came


def _video_span(example: Example) -> range:
    """Indices of the pictures that belong to the example, by its packets.

    Raises:
        NotAVideo: the file is cut short, or a span is wanted of a video without times.
    """
    with _open(example) as feed:
        packets = list(_packets(feed))
        promised = feed.promised_pictures
        tick = feed.stream.time_base or Fraction(1, 90_000)
    if len(packets) < promised * ENOUGH:
        raise NotAVideo(
            f"{example.path}: cut short: its header promises {promised} pictures, "
            f"{len(packets)} are there"
        )
    if example.start_s is None and example.end_s is None:
        return _frame_span(example, len(packets))
    times = sorted(float(pts * tick) for pts in packets if pts is not None)
    if len(times) < len(packets):
        raise NotAVideo(f"{example.path}: has no timestamps, and a span of it is wanted")
    return _time_span(example, times)


def _packets(feed: Feed) -> Iterator[int | None]:
    """Times of the packets that hold a picture which is shown."""
    for packet in feed.packets():
        if packet.size and not packet.is_discard:
            yield packet.pts


def _time_span(example: Example, times_s: list[float]) -> range:
    start_s, end_s = (
        None if at_s is None else at_s + times_s[0] for at_s in (example.start_s, example.end_s)
    )
    start = 0 if start_s is None else bisect_left(times_s, start_s)
    end = len(times_s) if end_s is None else bisect_left(times_s, end_s)
    return range(start, max(start, end))


def _frame_span(example: Example, count: int) -> range:
    start = min((example.first_frame or 1) - 1, count)
    end = count if example.last_frame is None else min(example.last_frame, count)
    return range(start, max(start, end))


def _open(example: Example) -> Feed:
    return FileSource(path=example.path, stream_id=example.key).open()


def _stacked(example: Example, pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height, width, _ = pictures[0].shape
    if any(picture.shape != pictures[0].shape for picture in pictures):
        raise NotAVideo(f"{example.path}: its pictures change their size; cut it there")
    short = min(height, width)
    tall, wide = min(height, MAX_ASPECT * short), min(width, MAX_ASPECT * short)
    top, left = (height - tall) // 2, (width - wide) // 2
    return np.stack([p[top : top + tall, left : left + wide] for p in pictures])
