"""An opened source: the packets of its best video stream, and what its header promises.

Every error of FFmpeg becomes one of ours here, with a message of our own: FFmpeg's texts hold the
URL with its password. Time-outs are told by our own clock, because FFmpeg reports them as
invalid data. ``close`` matters: without it no RTSP TEARDOWN is sent and memory stays behind.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from fractions import Fraction
from typing import Self

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.errors import (
    NotAVideo,
    SourceError,
    SourceNotFound,
    SourceStalled,
    SourceTimeout,
    SourceUnauthorized,
    SourceUnreachable,
)
from pipeline.records import SourceKind

SOUND_OUTLASTS_S = 1  # some containers tell only when the longest of their streams ends


class Feed:
    """Packets of one video stream; a context manager."""

    def __init__(
        self,
        target: str,
        *,
        kind: SourceKind,
        shown: str,
        options: dict[str, str],
        open_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self.kind = kind
        self.stopped: Callable[[], bool] = lambda: False
        """Asked before each packet; True ends them."""
        self.shown = shown
        """The source as messages may name it."""
        self._read_timeout_s = read_timeout_s
        began_s = time.monotonic()
        try:
            self._container: InputContainer = av.open(
                target, options=options, timeout=(open_timeout_s, read_timeout_s)
            )
        except (av.FFmpegError, OSError, UnicodeError) as error:
            waited_s = time.monotonic() - began_s
            doubt = "host, port and path"
            if options.get("tls_verify") == "1":
                doubt += ", and whether tls_ca_file holds who signed its certificate"
            raise _translate(error, shown, kind, waited_s, open_timeout_s, doubt) from None
        video = self._container.streams.best("video")
        if not isinstance(video, VideoStream):
            sound = bool(self._container.streams.audio)
            self._container.close()
            what = "only sound; give a file with video" if sound else "no video; is the file whole?"
            if kind == "live":
                what = "no video; check the URL's path"
            raise NotAVideo(f"{shown}: holds {what}")
        if video.codec_context is None:  # whatever PyAV's types say
            self._container.close()
            raise NotAVideo(f"{shown}: there is no decoder for its codec; convert it to H.264")
        self.stream: VideoStream = video

    @property
    def promised_pictures(self) -> int:
        """Pictures that the header promises; 0 where it doesn't say."""
        return self.stream.frames if self.kind == "file" else 0

    @property
    def promised_end(self) -> Fraction | None:
        """Presentation time in seconds before which, by its header, the video doesn't end."""
        if self.kind == "live":
            return None
        stream, container = self.stream, self._container
        from_zero = "matroska" in container.format.name  # and its start_time is a bad guess
        if stream.duration is not None and stream.time_base is not None:
            start = 0 if from_zero else stream.start_time or 0
            return (stream.duration + start) * stream.time_base
        tagged = _tagged_end(stream.metadata.get("DURATION", "")) if from_zero else None
        if tagged or container.duration is None:
            return tagged
        start = 0 if from_zero else container.start_time or 0
        end = Fraction(container.duration + start, av.time_base)
        return end if len(container.streams) == 1 else end - SOUND_OUTLASTS_S

    @property
    def length_ns(self) -> int:
        """How long the header says it is; 0 where it doesn't say."""
        return 1000 * (self._container.duration or 0) if self.kind == "file" else 0

    @property
    def created_s(self) -> float | None:
        """Unix seconds at which the file says it was recorded."""
        text = self._container.metadata.get("creation_time")
        if self.kind == "live" or not text:
            return None
        with suppress(ValueError):
            stamp = datetime.fromisoformat(text.replace("Z", "+00:00"))
            if stamp.year > 1970 and stamp.tzinfo is not None:
                return stamp.timestamp()
        return None

    def rest_until(self, pts: int) -> None:
        """Packets before this timestamp may come late; a file's are read when they are wanted."""

    def packets(self) -> Iterator["Packet[VideoStream]"]:
        """Packets in decoding order; an empty one holds no picture.

        Raises:
            SourceStalled, SourceUnreachable: live only; a file's damage ends its packets.
        """
        demuxed = self._container.demux(self.stream)
        while not self.stopped():
            asked_s = time.monotonic()
            try:
                packet = next(demuxed)
            except StopIteration:
                return
            except IndexError:  # PyAV, at a packet of a stream that appeared after the opening
                demuxed = self._container.demux(self.stream)
                continue
            except (av.FFmpegError, OSError) as error:
                if self.kind == "file":
                    return
                if time.monotonic() - asked_s >= 0.9 * self._read_timeout_s:
                    raise SourceStalled(
                        f"{self.shown}: no picture for {self._read_timeout_s:g} s"
                    ) from None
                raise _translate(error, self.shown, self.kind, 0, self._read_timeout_s) from None
            yield packet

    def close(self) -> None:
        """Send TEARDOWN where there is a camera, and free everything."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tagged_end(tag: str) -> Fraction | None:
    """Matroska's tag, written per stream: 00:00:12.732000000 -> 12.732 s."""
    if not re.fullmatch(r"\d{1,4}:\d{2}:\d{2}(\.\d{1,9})?", tag):
        return None  # Fraction would work for hours on an exponent
    with suppress(ValueError, ZeroDivisionError):
        hours, minutes, seconds = map(Fraction, tag.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    return None


def _translate(
    error: Exception,
    shown: str,
    kind: SourceKind,
    waited_s: float,
    timeout_s: float,
    doubt: str = "host, port and path",
) -> SourceError:
    """Our error for FFmpeg's, whose text may hold a password and is left behind."""
    if kind == "live" and waited_s >= 0.9 * timeout_s:  # both time-outs look like invalid data
        return SourceTimeout(f"{shown}: no answer within {timeout_s:g} s; is the camera up?")
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return SourceUnauthorized(
            f"{shown}: the camera refuses the login; check username and password"
        )
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceNotFound(f"{shown}: the camera has no such path; check the URL's path")
    if isinstance(error, ConnectionError | av.error.ExitError):
        return SourceUnreachable(f"{shown}: the connection was refused or lost; is the camera up?")
    if isinstance(error, FileNotFoundError):
        return SourceNotFound(f"{shown}: no such file")
    if isinstance(error, PermissionError):
        return SourceUnauthorized(f"{shown}: not allowed to read it; check its permissions")
    if kind == "live":
        return SourceUnreachable(
            f"{shown}: can't be opened as RTSP ({type(error).__name__}); check {doubt}"
        )
    return NotAVideo(f"{shown}: no video can be found in it; is the file whole, and a video?")
