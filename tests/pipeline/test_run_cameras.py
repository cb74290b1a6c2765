"""Cameras, from RTSP to events, against a real server on loopback."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from pydantic import SecretStr

from pipeline.cameras import CameraKnobs, holds_secret
from pipeline.config import Config
from pipeline.errors import (
    ConfigError,
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceTimeout,
    SourceUnauthorized,
    SourceUnreachable,
)
from pipeline.model import load
from pipeline.records import NS, ActionEvent, EndReason, SessionEnd, Window
from pipeline.run import run
from pipeline.settle import settle
from pipeline.source import CameraSource, FileSource, Source, parse_address
from pipeline.stream import windows
from pipeline.tally import Tally
from tests.footage import clip
from tests.rtsp import RtspServer, dead_port, mute_host, transcode

LOGIN = "admin:p%40ss word"
SECONDS = 4.0


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    made = {}
    for name, codec in (("h264", "libx264"), ("h265", "libx265")):
        made[name] = folder / f"{name}.mp4"
        transcode(clip("room.webm"), made[name], codec=codec, seconds=SECONDS)
    return made


@pytest.fixture(scope="module")
def server(videos: dict[str, Path]) -> object:
    with RtspServer({**videos, "loop@loop": videos["h264"]}) as running:
        yield running


def camera(url: str, *, transport: str = "tcp", timeout_s: float = 5.0) -> CameraSource:
    return CameraSource(
        stream_id="gate",
        address=parse_address(url),
        knobs=CameraKnobs(transport=transport, open_timeout_s=timeout_s, frame_timeout_s=timeout_s),
    )


def windows_of(source: Source) -> list[Window | SessionEnd]:
    settings = settle(Config(), load("default", device="cpu").spec)
    return list(windows(source, settings, tally=Tally(), stop=Event()))


@pytest.mark.parametrize("name", ["h264", "h265"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_stream_over_rtsp_gives_the_windows_of_its_file(
    server: RtspServer, videos: dict[str, Path], name: str, transport: str
) -> None:
    live = windows_of(camera(server.url(name), transport=transport))
    filed = windows_of(FileSource(path=videos[name], stream_id="gate"))
    whole = [w for w in filed if isinstance(w, Window) and not w.span.flags]
    came = [w for w in live if isinstance(w, Window) and not w.span.flags]
    assert len(whole) == 7
    assert [w.span.first_ordinal for w in came] == [w.span.first_ordinal for w in whole]
    for ours, theirs in zip(came, whole, strict=True):
        np.testing.assert_array_equal(ours.little_PHWC, theirs.little_PHWC)
        np.testing.assert_array_equal(ours.big_PHWC, theirs.big_PHWC)
        assert relative(ours, came[0]) == pytest.approx(relative(theirs, whole[0]), abs=1e-4)
    end = live[-1]
    assert isinstance(end, SessionEnd)
    assert end.reason is EndReason.RECONNECT, "a camera has no end of its own"


def relative(window: Window, first: Window) -> list[float]:
    origin = first.span.start_ns
    times = [window.span.start_ns, window.span.end_ns, *window.pts_ns_T.tolist()]
    return [(time_ns - origin) / NS for time_ns in times]


@pytest.fixture(scope="module")
def guarded(videos: dict[str, Path]) -> object:
    with RtspServer({"h264": videos["h264"]}, login="admin:p@ss word") as running:
        yield running


def test_a_login_in_the_url_or_apart_from_it_opens_the_camera(guarded: RtspServer) -> None:
    with camera(guarded.url("h264", login="admin:p%40ss%20word")).open() as feed:
        assert feed.stream.codec_context.name == "h264"
    address = parse_address(guarded.url("h264"), username="admin", password="p@ss word")
    source = CameraSource(stream_id="gate", address=address)
    with source.open() as feed:
        assert feed.stream.codec_context.name == "h264"


@pytest.mark.parametrize("login", [None, "admin:hunter2"])
def test_a_wrong_login_is_told_and_not_shown(guarded: RtspServer, login: str | None) -> None:
    with pytest.raises(SourceUnauthorized, match="refuses the login") as raised:
        camera(guarded.url("h264", login=login)).open()
    assert_one_line_without(str(raised.value), "hunter2")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_each_way_of_not_being_there_has_its_error(server: RtspServer) -> None:
    with pytest.raises(SourceNotFound, match="no such path"):
        camera(server.url("nowhere")).open()
    with pytest.raises(SourceUnreachable, match="refused or lost"):
        camera(f"rtsp://127.0.0.1:{dead_port()}/x").open()
    with pytest.raises(SourceError) as raised:
        camera("rtsp://no-such-host.invalid/x", timeout_s=5).open()
    assert_one_line_without(str(raised.value), "@")


def test_a_host_that_never_answers_is_given_up_within_the_time_out() -> None:
    with mute_host() as port:
        began_s = time.monotonic()
        with pytest.raises(SourceTimeout, match="no answer within 1 s"):
            camera(f"rtsp://u:secret@127.0.0.1:{port}/x", timeout_s=1.0).open()
        assert time.monotonic() - began_s < 3


def test_a_camera_that_freezes_is_given_up_within_the_time_out(videos: dict[str, Path]) -> None:
    with RtspServer({"loop@loop": videos["h264"]}) as running:
        feed = camera(running.url("loop@loop"), timeout_s=1.5).open()
        packets = feed.packets()
        next(packets)
        running.freeze()
        try:
            with pytest.raises(SourceTimeout):
                for _ in packets:
                    pass
        finally:
            running.thaw()
            feed.close()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "concat:/etc/passwd|/etc/hosts",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "http://127.0.0.1/x",
        "async:file:/etc/passwd",
        "RTSP+file:///etc/passwd",
        "pipe:0",
    ],
)
def test_a_url_that_is_no_cameras_is_refused_before_it_is_opened(url: str) -> None:
    with pytest.raises(SourceForbidden, match="rtsp"):
        parse_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://",
        "rtsp:///x",
        "rtsp://h:port/x",
        "rtsp://h /x\n",
        "rtsp://admin:/secret@h/x",
        "rtsp://admin:12#3@h/x",
        "rtsp://:hunter2@h/x",
    ],
)
def test_a_url_without_sense_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_address(url)
    assert_one_line_without(str(raised.value), "secret")


def test_an_address_shows_no_secret() -> None:
    address = parse_address("rtsp://me:hunter2@[::1]:8554/a?password=hunter2&user=me")
    assert str(address) == "rtsp://[::1]:8554/a?***"
    assert "hunter2" not in repr(address)
    in_path = parse_address("rtsp://h/user=admin_password=hunter2_channel=1.sdp")
    assert "hunter2" not in f"{in_path} {in_path!r}"
    assert address.url() == "rtsp://me:hunter2@[::1]:8554/a?password=hunter2&user=me"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/Xq3bTc8LmPz0Rw5V?enableSrtp", "/***?***"),
        ("/live/0f8fad5b-d9cb-469f-a165-70867728950e/main", "/live/***/main"),
        ("/tok_-3n2Xw9Qd0aLr7Yc5bVhZ", "/***"),
        ("/%58q3bTc8LmPz0Rw5V", "/***"),
        ("/live/Xq3bTc8LmPz0Rw5V.sdp", "/live/***"),
        ("/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.Xq3bTc8LmPz0Rw5V", "/***"),
        ("/s-Xq3bTc8LmPz0Rw5V", "/***"),
        ("/Xq3bTc8LmPz0Rw5V%2Fz", "/***"),
        ("/u%253Ahunter2", "/***"),
        ("/31415926535897932384626433", "/***"),
        ("/playback/20261129120000", "/playback/20261129120000"),
        ("/front-door-camera-number-2", "/front-door-camera-number-2"),
        ("/Streaming/Channels/101", "/Streaming/Channels/101"),
        ("/h264Preview_01_main", "/h264Preview_01_main"),
        ("/cam/realmonitor", "/cam/realmonitor"),
        ("/axis-media/media.amp", "/axis-media/media.amp"),
        ("/videoStreamOfTheEntrance", "/videoStreamOfTheEntrance"),
    ],
)
def test_a_path_that_is_a_login_is_not_shown_and_others_are(path: str, shown: str) -> None:
    assert str(parse_address(f"rtsp://h:1{path}")) == f"rtsp://h:1{shown}"
    assert holds_secret(SecretStr(f"rtsp://h:1{path}")) == ("***" in shown)


@dataclass
class Seen:
    """A sink and a reporter that remember."""

    events: list[ActionEvent] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    def write(self, events: list[ActionEvent]) -> None:
        self.events += events

    def close(self) -> None:
        """Nothing to close."""

    def report(self, stream_id: str, state: str, detail: str) -> None:
        self.states.append(state)


def test_a_camera_that_dies_and_comes_back_goes_on_in_a_new_session(
    videos: dict[str, Path], wait_until: Callable[..., None]
) -> None:
    seen, stop, tallies = Seen(), Event(), {}
    first = RtspServer({"loop@loop": videos["h264"]})
    source = camera(first.url("loop@loop"), timeout_s=2)
    worker = Thread(
        target=run,
        args=([source], load("default", device="cpu"), Config(), seen),
        kwargs={"stop": stop, "report": seen.report, "tallies": tallies},
    )
    worker.start()
    try:
        wait_until(lambda: "streaming" in seen.states, "the camera streams")
        first.kill()
        wait_until(lambda: "backoff" in seen.states, "its loss is noticed")
    finally:
        first.close()
        stop.set()
        worker.join()
    tally = tallies["gate"]
    assert tally.balance() == []
    assert tally.gaps["reconnect"] == 1
    assert {event.clock.value for event in seen.events} <= {"wall", "ntp"}
    ended = {event.event_id for event in seen.events if event.type.value == "end"}
    assert ended == {event.event_id for event in seen.events}, "nothing is left open"


def assert_one_line_without(message: str, secret: str) -> None:
    assert "\n" not in message
    assert secret not in message
