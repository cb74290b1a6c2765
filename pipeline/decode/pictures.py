"""Packets -> decoded pictures with presentation times, whatever the packets are like.

Damage doesn't end a stream: a packet that the decoder refuses is counted, and the pictures that
may build on what is missing are flagged, up to the next whole key frame. The limit on size is
enforced twice: by us, before the first packet is decoded, and by the decoder at every change of
size, before it finds room for the larger picture. (FFmpeg's ``max_pixels`` is heeded as an option
of the decoder; given to ``av.open`` it is ignored without a word.) A size over the limit may be a
damaged header: it is final only if no picture within the limit comes after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.decode.timeline import Timeline
from pipeline.errors import NotAVideo, PictureTooLarge
from pipeline.records import SourceKind
from pipeline.tally import Tally

ALIGNMENT_PX = 2 * 64 * 16_384  # what a decoder may add to a picture for its own convenience
MAX_REFUSED = 300  # packets: beyond the usual distance of key frames, a size is no damaged header


class PacketFeed(Protocol):
    """What decode needs of an opened source."""

    @property
    def kind(self) -> SourceKind: ...  # noqa: D102

    @property
    def shown(self) -> str: ...  # noqa: D102

    @property
    def stream(self) -> VideoStream: ...  # noqa: D102

    @property
    def promised_pictures(self) -> int: ...  # noqa: D102

    @property
    def promised_end(self) -> Fraction | None: ...  # noqa: D102

    @property
    def created_s(self) -> float | None: ...  # noqa: D102

    def rest_until(self, pts: int) -> None: ...  # noqa: D102

    def packets(self) -> Iterator["Packet[VideoStream]"]: ...  # noqa: D102


@dataclass(slots=True)
class Picture:
    """One decoded picture, still in FFmpeg's hands."""

    frame: VideoFrame
    corrupt: bool
    packet: "Packet[VideoStream] | None"
    """With which it came out: with B-frames, another one went in with it."""

    @property
    def camera_offset_s(self) -> float | None:
        """Unix seconds, by the camera's clock, less presentation seconds.

        From the reference time that FFmpeg derives of RTCP sender reports: int64 microseconds.
        """
        packet = self.packet
        if packet is None or packet.pts is None:
            return None
        for data in packet.iter_sidedata():
            if data.data_type == "prft":
                unix_us = int.from_bytes(bytes(data)[:8], "little", signed=True)
                return unix_us / 1e6 - float(packet.pts * packet.time_base)
        return None


class PictureReader:
    """Decodes one feed."""

    def __init__(self, feed: PacketFeed, *, max_pixels: int, threads: int, tally: Tally) -> None:
        self._feed = feed
        self._max_pixels = max_pixels
        self._tally = tally
        context = feed.stream.codec_context
        context.thread_type = "SLICE"  # frame threads lose pictures of damaged files silently
        context.thread_count = threads
        context.options = {"max_pixels": str(max_pixels + ALIGNMENT_PX)}
        self._timeline: Timeline[Picture] = Timeline(
            feed.stream.time_base or Fraction(1, 90_000),
            nominal_fps=feed.stream.average_rate or feed.stream.guessed_rate,
        )
        self._damaged = False
        self._size = (0, 0)
        """As last told by the decoder."""
        self._refused = 0
        """Packets since the size went over the limit."""

    @property
    def tick_ns(self) -> int:
        """One tick of the stream's time base."""
        return self._timeline.tick_ns

    @property
    def end_ns(self) -> int:
        """Presentation time at which the last picture so far ends."""
        return self._timeline.end_ns

    def rest_until(self, time_ns: int) -> None:
        """No picture before this presentation time is wanted soon."""
        self._feed.rest_until(self._timeline.raw_pts(time_ns))

    def pictures(self) -> Iterator[tuple[Picture, int]]:
        """Pictures in presentation order, each with its time in nanoseconds.

        Raises:
            PictureTooLarge: a size over the limit, at the start or later, after the pictures that
                came before it.
            NotAVideo: there is no decoder for this codec.
        """
        context = self._feed.stream.codec_context
        self._size = (context.width, context.height)
        if self._over_limit():
            raise self._too_large()
        for packet in self._packets():
            for frame in self._decoded(packet):
                self._size = (frame.width, frame.height)
                if self._over_limit():
                    self._refused += 1
                    self._tally.pictures += 1
                    self._tally.dropped["too large"] += 1
                    continue
                self._refused = 0
                picture = Picture(frame, self._damage(frame), packet)
                yield from self._timeline.push(picture, pts=frame.pts, duration=frame.duration)
        yield from self._timeline.flush()
        self._tally.untimed += self._timeline.untimed
        if self._refused:
            raise self._too_large()

    def _packets(self) -> Iterator["Packet[VideoStream] | None"]:
        """What is to be decoded, and None to get the last pictures out.

        A camera is joined in mid-stream: what comes before a key frame can't be decoded. An empty
        packet (a dropped picture, in AVI) would end the decoder's work.
        """
        waiting = self._feed.kind == "live"
        for packet in self._feed.packets():
            if not packet.size:
                continue
            if waiting and not packet.is_keyframe:
                self._tally.packets_dropped["no key frame yet"] += 1
                continue
            waiting = False
            yield packet
            if self._refused > MAX_REFUSED:
                break
        yield None

    def _decoded(self, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
        context = self._feed.stream.codec_context
        try:
            return context.decode(packet)
        except av.error.DecoderNotFoundError:
            raise NotAVideo(
                f"{self._feed.shown}: there is no decoder for {context.name}; convert it to H.264"
            ) from None
        except (av.FFmpegError, ValueError):
            self._tally.damaged_packets += 1
            self._damaged = True
            forgotten = any(self._size) and not context.width  # some do, over the limit
            self._size = (context.width, context.height)
            self._refused += forgotten or self._refused > 0 or self._over_limit()
            return []

    def _damage(self, frame: VideoFrame) -> bool:
        """Is there damage in this picture, or since the last key frame in one it may build on?"""
        damaged = self._damaged or frame.is_corrupt
        self._damaged = frame.is_corrupt or (damaged and not frame.key_frame)
        return damaged

    def _over_limit(self) -> bool:
        width, height = self._size
        return width * height > self._max_pixels

    def _too_large(self) -> PictureTooLarge:
        width, height = self._size
        size = f"{width}x{height}" if width else "too many"
        return PictureTooLarge(
            f"{self._feed.shown}: its pictures have {size} pixels, over the limit of "
            f"{self._max_pixels}; raise sampling.max_pixels (--max-pixels) to allow them"
        )
