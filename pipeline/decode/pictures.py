"""Packets -> decoded pictures with presentation times, whatever the packets are like.

Damage doesn't end a stream: a packet that the decoder refuses is counted, and the next picture is
flagged. The limit on size is enforced here, before the first packet is decoded and at every change
of size, because FFmpeg's own ``max_pixels`` has no effect on H.264.
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

    def packets(self) -> Iterator["Packet[VideoStream]"]: ...  # noqa: D102


@dataclass(slots=True)
class Picture:
    """One decoded picture, still in FFmpeg's hands."""

    frame: VideoFrame
    corrupt: bool
    camera_clock_us: int | None
    """Unix microseconds, by the camera's clock, at which it was taken; from RTCP."""


class PictureReader:
    """Decodes one feed."""

    def __init__(self, feed: PacketFeed, *, max_pixels: int, threads: int, tally: Tally) -> None:
        self._feed = feed
        self._max_pixels = max_pixels
        self._tally = tally
        context = feed.stream.codec_context
        context.thread_type = "SLICE"  # frame threads lose pictures of damaged files silently
        context.thread_count = threads
        self._nominal_fps = feed.stream.average_rate or feed.stream.guessed_rate
        self._size = (0, 0)
        self._damaged = False

    def pictures(self) -> Iterator[tuple[Picture, int]]:
        """Pictures in presentation order, each with its time in nanoseconds.

        Raises:
            PictureTooLarge: a size over the limit, at the start or later.
            NotAVideo: there is no decoder for this codec.
        """
        context = self._feed.stream.codec_context
        self._check_size(context.width, context.height)
        timeline: Timeline[Picture] = Timeline(
            self._feed.stream.time_base or Fraction(1, 90_000), nominal_fps=self._nominal_fps
        )
        self.tick_ns = timeline.tick_ns
        for packet in self._packets():
            for frame in self._decoded(packet):
                self._check_size(frame.width, frame.height)
                picture = Picture(frame, self._damage(frame), _camera_clock_us(packet))
                yield from timeline.push(picture, pts=frame.pts, duration=frame.duration)
        yield from timeline.flush()
        self._tally.untimed += timeline.untimed

    def _packets(self) -> Iterator["Packet[VideoStream]"]:
        """A camera is joined in mid-stream: what comes before a key frame can't be decoded."""
        waiting = self._feed.kind == "live"
        for packet in self._feed.packets():
            if waiting and packet.size and not packet.is_keyframe:
                continue
            waiting = False
            yield packet

    def _decoded(self, packet: "Packet[VideoStream]") -> list[VideoFrame]:
        try:
            return self._feed.stream.codec_context.decode(packet if packet.size else None)
        except av.error.DecoderNotFoundError:
            name = self._feed.stream.codec_context.name
            raise NotAVideo(f"{self._feed.shown}: there is no decoder for {name}") from None
        except av.error.EOFError:
            return []  # a second flush
        except (av.FFmpegError, ValueError):
            self._tally.damaged_packets += 1
            self._damaged = True
            return []

    def _damage(self, frame: VideoFrame) -> bool:
        damaged, self._damaged = self._damaged or frame.is_corrupt, False
        return damaged

    def _check_size(self, width: int, height: int) -> None:
        if (width, height) == self._size:
            return
        if width * height > self._max_pixels:
            raise PictureTooLarge(
                f"{self._feed.shown}: its pictures have {width}x{height} pixels, over the limit "
                f"of {self._max_pixels}; raise sampling.max_pixels (--max-pixels) to allow them"
            )
        self._size = (width, height)


def _camera_clock_us(packet: "Packet[VideoStream]") -> int | None:
    """Producer reference time that FFmpeg derives from RTCP sender reports: int64 microseconds."""
    if not packet.has_sidedata("prft"):
        return None
    for data in packet.iter_sidedata():
        if data.data_type == "prft":
            return int.from_bytes(bytes(data)[:8], "little", signed=True)
    return None
