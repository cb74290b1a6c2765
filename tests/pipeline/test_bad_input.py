"""Damaged and hopeless files: one line that says what is wrong; what can be decoded is, flagged."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pipeline.config import Config, EventConfig, ModelConfig
from pipeline.errors import PictureTooLarge, SourceError
from pipeline.model import Recognizer, load_from
from pipeline.records import ActionEvent, Flag
from pipeline.run import run
from pipeline.source import find_files
from pipeline.tally import Outcome
from tests.clips import STEADY, cut, joined, scratched, write_clip, write_sound
from tests.viewing import View, view

VP9 = {"cpu-used": "8", "deadline": "realtime"}
HUGE = (7680, 4320)
FAST_START = {"movflags": "faststart"}


def write_picture(path: Path, codec: str, pix_fmt: str) -> Path:
    return write_clip(
        path,
        count=1,
        codec=codec,
        pix_fmt=pix_fmt,
        container="image2",
        options={},
        muxing={"update": "1"},
    )


def write_huge(path: Path, codec: str = "libx264") -> Path:
    flat = [np.full((HUGE[1], HUGE[0], 3), 60, np.uint8)] * 2
    options = {"preset": "ultrafast", "tune": "zerolatency"} if codec == "libx264" else {}
    return write_clip(path, pictures=flat, size=HUGE, codec=codec, options=options)


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def moov_cut_off(path: Path) -> Path:
    return cut(path, write_clip(path.with_suffix(".whole.mp4")), 0.9)


NOISE = np.random.default_rng(5).bytes(20_000)

HOPELESS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.mp4": (lambda p: None, "no such file; check the path"),
    "empty.mp4": (lambda p: write_bytes(p, b""), "the file is empty"),
    "text.mp4": (lambda p: write_bytes(p, b"Dear diary,\n" * 500), "is the file whole"),
    "noise.mp4": (lambda p: write_bytes(p, NOISE), "is the file whole"),
    "zeros.mp4": (lambda p: write_bytes(p, bytes(20_000)), "is the file whole"),
    "page.mp4": (lambda p: write_bytes(p, b"\n<!DOCTYPE html><p>404"), "a page or a playlist"),
    "list.mp4": (lambda p: write_bytes(p, b"#EXTM3U\nmissing.mp4\n"), "a page or a playlist"),
    "sound.mp4": (write_sound, "only sound"),
    "png.mp4": (lambda p: write_picture(p, "png", "rgb24"), "a PNG picture"),
    "jpeg.mp4": (lambda p: write_picture(p, "mjpeg", "yuvj420p"), "a JPEG picture"),
    "still.gif.mp4": (
        lambda p: write_clip(p, count=1, codec="gif", pix_fmt="rgb8", container="gif", options={}),
        "holds a single picture",
    ),
    "single.mp4": (lambda p: write_clip(p, count=1), "holds a single picture"),
    "header.mp4": (lambda p: cut(p, sound_clip(p, FAST_START), 0.02), "is the file whole"),
    "no-moov.mp4": (moov_cut_off, "is the file whole"),
    "8k.mp4": (write_huge, "raise sampling.max_pixels"),
}


def sound_clip(path: Path, muxing: dict[str, str] | None = None) -> Path:
    return write_clip(path.with_suffix(".sound" + path.suffix), muxing=muxing)


class Kept:
    """A sink that keeps what is written."""

    def __init__(self) -> None:
        self.events: list[ActionEvent] = []

    def write(self, events: Sequence[ActionEvent]) -> None:
        self.events.extend(events)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return load_from(ModelConfig())


EVERY_LABEL = Config(events=EventConfig(enter=0, exit=0))


def analyzed(
    recognizer: Recognizer, *paths: Path, root: Path
) -> tuple[list[Outcome], list[ActionEvent]]:
    kept = Kept()
    sources = find_files([str(path) for path in paths], root=root)
    outcomes = run(sources, recognizer, EVERY_LABEL, kept, stop=Event())
    for outcome in outcomes:
        assert not outcome.tally.balance()
    return outcomes, kept.events


def of_stream(events: list[ActionEvent], stream_id: str) -> list[ActionEvent]:
    return [event for event in events if event.stream_id == stream_id]


def test_each_hopeless_file_ends_in_one_line_and_the_others_go_on(
    recognizer: Recognizer, tmp_path: Path
) -> None:
    for name, (make, _) in HOPELESS.items():
        make(tmp_path / name)
    first, last = write_clip(tmp_path / "a.mp4"), write_clip(tmp_path / "z.mp4")
    paths = [first, *(tmp_path / name for name in HOPELESS), last]
    outcomes, events = analyzed(recognizer, *paths, root=tmp_path)
    assert outcomes[0].error is None and outcomes[-1].error is None
    assert of_stream(events, "a.mp4") and of_stream(events, "z.mp4")
    for outcome in outcomes[1:-1]:
        message = str(outcome.error)
        assert isinstance(outcome.error, SourceError)
        assert message.startswith(str(tmp_path / outcome.stream_id) + ": ")
        assert HOPELESS[outcome.stream_id][1] in message
        assert "\n" not in message
        assert not of_stream(events, outcome.stream_id)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("ts", "mpeg2video")])
def test_8k_is_refused_before_it_is_decoded(suffix: str, codec: str, tmp_path: Path) -> None:
    path = write_huge(tmp_path / f"8k.{suffix}", codec)
    began_s = time.monotonic()
    seen = view(path)
    assert time.monotonic() - began_s < 1
    assert isinstance(seen.error, PictureTooLarge)
    assert "7680x4320" in str(seen.error) and "sampling.max_pixels" in str(seen.error)
    assert (seen.tally.pictures, seen.tally.damaged_packets, seen.samples) == (0, 0, [])
    assert view(path, max_pixels=7680 * 4320).error is None


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_growing_to_8k_is_refused_and_what_came_before_is_kept(codec: str, tmp_path: Path) -> None:
    options = STEADY if codec == "libx264" else {}
    small = write_clip(tmp_path / "a.ts", codec=codec, options=options)
    large = write_huge(tmp_path / "b.ts", codec)
    seen = view(joined(tmp_path / "ab.ts", small, large))
    assert isinstance(seen.error, PictureTooLarge)
    assert seen.numbers == {k: -(-25 * k // 8) for k in range(16)}
    assert [w.span.first_ordinal for w in seen.windows] == [0, 4, 8]


def test_a_large_picture_in_passing_is_damage_and_the_rest_goes_on(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "a.ts")
    large = write_huge(tmp_path / "b.ts")
    later = write_clip(tmp_path / "c.ts", first=100)
    seen = view(joined(tmp_path / "abc.ts", small, large, later))
    assert seen.error is None
    assert max(seen.numbers.values()) == 147
    assert seen.tally.damaged_packets == 2
    assert seen.tally.corrupt > 0


def clip_of(kind: str, folder: Path) -> Path:
    path = folder / f"whole.{kind.split()[0]}"
    if kind == "webm":
        return write_clip(path, count=150, codec="libvpx-vp9", options=VP9 | {"g": "25"})
    return write_clip(path, count=150, muxing=FAST_START if kind == "mp4" else None)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["mp4", "webm", "mkv", "ts"])
def test_a_file_cut_off_gives_what_is_there(kind: str, share: float, tmp_path: Path) -> None:
    whole = clip_of(kind, tmp_path)
    seen = view(cut(tmp_path / f"cut.{kind}", whole, share))
    assert seen.error is None
    assert share - 0.15 < seen.tally.pictures / 150 <= share + 0.05
    sure = [sample for sample in seen.samples if not sample.corrupt]
    assert len(sure) >= len(seen.samples) - 1
    assert view_numbers(seen) == {s.ordinal: -(-25 * s.ordinal // 8) for s in sure}
    if kind != "ts":  # whose header promises nothing
        assert seen.tally.truncated
        assert seen.ends[-1].truncated
    assert not view(whole).tally.truncated


def view_numbers(seen: View) -> dict[int, int]:
    sound = View(samples=[sample for sample in seen.samples if not sample.corrupt])
    return sound.numbers


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "h264"])
def test_damage_in_mid_file_is_flagged_up_to_the_next_key_frame(
    kind: str, seed: int, tmp_path: Path
) -> None:
    whole = clip_of(kind, tmp_path)
    seen = view(scratched(tmp_path / f"scratched.{kind}", whole, seed=seed))
    assert seen.error is None
    assert seen.tally.pictures > 75
    assert seen.tally.corrupt > 0
    assert any(Flag.CORRUPT in window.span.flags for window in seen.windows)
    view_numbers(seen)  # what isn't flagged is legible


def test_flags_reach_the_events(recognizer: Recognizer, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", count=150, muxing=FAST_START)
    cut(tmp_path / "cut.mp4", whole, 0.8)
    scratched(tmp_path / "scratched.mp4", whole, seed=1)
    outcomes, events = analyzed(recognizer, tmp_path, root=tmp_path)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    flags = {
        o.stream_id: {f for e in of_stream(events, o.stream_id) for f in e.flags} for o in outcomes
    }
    assert {Flag.TRUNCATED, Flag.PARTIAL} <= flags["cut.mp4"]
    assert Flag.CORRUPT in flags["scratched.mp4"]
    assert flags["whole.mp4"] <= {Flag.PARTIAL}


def test_a_second_run_gives_the_same_event_ids(recognizer: Recognizer, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", count=150, muxing=FAST_START)
    scratched(tmp_path / "scratched.mp4", whole, seed=2)
    _, first = analyzed(recognizer, tmp_path, root=tmp_path)
    _, second = analyzed(recognizer, tmp_path, root=tmp_path)
    assert first
    assert [(e.event_id, e.seq, e.type) for e in first] == [
        (e.event_id, e.seq, e.type) for e in second
    ]
