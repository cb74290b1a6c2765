"""A camera's life against a camera that misbehaves: what is told, what is kept, what is counted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest

from pipeline.cameras import CameraKnobs, RetryConfig
from pipeline.errors import SourceError, SourceUnreachable
from pipeline.records import NS, Clock, EndReason, Flag, SessionEnd, Window
from pipeline.settings import EventSpec, GridSpec, PictureSpec, Settings, WindowSpec
from pipeline.source import CameraSource, parse_address
from pipeline.stream import live_windows
from pipeline.tally import Tally
from tests.chaos.rtsp import ChaosCamera
from tests.footage import clip
from tests.rtsp import dead_port, transcode

SETTINGS = Settings(
    grid=GridSpec(sample_fps=8),
    picture=PictureSpec(size_px=32, short_side_px=32),
    window=WindowSpec(frames=4, hop=2),
    events=EventSpec(),
)
HASTE = RetryConfig(initial_delay_s=0.05, max_delay_s=0.2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    paths = [folder / "wide.mp4", folder / "small.mp4"]
    transcode(clip("room.webm"), paths[0], codec="libx264", seconds=4)
    transcode(clip("room.webm"), paths[1], codec="libx264", seconds=2, size=(160, 120))
    return paths


@pytest.fixture(scope="module")
def chaos(videos: list[Path]) -> Iterator[ChaosCamera]:
    with ChaosCamera(videos) as running:
        yield running


@dataclass
class Life:
    """A camera at work in a thread; a context manager."""

    url: str
    knobs: CameraKnobs
    settings: Settings = SETTINGS
    work_s: float = 0
    """How long whoever takes windows is busy with each."""
    states: list[tuple[str, str]] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    ends: list[SessionEnd] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    error: SourceError | None = None

    def __enter__(self) -> "Life":
        self.stop, self.pause = Event(), Event()
        self._thread = Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        began_s = time.monotonic()
        self._thread.join()
        assert time.monotonic() - began_s < 5, "a stop waits for nobody"
        self.tally.scored = self.tally.windows
        assert self.tally.balance() == []

    def said(self, state: str) -> int:
        return sum(one == state for one, _ in self.states)

    def _work(self) -> None:
        source = CameraSource(stream_id="gate", address=parse_address(self.url), knobs=self.knobs)
        stream = live_windows(
            source,
            self.settings.seen_by(self.knobs),
            tally=self.tally,
            threads=1,
            stop=self.stop,
            pause=self.pause,
            report=lambda _, state, detail: self.states.append((str(state), detail)),
        )
        try:
            for item in stream:
                (self.ends if isinstance(item, SessionEnd) else self.windows).append(item)
                self.stop.wait(self.work_s)
        except SourceError as error:
            self.error = error


def knobs(**said: object) -> CameraKnobs:
    usual = {"open_timeout_s": 5, "frame_timeout_s": 2, "retry": HASTE}
    return CameraKnobs.model_validate({**usual, **said})


def test_a_camera_that_is_down_is_tried_until_it_is_there(
    videos: list[Path], wait_until: Callable[..., None]
) -> None:
    port = dead_port()
    with Life(f"rtsp://127.0.0.1:{port}/gate", knobs()) as life:
        wait_until(lambda: life.said("backoff") >= 3, "it is tried again and again")
        with ChaosCamera(videos, port=port):
            wait_until(lambda: life.windows, "it is found")
            assert life.states[-1] == ("streaming", "")
    assert life.tally.faults["unreachable"] >= 3
    assert life.tally.faults.total() == life.tally.reconnects  # on a busy machine, a time-out, too
    assert life.tally.states["connecting"] == life.said("connecting")
    assert life.tally.state == "streaming"
    assert abs(time.time() - life.tally.since_s) < 60


@pytest.mark.parametrize("fault", ["cut=30", "end=30"])
def test_a_lost_connection_ends_a_session_and_begins_another(
    chaos: ChaosCamera, fault: str, wait_until: Callable[..., None]
) -> None:
    with Life(chaos.url(f"gate,{fault}"), knobs()) as life:
        wait_until(lambda: life.tally.faults["ended"] >= 2, "two sessions end")
    assert {end.reason for end in life.ends[:2]} == {EndReason.RECONNECT}
    sessions = [window.span.session.session_id for window in life.windows]
    assert len(set(sessions)) >= 2
    assert life.tally.gaps["reconnect"] >= 2
    assert [state for state, _ in life.states[:4]] == [
        "connecting",
        "streaming",
        "backoff",
        "connecting",
    ]


def test_a_camera_that_is_resumed_before_it_has_paused_was_not_lost(chaos: ChaosCamera) -> None:
    states: list[str] = []
    stop, pause, tally = Event(), Event(), Tally()
    stream = live_windows(
        CameraSource(stream_id="gate", address=parse_address(chaos.url("gate")), knobs=knobs()),
        SETTINGS,
        tally=tally,
        threads=1,
        stop=stop,
        pause=pause,
        report=lambda _, state, detail: states.append(state),
    )
    assert isinstance(next(stream), Window)
    pause.set()
    while not isinstance(next(stream), SessionEnd):
        pass
    pause.clear()  # its connection isn't closed yet
    assert isinstance(next(stream), Window)
    stop.set()
    assert [item for item in stream if isinstance(item, SessionEnd)]
    assert states == ["connecting", "streaming", "paused", "connecting", "streaming"]
    assert (tally.reconnects, tally.faults.total()) == (0, 0)


def test_a_stall_is_told_and_passes(chaos: ChaosCamera, wait_until: Callable[..., None]) -> None:
    with Life(chaos.url("gate,stall=30,pause=2"), knobs(frame_timeout_s=3)) as life:
        wait_until(lambda: life.said("streaming") == 2, "it streams, stalls, and streams")
    assert [state for state, _ in life.states] == [
        "connecting",
        "streaming",
        "stalled",
        "streaming",
    ]
    assert life.tally.reconnects == 0
    assert life.tally.states["stalled"] == 1


def test_a_stall_that_stays_costs_the_connection(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    with Life(chaos.url("gate,stall=30"), knobs(frame_timeout_s=1)) as life:
        wait_until(lambda: life.tally.faults["stall"] >= 2, "given up, twice", 30)
    assert life.said("stalled") >= 2
    assert "no picture for 1 s" in dict(life.states)["backoff"]


def test_a_login_that_is_refused_is_not_tried_often(
    videos: list[Path], wait_until: Callable[..., None]
) -> None:
    with ChaosCamera(videos, login="admin:right") as camera:
        slow = RetryConfig(initial_delay_s=0.01, max_delay_s=60)
        url = camera.url("gate", login="admin:hunter2")
        with Life(url, knobs(retry=slow)) as life:
            wait_until(lambda: life.said("backoff"), "it is refused")
            wait_until(lambda: camera.connected == 0, "the connection is closed")
        assert camera.requests["connect"] == 1
        assert life.tally.faults == {"authentication": 1}
        assert "refuses the login" in life.states[-1][1]
        assert "hunter2" not in str(life.states)
        with Life(camera.url("gate", login="admin:right"), knobs()) as life:
            wait_until(lambda: life.windows, "the right one opens it")


def test_a_camera_is_given_up_after_its_attempts(wait_until: Callable[..., None]) -> None:
    retry = RetryConfig(initial_delay_s=0.01, max_delay_s=0.01, max_attempts=3)
    with Life(f"rtsp://127.0.0.1:{dead_port()}/gate", knobs(retry=retry)) as life:
        wait_until(lambda: life.error is not None, "it is given up")
    assert isinstance(life.error, SourceUnreachable)
    assert life.tally.reconnects == 3
    assert life.said("failed") == 0, "whoever knows that the events are out reports it"


def test_a_pause_closes_the_connection_and_resuming_opens_another(
    videos: list[Path], wait_until: Callable[..., None]
) -> None:
    with ChaosCamera(videos) as camera, Life(camera.url(), knobs()) as life:
        wait_until(lambda: life.windows, "it streams")
        life.pause.set()
        wait_until(lambda: life.said("paused"), "it pauses")
        wait_until(lambda: camera.connected == 0, "the camera is left alone")
        assert camera.requests["TEARDOWN"] == 1
        count = len(life.windows)
        life.pause.clear()
        wait_until(lambda: len(life.windows) > count, "it streams again")
    assert [state for state, _ in life.states] == [
        "connecting",
        "streaming",
        "paused",
        "connecting",
        "streaming",
    ]
    assert life.ends[0].reason is EndReason.STOPPED
    assert life.tally.reconnects == 0


def test_what_comes_before_a_key_frame_is_passed_over(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    with Life(chaos.url("gate,start=13"), knobs(corrupt="discard")) as life:
        wait_until(lambda: len(life.windows) >= 2, "it streams")
    assert life.tally.packets_dropped["no key frame yet"] > 0
    assert life.tally.corrupt == 0


def test_damaged_pictures_are_flagged_or_discarded(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    with Life(chaos.url("gate,corrupt=20"), knobs(corrupt="keep")) as kept:
        wait_until(lambda: len(kept.windows) >= 12, "it streams")
    assert any(Flag.CORRUPT in window.span.flags for window in kept.windows)
    with Life(chaos.url("gate,corrupt=20"), knobs(corrupt="discard")) as life:
        wait_until(lambda: life.tally.dropped["corrupt"] > 5, "some are dropped")
        wait_until(lambda: life.windows, "others make windows")
    assert life.tally.dropped["corrupt"] == life.tally.corrupt
    assert not any(Flag.CORRUPT in window.span.flags for window in life.windows)


def test_lost_packets_damage_pictures_and_nothing_else(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    with Life(chaos.url("gate,lose=40"), knobs(transport="udp")) as life:
        wait_until(lambda: life.tally.corrupt > 0, "damage is seen")
        wait_until(lambda: len(life.windows) >= 8, "it streams on")
    assert life.tally.reconnects == 0


@pytest.mark.parametrize(("by", "reason"), [(-60, EndReason.JUMP), (60, EndReason.GAP)])
def test_a_clock_that_is_set_ends_the_session(
    chaos: ChaosCamera, by: int, reason: EndReason, wait_until: Callable[..., None]
) -> None:
    with Life(chaos.url(f"gate,jump=40,by={by}"), knobs()) as life:
        wait_until(lambda: life.ends, "the session ends")
        count = len(life.windows)
        wait_until(lambda: len(life.windows) > count, "and another begins")
    assert life.ends[0].reason is reason
    assert life.tally.reconnects == 0
    spans_s = [(w.span.end_ns - w.span.start_ns) / NS for w in life.windows]
    assert max(spans_s) == pytest.approx(0.5, abs=0.01), "no window straddles it"


def test_another_size_ends_the_session(chaos: ChaosCamera, wait_until: Callable[..., None]) -> None:
    with Life(chaos.url("gate,resize=50"), knobs()) as life:
        wait_until(lambda: life.ends, "the session ends")
        count = len(life.windows)
        wait_until(lambda: len(life.windows) > count, "and another begins")
    assert life.ends[0].reason is EndReason.RESIZE
    assert life.tally.reconnects == 0


def test_whoever_is_too_slow_loses_pictures_and_never_falls_behind(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    with Life(
        chaos.url("gate,report=1"), knobs(), work_s=0.6
    ) as life:  # a window is due each 0.25 s
        wait_until(lambda: life.tally.packets_dropped["overload"] > 25, "packets are dropped", 60)
        count = len(life.windows)
        wait_until(lambda: len(life.windows) > count, "it goes on")
    assert life.tally.reconnects == 0
    behind_s = [
        span.arrived_s + 3600 - (span.start_ns / NS + (span.time_of_day.offset_s or 0))
        for span in (window.span for window in life.windows)
        if span.time_of_day.clock is Clock.NTP
    ]
    assert len(behind_s) > 4
    assert max(behind_s) < 4.5, "2 s of backlog, the window itself, and what was worked on"


def test_too_large_a_picture_is_its_own_fault(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    small = SETTINGS.picture.model_copy(update={"max_pixels": 1000})
    settings = SETTINGS.model_copy(update={"picture": small})
    with Life(chaos.url(), knobs(), settings=settings) as life:
        wait_until(lambda: life.tally.faults["too large"], "it is refused")
    assert "over the limit" in life.states[-1][1]


def test_the_time_of_day_is_the_cameras_where_it_says_so(
    chaos: ChaosCamera, wait_until: Callable[..., None]
) -> None:
    def clocks(life: Life) -> set[Clock]:
        return {window.span.time_of_day.clock for window in life.windows}

    with Life(chaos.url(), knobs()) as life:
        wait_until(lambda: len(life.windows) >= 2, "it streams")
    assert clocks(life) == {Clock.WALL}
    with Life(chaos.url("gate,report=1"), knobs()) as life:
        wait_until(lambda: Clock.NTP in clocks(life), "its clock is used")
    span = life.windows[-1].span
    assert span.time_of_day.offset_s is not None
    shown_s = span.end_ns / NS + span.time_of_day.offset_s
    assert shown_s == pytest.approx(time.time() + 3600, abs=30)
