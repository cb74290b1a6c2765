"""One example -> the chosen ones of its pictures, small, through the stages of ``pipeline``.

The pictures are counted by the header where it tells, else by packets; then they are decoded up
to the last one that is wanted, and only those wanted are scaled. Where the decoder gives fewer
than were counted, they are chosen anew among those that it gives. A file that holds less than its
header promises is refused: the action may be in what is missing.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.decode import PictureReader, Scaler
from pipeline.errors import NotAVideo, SourceError
from pipeline.settings import MAX_PIXELS, PictureSpec
from pipeline.source import Feed, FileSource
from pipeline.tally import Tally
from pipeline.training.data.examples import Example
from pipeline.training.data.pictures import picture_files, read_pictures
from pipeline.training.data.sampling import Indices

MAX_ASPECT = 2  # of a kept picture; a panorama loses its ends, so that one clip can't fill a cache
ENOUGH = Fraction(9, 10)  # of the pictures promised: headers round, and recorders drop a few
BELIEVED = 100_000  # pictures that a header may promise: an hour; more is counted, or damage

Choice = Callable[[int], Indices]
"""Number of pictures -> indices of those wanted, in any order, some perhaps twice."""


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
    indices = choose(len(span)) + span.start
    pictures = read_pictures([files[index] for index in np.unique(indices)], scaler)
    return _stacked(example, list(pictures))[_places(indices)]


def _from_video(example: Example, choose: Choice, scaler: Scaler) -> NDArray[np.uint8]:
    clip = _as_promised(example, choose, scaler)
    if clip is not None:
        return clip
    span = _video_span(example)
    while span:
        indices = choose(len(span)) + span.start
        with _open(example) as feed:
            pictures, came = _decoded(feed, indices, scaler)
        if came > indices.max():
            return _stacked(example, pictures)[_places(indices)]
        span = range(min(span.start, came), came)
    raise NotAVideo(f"{example.path}: not one picture in the span could be decoded")


def _as_promised(example: Example, choose: Choice, scaler: Scaler) -> NDArray[np.uint8] | None:
    """The clip, if the header tells how long it is and the file is seen to hold that much.

    Counting packets means to open the file twice, a third of the cost of a small clip.
    """
    with _open(example) as feed:
        promised = feed.promised_pictures
        if example.start_s is not None or example.end_s is not None or promised > BELIEVED:
            return None
        span = _frame_span(example, promised)
        if not span:
            return None
        indices = choose(len(span)) + span.start
        if indices.max() < promised * ENOUGH:
            return None
        pictures, came = _decoded(feed, indices, scaler)
    return _stacked(example, pictures)[_places(indices)] if came > indices.max() else None


def _decoded(feed: Feed, indices: Indices, scaler: Scaler) -> tuple[list[NDArray[np.uint8]], int]:
    """Each of those wanted once, and how many pictures came until the last of them."""
    found, came = [], 0
    wanted, last = set(indices.tolist()), int(indices.max())
    aspect = feed.stream.sample_aspect_ratio or Fraction(1)
    reader = PictureReader(feed, max_pixels=MAX_PIXELS, threads=1, tally=Tally())
    for index, (picture, _) in enumerate(reader.pictures()):
        came = index + 1
        if index in wanted:
            found.append(scaler.whole(picture.frame, pixel_aspect=aspect))
        if index == last:
            break
    return found, came


def _places(indices: Indices) -> Indices:
    """Of each index, its place among those that differ: 3 3 7 -> 0 0 1."""
    return np.unique(indices, return_inverse=True)[1]


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
