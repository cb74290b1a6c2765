"""Deadlines that hold when FFmpeg's don't, against cameras that stop answering."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, active_count
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from pipeline.cameras import CameraKnobs
from pipeline.errors import SourceStalled, SourceTimeout, SourceTooLarge
from pipeline.records import SourceKind
from pipeline.source import CameraSource, Feed, Watch, Watched, parse_address
from pipeline.source.watched import MAX_HUNG
from pipeline.tally import Tally
from tests.chaos.rtsp import ChaosCamera
from tests.footage import clip
from tests.rtsp import transcode

HOUR_S = 3600


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "room.mp4"
    transcode(clip("room.webm"), path, codec="libx264", seconds=4)
    return path


@pytest.fixture(scope="module")
def chaos(video: Path) -> Iterator[ChaosCamera]:
    with ChaosCamera([video]) as running:
        yield running


@dataclass(frozen=True)
class Patient:
    """A camera opened without any time-out of FFmpeg's: its calls hang for ever."""

    kind: ClassVar[SourceKind] = "live"
    stream_id: ClassVar[str] = "gate"
    shown: ClassVar[str] = "camera gate"
    url: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def open(self) -> Feed:
        return Feed(
            self.url,
            kind="live",
            shown=self.shown,
            options={"rtsp_transport": "tcp", "analyzeduration": "200000", "probesize": "200000"},
            open_timeout_s=HOUR_S,
            read_timeout_s=HOUR_S,
        )


@dataclass
class Told:
    """What a watched camera says."""

    pictures: int = 0
    stalls: list[str] = field(default_factory=list)

    def watch(self) -> Watch:
        return Watch(picture=self._picture, stall=self.stalls.append)

    def _picture(self) -> None:
        self.pictures += 1


@contextmanager
def watched(
    url: str, *, open_s: float = 10, frame_s: float = 10, told: Told | None = None
) -> Iterator[tuple[Watched, Event, Tally]]:
    stop, tally = Event(), Tally()
    knobs = CameraKnobs(open_timeout_s=open_s, frame_timeout_s=frame_s)
    watch = (told or Told()).watch()
    yield (
        Watched(Patient(url), knobs=knobs, tally=tally, stopped=stop.is_set, watch=watch),
        stop,
        tally,
    )


@pytest.fixture
def unknown_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where they can't be told, or come late."""
    monkeypatch.setattr("pipeline.source.inflow.FOUND_S", 0)


def test_an_open_that_hangs_is_ended(video: Path, wait_until: Callable[..., None]) -> None:
    threads = active_count()
    with (
        ChaosCamera([video]) as camera,
        watched(camera.url("gate,mute=1"), open_s=0.3) as (source, _, tally),
    ):
        began_s = time.monotonic()
        with pytest.raises(SourceTimeout, match="no answer within"):
            source.open()
        assert time.monotonic() - began_s < 5
        assert (tally.hung, source.hung) == (0, 0)
    wait_until(lambda: active_count() <= threads, "no thread stays")


@pytest.mark.usefixtures("unknown_connections")
def test_one_that_can_not_be_ended_is_left_behind_and_comes_back_with_the_camera(
    video: Path, wait_until: Callable[..., None]
) -> None:
    threads = active_count()
    with ChaosCamera([video]) as camera:
        with watched(camera.url("gate,mute=1"), open_s=0.3) as (source, _, tally):
            with pytest.raises(SourceTimeout, match="no answer within"):
                source.open()
            assert (tally.hung, source.hung) == (1, 1)
        camera.cut_all()
        wait_until(lambda: source.hung == 0, "the thread ends with its connection")
    wait_until(lambda: active_count() <= threads, "no thread stays")


@pytest.mark.usefixtures("unknown_connections")
def test_only_so_many_may_hang_then_no_new_connection_is_tried(
    video: Path, wait_until: Callable[..., None]
) -> None:
    with ChaosCamera([video]) as camera:
        with watched(camera.url("gate,mute=2"), open_s=0.1) as (source, _, tally):
            for _ in range(MAX_HUNG):
                with pytest.raises(SourceTimeout, match="no answer"):
                    source.open()
            connections = camera.requests["connect"]
            with pytest.raises(SourceTimeout, match="hang in FFmpeg"):
                source.open()
            assert tally.hung == MAX_HUNG
            assert camera.requests["connect"] == connections
            assert tally.hanging == MAX_HUNG
        camera.cut_all()
        wait_until(lambda: tally.hanging == 0, "they come back, and nobody has to ask")
        assert source.hung == 0


def test_a_read_that_hangs_is_ended(chaos: ChaosCamera) -> None:
    told = Told()
    with watched(chaos.url("gate,stall=15"), frame_s=1, told=told) as (source, _, tally):
        with pytest.raises(SourceStalled, match="no picture for 1 s"), source.open() as feed:
            for _ in feed.packets():
                tally.pictures += 1
        assert tally.pictures >= 14, "FFmpeg keeps one until the next begins"
        assert told.pictures >= 13
        assert told.stalls, "it says so before it gives up"
        assert (tally.hung, source.hung) == (0, 0)


def test_packets_that_give_no_pictures_are_a_stall(chaos: ChaosCamera) -> None:
    with (
        watched(chaos.url("gate"), frame_s=0.5) as (source, _, _),
        pytest.raises(SourceStalled, match="none could be decoded"),
        source.open() as feed,
    ):
        for _ in feed.packets():
            pass


@pytest.mark.parametrize("path", ["gate,flood=1", "gate,stall=15,flood=2", "gate,stall=1,flood=2"])
def test_what_holds_no_picture_is_given_up_before_it_fills_the_memory(
    path: str, chaos: ChaosCamera, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A description, and pictures, without end."""
    monkeypatch.setattr("pipeline.source.inflow.MAX_BYTES", 16 << 20)
    connected, began_s = chaos.connected, time.monotonic()
    with watched(chaos.url(path), open_s=60, frame_s=60) as (source, _, tally):
        with pytest.raises(SourceTooLarge, match=r"^camera gate: sent \d+ MiB that hold no pic"):
            read(source, tally)
        assert time.monotonic() - began_s < 20
        wait_until(lambda: source.hung == 0, "the thread ends with its connection")
    wait_until(lambda: chaos.connected <= connected, "the connection is gone")


def test_a_flood_cuts_no_other_camera(
    chaos: ChaosCamera, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.source.inflow.MAX_BYTES", 16 << 20)
    with (
        watched(chaos.url("gate")) as (good, stop, tally),
        watched(chaos.url("yard,stall=5,flood=2"), open_s=60, frame_s=60) as (bad, _, waste),
        ThreadPoolExecutor() as pool,
    ):
        watching = pool.submit(read, good, tally)
        wait_until(lambda: tally.pictures > 5, "the good one is read")
        with pytest.raises(SourceTooLarge):
            read(bad, waste)
        seen = tally.pictures
        wait_until(lambda: tally.pictures > seen + 25, "the good one goes on")
        stop.set()
        watching.result(20)


def read(source: Watched, tally: Tally) -> None:
    with source.open() as feed:
        for _ in feed.packets():
            tally.pictures += 1


def test_a_stop_waits_for_nobody(chaos: ChaosCamera) -> None:
    with watched(chaos.url("gate,stall=15"), frame_s=30) as (source, stop, tally):
        with source.open() as feed:
            for _ in feed.packets():
                tally.pictures += 1
                if tally.pictures == 14:
                    stop.set()
            stopped_s = time.monotonic()
        assert time.monotonic() - stopped_s < 4
        assert source.hung == 0


def test_a_stop_ends_an_open_that_hangs(video: Path) -> None:
    with (
        ChaosCamera([video]) as camera,
        watched(camera.url("gate,mute=1"), open_s=60) as (source, stop, _),
    ):
        stop.set()
        began_s = time.monotonic()
        with pytest.raises(SourceTimeout, match="stopped"):
            source.open()
        assert time.monotonic() - began_s < 4
        assert source.hung == 0


def test_a_good_camera_is_read_to_its_end_and_sent_a_teardown(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    before, threads = chaos.requests["TEARDOWN"], active_count()
    address = parse_address(chaos.url("gate"))
    tally = Tally()
    source = Watched(
        CameraSource(stream_id="gate", address=address),
        knobs=CameraKnobs(),
        tally=tally,
        stopped=lambda: False,
    )
    with source.open() as feed:
        assert feed.stream.codec_context.name == "h264"
        packets = [packet for packet, _ in zip(feed.packets(), range(30), strict=False)]
    assert packets[0].is_keyframe
    wait_until(lambda: chaos.requests["TEARDOWN"] > before, "TEARDOWN arrives")
    assert tally.hung == 0
    wait_until(lambda: active_count() <= threads, "no thread stays")
