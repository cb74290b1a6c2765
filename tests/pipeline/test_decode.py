"""Strange but sound video: the right pictures at the right grid points, upright, at any format."""

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.records import NS
from pipeline.source import Feed
from tests.clips import (
    QUICK,
    STEADY,
    drawn,
    joined,
    read_number,
    write_clip,
    write_turned,
)
from tests.viewing import view

VP9 = {"cpu-used": "8", "deadline": "realtime"}
B_FRAMES = QUICK | {"x264-params": "bframes=3:b-adapt=0"}
INTERLACED = STEADY | {"x264-params": "bframes=0:tff=1"}
FIELDS = {"flags": "+ilme+ildct", "b": "2000000"}
TURN_NS = (1 << 33) * NS // 90_000

Maker = Callable[[Path], Path]


def due(fps: Fraction | int, count: int = 50, sample_fps: int = 8) -> dict[int, int]:
    """Grid point k shows the first picture at or after k / sample_fps."""
    step = Fraction(fps) / sample_fps
    return {k: ceil(k * step) for k in range(int(count / step) + 1) if ceil(k * step) < count}


SOUND: dict[str, tuple[str, Maker]] = {
    "b-frames": ("mp4", lambda p: write_clip(p, options=B_FRAMES)),
    "mpeg-ts": ("ts", write_clip),
    "matroska": ("mkv", lambda p: write_clip(p, options=B_FRAMES)),
    "raw h264, no times": ("h264", write_clip),
    "raw h264 with b-frames": ("h264", lambda p: write_clip(p, options=B_FRAMES)),
    "avi, no presentation times": (
        "avi",
        lambda p: write_clip(p, codec="mpeg4", options={"bf": "2"}),
    ),
    "odd size": ("mp4", lambda p: write_clip(p, size=(161, 121), pix_fmt="yuv444p")),
    "odd size, 4:2:0": (
        "webm",
        lambda p: write_clip(p, size=(161, 121), codec="libvpx-vp9", options=VP9),
    ),
    "10 bits": ("mp4", lambda p: write_clip(p, pix_fmt="yuv420p10le")),
    "4:4:4, h265": (
        "mkv",
        lambda p: write_clip(
            p,
            codec="libx265",
            pix_fmt="yuv444p",
            options={"preset": "ultrafast", "x265-params": "log-level=none"},
        ),
    ),
    "grey": ("mp4", lambda p: write_clip(p, pix_fmt="gray")),
    "alpha, vp9": (
        "webm",
        lambda p: write_clip(p, codec="libvpx-vp9", pix_fmt="yuva420p", options=VP9),
    ),
    "alpha, prores 4444": (
        "mov",
        lambda p: write_clip(p, codec="prores_ks", pix_fmt="yuva444p10le", options={}),
    ),
    "alpha, qtrle": ("mov", lambda p: write_clip(p, codec="qtrle", pix_fmt="argb", options={})),
    "interlaced, h264": ("mp4", lambda p: write_clip(p, options=INTERLACED)),
    "interlaced, mpeg2": ("ts", lambda p: write_clip(p, codec="mpeg2video", options=FIELDS)),
    "wide pixels": ("mp4", lambda p: write_clip(p, pixel_aspect=Fraction(4, 3))),
    "narrow pixels": ("mp4", lambda p: write_clip(p, pixel_aspect=Fraction(2, 3))),
    "upright format": ("mp4", lambda p: write_clip(p, size=(120, 160))),
    "smaller than the network's": ("mp4", lambda p: write_clip(p, size=(48, 36))),
}


@pytest.mark.parametrize("name", SOUND)
def test_strange_but_sound_video_shows_the_right_pictures(name: str, tmp_path: Path) -> None:
    suffix, make = SOUND[name]
    seen = view(make(tmp_path / f"clip.{suffix}"))
    assert seen.error is None
    assert seen.numbers == due(25)
    assert seen.reasons == ["end"]
    assert (seen.tally.pictures, seen.tally.corrupt, seen.tally.truncated) == (50, 0, False)
    assert [w.span.first_ordinal for w in seen.windows] == [0, 4, 8]


@pytest.mark.parametrize("fps", [25, 10, 5, Fraction(30_000, 1001), Fraction(1, 2)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_any_constant_rate_is_sampled_alike(
    fps: Fraction | int, suffix: str, tmp_path: Path
) -> None:
    seen = view(write_clip(tmp_path / f"clip.{suffix}", fps=fps), max_gap_s=3)
    assert seen.numbers == due(fps)
    assert not seen.tally.truncated


def test_a_variable_rate_is_sampled_by_time(tmp_path: Path) -> None:
    times_ms = [0, 7, 100, 101, 350, 351, 800, 900, 1750, 1751, 2000]
    seen = view(write_clip(tmp_path / "clip.mp4", pts_ms=times_ms))
    # t(ms)   0 125 250 375 500 625 750 875 1000 … 1750 1875 2000
    shown = [0, 4, 4, 6, 6, 6, 6, 7, 8, 8, 8, 8, 8, 8, 8, 10, 10]
    assert seen.numbers == dict(enumerate(shown))
    assert seen.tally.repeated == 11


@pytest.mark.parametrize("clockwise", [90, 180, 270])
@pytest.mark.parametrize("size", [(160, 120), (120, 160)])
def test_a_turned_video_is_shown_upright(
    clockwise: int, size: tuple[int, int], tmp_path: Path
) -> None:
    seen = view(write_turned(tmp_path / "clip.mp4", clockwise, size=size))
    assert seen.numbers == due(25)


def test_a_file_seen_twice_gives_the_same_windows_to_the_pixel(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", options=B_FRAMES)
    first, second = view(path), view(path)
    assert len(first.windows) == 3
    for one, other in zip(first.windows, second.windows, strict=True):
        assert one.span.first_ordinal == other.span.first_ordinal
        assert np.array_equal(one.pts_ns_T, other.pts_ns_T)
        assert np.array_equal(one.little_PHWC, other.little_PHWC)
        assert np.array_equal(one.big_PHWC, other.big_PHWC)


@pytest.mark.parametrize("before_s", [1, 90])
def test_a_wrap_of_the_33_bit_clock_is_no_jump(before_s: int, tmp_path: Path) -> None:
    start_us = TURN_NS // 1000 - before_s * 1_000_000
    fps = Fraction(25) if before_s == 1 else Fraction(1, 2)
    path = write_clip(
        tmp_path / "clip.ts", fps=fps, count=70, muxing={"output_ts_offset": f"{start_us}us"}
    )
    seen = view(path, max_gap_s=3)
    assert seen.reasons == ["end"]
    assert seen.numbers == due(fps, 70)
    times = [sample.pts_ns for sample in seen.samples]
    assert times == sorted(times)


def test_windows_do_not_straddle_a_gap(tmp_path: Path) -> None:
    times_ms = [*range(0, 1600, 40), *range(4600, 6000, 40)]  # 3 s without a picture
    seen = view(write_clip(tmp_path / "clip.mp4", pts_ms=times_ms, count=75))
    assert seen.reasons == ["gap", "end"]
    assert seen.tally.gaps == {"gap": 1}
    for window in seen.windows:
        assert window.pts_ns_T[-1] < 1.6 * NS or window.pts_ns_T[0] >= 4.6 * NS
    # t(ms)   0 … 1500 | 4600 … 5900       points 0 … 12 | 36 … 47: one grid for the whole file
    assert [w.span.first_ordinal for w in seen.windows] == [0, 4, 8, 36, 40]


def test_joined_ts_files_go_on_after_the_jump_back(tmp_path: Path) -> None:
    first = write_clip(tmp_path / "a.ts")
    second = write_clip(tmp_path / "b.ts", first=100)
    seen = view(joined(tmp_path / "ab.ts", first, second))
    assert seen.reasons == ["jump", "end"]
    later = {16 + point: 100 + number for point, number in due(25).items()}
    assert seen.numbers == due(25) | later
    assert [w.span.first_ordinal for w in seen.windows] == [0, 4, 8, 16, 20, 24]


def test_a_change_of_size_ends_the_session(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "a.ts")
    large = write_clip(
        tmp_path / "b.ts", first=100, size=(320, 240), muxing={"output_ts_offset": "2000000us"}
    )
    seen = view(joined(tmp_path / "ab.ts", small, large))
    assert seen.reasons == ["resize", "end"]
    assert seen.tally.pictures == 100
    later = {k: n + 50 for k, n in due(25, 100).items() if n >= 50}
    assert seen.numbers == due(25) | later
    change_ns = seen.samples[0].pts_ns + 2 * NS
    for window in seen.windows:
        assert window.pts_ns_T[-1] < change_ns or window.pts_ns_T[0] >= change_ns


class _Forgetful(Feed):
    """A feed whose packets have lost some of their times."""

    def __init__(self, feed: Feed, without: range) -> None:
        self.__dict__ = feed.__dict__
        self._without = without

    def packets(self) -> "Iterator[Packet[VideoStream]]":
        for place, packet in enumerate(super().packets()):
            if place in self._without:
                packet.pts = None
            yield packet


@pytest.mark.parametrize("without", [range(50), range(1), range(1, 50), range(7, 50, 3)])
def test_missing_times_are_derived_from_the_neighbours(without: range, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4")
    seen = view(path, through=lambda feed: _Forgetful(feed, without))
    assert seen.numbers == due(25)
    assert seen.tally.untimed == len(without)


def test_pictures_that_come_late_are_dropped_and_counted(tmp_path: Path) -> None:
    def shuffle(place: int, packet: "Packet[VideoStream]") -> None:
        assert packet.dts is not None
        packet.pts = packet.dts + (3 if place % 10 == 5 else 0)

    # picture  … 4 5 6 7 8 9 …     5 says it is 8: 6 and 7 come late, 8 at the same time
    seen = view(write_clip(tmp_path / "clip.mkv", retime=shuffle))
    assert seen.tally.dropped == {"late": 10}
    assert seen.reasons == ["end"]
    times = [sample.pts_ns for sample in seen.samples]
    assert times == sorted(times)


@pytest.mark.parametrize("matrix", ["GBR", "YCgCo", "ICtCp", "bt2020c", "smpte170m"])
def test_any_colour_matrix_gives_a_picture(matrix: str, tmp_path: Path) -> None:
    said = f":colormatrix={matrix}"
    options = STEADY | {"x264-params": STEADY["x264-params"] + said}
    seen = view(write_clip(tmp_path / "clip.mp4", pix_fmt="yuv444p", options=options))
    assert seen.error is None
    if matrix != "GBR":  # whose planes are others, so that no number can be read
        assert seen.numbers == due(25)


@pytest.mark.parametrize("pixel_aspect", [Fraction(1, 40_000), Fraction(40_000)])
def test_pixels_of_an_impossible_shape_are_taken_for_square(
    pixel_aspect: Fraction, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "clip.mp4", pixel_aspect=Fraction(4, 3))
    at = path.read_bytes().index(b"pasp") + 4
    data = bytearray(path.read_bytes())
    data[at : at + 8] = struct.pack(">II", pixel_aspect.numerator, pixel_aspect.denominator)
    path.write_bytes(data)
    seen = view(path)
    assert seen.error is None
    assert len(seen.samples) == 16


def test_an_unreadable_number_is_noticed() -> None:
    turned = np.ascontiguousarray(np.rot90(drawn(37, (64, 64))))
    with pytest.raises(AssertionError):
        read_number(turned)
    assert read_number(drawn(37, (64, 64))) == 37
