"""The decode stage: pictures on the sampling grid, small, with sessions marked off."""

import time
import uuid
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.decode.grid import Grid
from pipeline.decode.pictures import PacketFeed, Picture, PictureReader
from pipeline.decode.scale import Scaler
from pipeline.decode.wall import WallClock
from pipeline.errors import NotAVideo
from pipeline.records import NS, Clock, EndReason, Sample, Session, SessionEnd, TimeOfDay
from pipeline.settings import GridSpec, PictureSpec
from pipeline.tally import Tally

SQUARE = Fraction(1)
LEAD_NS = NS // 20  # one picture, mostly
HEADER_SLACK_S = Fraction(1, 4)  # headers round, and the last picture's duration may be a guess


def random_session_id() -> str:
    """A new live session's name."""
    return uuid.uuid4().hex[:16]


class Decoder:
    """Turns one feed into samples and session ends."""

    def __init__(
        self,
        feed: PacketFeed,
        *,
        stream_id: str,
        session_id: str | None,
        grid: GridSpec,
        picture: PictureSpec,
        hop: int,
        tally: Tally,
        threads: int = 1,
        origin_ns: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``session_id`` is a file's; a camera's sessions each get a random one."""
        self._feed = feed
        self._stream_id = stream_id
        self._session_id = session_id
        self._grid_spec = grid
        self._discard = grid.corrupt == "discard"
        self._hop = hop
        self._origin_ns = origin_ns
        self._tally = tally
        self._now = now
        self._live_clock: TimeOfDay | None = None
        self._wall = WallClock()
        self._file_clock = TimeOfDay(clock=Clock.CONTAINER, offset_s=None)
        self._scaler = Scaler(picture)
        self._grid: Grid | None = None
        self._reader = PictureReader(
            feed, max_pixels=picture.max_pixels, threads=threads, tally=tally
        )

    def samples(self) -> Iterator[Sample | SessionEnd]:
        """Samples in order; after the last one of each session, its end.

        Raises:
            NotAVideo: a file in which nothing, or a single picture, could be decoded.
            SourceError: from the feed, after which the session is left open for the caller to end.
        """
        session = self._new_session()
        size = None
        pictures = self._reader.pictures()
        for picture, pts_ns in self._moving(pictures) if self._feed.kind == "file" else pictures:
            self._tally.pictures += 1
            self._tally.corrupt += picture.corrupt
            if picture.corrupt and self._discard:
                self._tally.dropped["corrupt"] += 1
                continue
            if self._grid is None:
                self._grid = self._new_grid()
                self._file_clock = self._clock_of_file(pts_ns)
            grid = self._grid
            frame_size = (picture.frame.width, picture.frame.height)
            last_ns = grid.last_ns if size else pts_ns
            placement = grid.place(pts_ns, resized=size not in (None, frame_size))
            if placement.late:
                self._tally.dropped["late"] += 1
                continue
            size = frame_size
            self._count(placement.ordinals)  # before anything is yielded: we may be closed there
            if placement.ended:
                yield self._end(session, placement.ended, last_ns)
                session = self._new_session()
            self._tally.position_ns = pts_ns - grid.origin_ns
            if placement.ordinals:
                yield from self._samples_of(picture, pts_ns, placement.ordinals, session, grid)
        if self._grid is not None:
            yield self._end(session, EndReason.END, self._grid.last_ns)

    def rest_until(self, ordinal: int) -> None:
        """No sample before this one is wanted soon, so their packets may wait for one another.

        What comes right before it may not: it would be decoded while the sample itself waits.
        """
        assert self._grid is not None
        self._reader.rest_until(self._grid.time_ns(ordinal) - LEAD_NS)

    def _moving(self, pictures: Iterator[tuple[Picture, int]]) -> Iterator[tuple[Picture, int]]:
        """A file's pictures, if there are two at least."""
        first, second = next(pictures, None), next(pictures, None)
        if first is None:
            raise NotAVideo(
                f"{self._feed.shown}: not one picture could be decoded "
                f"({self._tally.damaged_packets} damaged packets); is the file whole?"
            )
        if second is None:
            self._tally.pictures += 1
            self._tally.dropped["single"] += 1
            raise NotAVideo(
                f"{self._feed.shown}: holds a single picture, and an action takes several; "
                "give a video"
            )
        yield first
        yield second
        yield from pictures

    def _count(self, ordinals: range) -> None:
        if not ordinals:
            self._tally.skipped += 1
            return
        self._tally.sampled += 1
        self._tally.points += len(ordinals)
        self._tally.repeated += len(ordinals) - 1

    def _samples_of(
        self, picture: Picture, pts_ns: int, ordinals: range, session: Session, grid: Grid
    ) -> Iterator[Sample]:
        arrived_s = self._now()
        high_HWC = self._small(picture.frame)
        time_of_day = self._time_of_day(picture, pts_ns, arrived_s)
        for ordinal in ordinals:
            yield Sample(
                session=session,
                ordinal=ordinal,
                grid_ns=grid.time_ns(ordinal),
                next_grid_ns=grid.time_ns(ordinal + 1),
                pts_ns=pts_ns,
                high_HWC=high_HWC,
                corrupt=picture.corrupt,
                time_of_day=time_of_day,
                arrived_s=arrived_s,
            )

    def _small(self, frame: VideoFrame) -> NDArray[np.uint8]:
        aspect = self._feed.stream.sample_aspect_ratio or SQUARE
        try:
            return self._scaler.scale(frame, pixel_aspect=aspect)
        except av.FFmpegError:
            raise NotAVideo(
                f"{self._feed.shown}: its pictures ({frame.width}x{frame.height}, "
                f"{frame.format.name}) can't be scaled; convert it to H.264"
            ) from None

    def _time_of_day(self, picture: Picture, pts_ns: int, arrived_s: float) -> TimeOfDay:
        """By arrival, until a sender report from the camera says better."""
        if self._feed.kind == "file":
            return self._file_clock
        offset_s = picture.camera_offset_s
        if offset_s is not None:
            self._live_clock = TimeOfDay(clock=Clock.NTP, offset_s=offset_s)
        elif self._live_clock is None or self._live_clock.clock is Clock.WALL:
            offset_s = self._wall.offset_s(arrived_s, pts_ns / NS)
            self._live_clock = TimeOfDay(clock=Clock.WALL, offset_s=offset_s)
        return self._live_clock

    def _clock_of_file(self, first_ns: int) -> TimeOfDay:
        """The time of creation is that of the first picture."""
        created_s = self._feed.created_s
        offset_s = None if created_s is None else created_s - first_ns / NS
        return TimeOfDay(clock=Clock.CONTAINER, offset_s=offset_s)

    def _new_grid(self) -> Grid:
        return Grid(
            self._grid_spec,
            kind=self._feed.kind,
            hop=self._hop,
            tick_ns=self._reader.tick_ns,
            origin_ns=self._origin_ns,
        )

    def _new_session(self) -> Session:
        self._live_clock, self._wall = None, WallClock()
        return Session(
            stream_id=self._stream_id,
            session_id=self._session_id or random_session_id(),
            kind=self._feed.kind,
            sample_fps=self._grid_spec.sample_fps,
        )

    def _end(self, session: Session, reason: EndReason, at_ns: int) -> SessionEnd:
        truncated = reason is EndReason.END and self._truncated()
        self._tally.truncated |= truncated
        return SessionEnd(session=session, reason=reason, at_ns=at_ns, truncated=truncated)

    def _truncated(self) -> bool:
        """Does the file end before its header says?

        Where the header counts pictures, the count decides first: a last picture may stand for
        long. A count alone isn't enough: AVI counts pictures that were dropped at recording.
        """
        feed = self._feed
        came, promised = self._tally.pictures, feed.promised_pictures
        if feed.promised_end is None:
            return came < promised
        missing_ns = feed.promised_end * NS - self._reader.end_ns
        if promised:
            return came < promised and missing_ns > self._reader.tick_ns
        return missing_ns > HEADER_SLACK_S * NS
