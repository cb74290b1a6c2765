"""``analyze`` is killed or stopped at some moment and run again: the stream is that of one run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.frame import PictureType

from pipeline import wire
from pipeline.records import ActionEvent, EventType, Flag
from tests.footage import clip
from tests.redis_server import RedisServer

WaitUntil = Callable[..., None]

pytestmark = pytest.mark.timeout(900)

EASILY = """
events: {enter: 0.02, exit: 0.001, smoothing_windows: 1, min_duration_s: 0, update_interval_s: 1}
"""
"""So much is an event that some are open at any moment, and long enough for updates."""

ROUNDS = 8
"""So often the room is shown: a blow must fall before the end on a fast machine too."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The room, with B-frames: what a decoder gives away early lacks pictures in between."""
    path = tmp_path_factory.mktemp("video") / "room.mp4"
    with av.open(str(clip("room.webm"))) as container:
        small = [f.reformat(320, 180, "yuv420p") for f in container.decode(video=0)]
    with av.open(str(path), "w") as out:
        options = {"preset": "ultrafast", "bf": "3", "b-adapt": "0", "g": "50"}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number, frame in enumerate(small * ROUNDS):
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, 25), PictureType.NONE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def undisturbed(video: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    with RedisServer() as server:
        finish(analyze(video, server, tmp_path_factory.mktemp("state")))
        told = true(stored(server))
    assert len(told) > 60 * ROUNDS
    return told


def analyze(video: Path, server: RedisServer, state: Path, *more: str) -> subprocess.Popen[str]:
    config = state.with_suffix(".yaml")
    config.write_text(EASILY)
    to = ("--name", "room", "--redis", f"redis://127.0.0.1:{server.port}", "--config", str(config))
    call = [sys.executable, "-c", "from actors.cli import main; main()"]
    return subprocess.Popen(
        [*call, "analyze", str(video), *to, *more],
        env=os.environ | {"XDG_STATE_HOME": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str]) -> str:
    _, said = child.communicate(timeout=300)
    assert child.returncode == 0, said
    return said


def entries(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.xlen(wire.events_key()))


def stored(server: RedisServer) -> list[ActionEvent]:
    with server.client() as client:
        return [wire.from_fields(fields) for _, fields in client.xrange(wire.events_key())]


def true(events: list[ActionEvent]) -> list[tuple[object, ...]]:
    """What must be the same, less the ends that a stop made up."""
    return [
        (e.event_id, e.label, e.type, e.first_window, e.last_window, e.start_pts_s, e.end_pts_s)
        for e in events
        if Flag.INTERRUPTED not in e.flags
    ]


def lives(events: list[ActionEvent]) -> dict[str, list[ActionEvent]]:
    found: dict[str, list[ActionEvent]] = {}
    for event in events:
        found.setdefault(event.event_id, []).append(event)
    return found


@pytest.mark.parametrize(
    ("blow", "after", "more"),
    [
        (signal.SIGKILL, [1, 30, 120], []),
        (signal.SIGINT, [1, 30, 120], []),
        (signal.SIGKILL, [30], ["--ray"]),
        (signal.SIGINT, [30], ["--ray"]),
    ],
    ids=["killed", "stopped", "killed on Ray", "stopped on Ray"],
)
def test_a_rerun_makes_the_stream_whole(
    video: Path,
    undisturbed: list[tuple[object, ...]],
    tmp_path: Path,
    wait_until: WaitUntil,
    blow: signal.Signals,
    after: list[int],
    more: list[str],
) -> None:
    """A blow after so many new entries, then a run that begins anew; the last one is let be."""
    with RedisServer() as server:
        for count in after:
            wanted = entries(server) + count
            child = analyze(video, server, tmp_path / "state", *more)
            try:
                wait_until(
                    lambda c=child, n=wanted: entries(server) >= n or c.poll() is not None,
                    f"{wanted} entries",
                    120,
                )
                child.send_signal(blow)
                _, said = child.communicate(timeout=300)
                assert child.returncode != 0, f"it was done before the blow: {said}"
            finally:
                child.kill()
        finish(analyze(video, server, tmp_path / "state", *more))
        once = stored(server)
        assert "are not stored again" in finish(analyze(video, server, tmp_path / "elsewhere"))
        assert stored(server) == once
    interrupted = any(Flag.INTERRUPTED in event.flags for event in once)
    assert interrupted == (blow is signal.SIGINT)
    assert sorted(true(once), key=repr) == sorted(undisturbed, key=repr)
    for life in lives(once).values():
        assert [event.seq for event in life] == list(range(len(life)))
        assert life[-1].type is EventType.END
        assert Flag.INTERRUPTED not in life[-1].flags
