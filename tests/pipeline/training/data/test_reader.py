"""The right pictures of real files, whatever the file; and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode import Scaler
from pipeline.errors import NotAVideo, SourceError, SourceNotFound
from pipeline.settings import PictureSpec
from pipeline.training.data import Example
from pipeline.training.data.reader import read_clip
from pipeline.training.data.sampling import FrameRule, Kept
from tests.clips import (
    QUICK,
    STEADY,
    cut,
    drawn,
    read_number,
    scratched,
    write_clip,
    write_sound,
    write_turned,
)
from tests.pipeline.training.data.conftest import write_jpeg

SHORT = 64
B_FRAMES = QUICK | {"x264-params": "bframes=3:b-adapt=0"}
FAST_START = {"movflags": "faststart"}
ALL = Kept(None)


def example(path: Path, **span: float) -> Example:
    return replace(Example(path=path, label=0, key=path.name), **span)  # type: ignore[arg-type]


def numbers(path: Path, choose: Callable[[int], np.ndarray] = ALL, **span: float) -> list[int]:
    clip = read_clip(example(path, **span), choose, short_side_px=SHORT)
    assert clip.shape[1] == SHORT
    left = (clip.shape[2] - SHORT) // 2
    return [read_number(picture[:, left : left + SHORT]) for picture in clip]


@pytest.mark.parametrize("options", [STEADY, B_FRAMES])
def test_every_picture_of_a_video_in_order(tmp_path: Path, options: dict[str, str]) -> None:
    path = write_clip(tmp_path / "a.mp4", count=30, options=options)
    assert numbers(path) == list(range(30))
    assert numbers(path, FrameRule(frames=3).test) == [5, 15, 25]
    assert numbers(path, FrameRule(frames=3, sampling="dense", stride=20).test) == [0, 20, 29]


def test_hidden_pictures_of_a_codec_are_not_counted(tmp_path: Path) -> None:
    hidden = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"}
    for codec in ("libvpx", "libvpx-vp9"):
        path = write_clip(tmp_path / f"{codec}.webm", count=60, codec=codec, options=hidden)
        assert numbers(path) == list(range(60))
        assert numbers(path, FrameRule(frames=3).test) == [10, 30, 50]


def test_a_span_is_in_seconds_from_the_first_picture_and_half_open(tmp_path: Path) -> None:
    late = [5000 + 40 * place for place in range(50)]
    path = write_clip(tmp_path / "a.mkv", count=50, pts_ms=late)
    assert numbers(path, start_s=0.4, end_s=0.6) == [10, 11, 12, 13, 14]
    assert numbers(path, start_s=1.9) == [48, 49]
    assert numbers(path, end_s=0.08) == [0, 1]
    with pytest.raises(NotAVideo, match="not one picture in the span"):
        numbers(path, start_s=99.0)


def test_a_span_in_frames_counts_from_one_and_is_inclusive(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", count=20)
    assert numbers(path, first_frame=3, last_frame=5) == [2, 3, 4]
    assert numbers(path, first_frame=19, last_frame=400) == [18, 19]


def test_a_folder_of_pictures_is_read_by_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in (2, 10, 1):
        write_jpeg(folder / f"img_{number}.jpg", number)
    write_jpeg(folder / "img_11.png", 11, codec="png", pix_fmt="rgb24")
    (folder / "notes.txt").touch()
    assert numbers(folder) == [1, 2, 10, 11]
    assert numbers(folder, first_frame=2, last_frame=3) == [2, 10]
    assert numbers(folder, FrameRule(frames=8).test) == [1, 1, 2, 2, 10, 10, 11, 11]


def test_pictures_are_upright_and_keep_their_shape(tmp_path: Path) -> None:
    turned = write_turned(tmp_path / "turned.mp4", 90)
    assert numbers(turned)[:3] == [0, 1, 2]
    wide = write_clip(tmp_path / "wide.mp4", count=2, size=(160, 120))
    assert read_clip(example(wide), ALL, short_side_px=SHORT).shape == (2, 64, 85, 3)
    long = write_clip(tmp_path / "long.mp4", count=2, size=(640, 120))
    assert read_clip(example(long), ALL, short_side_px=SHORT).shape == (2, 64, 128, 3)
    stretched = write_clip(
        tmp_path / "par.mp4", count=2, size=(160, 120), pixel_aspect=Fraction(3, 4)
    )
    assert read_clip(example(stretched), ALL, short_side_px=SHORT).shape == (2, 64, 64, 3)


def test_the_centre_is_what_the_pipeline_itself_sees(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", count=1, size=(160, 120))
    clip = read_clip(example(path), ALL, short_side_px=SHORT)
    import av

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        scaler = Scaler(PictureSpec(size_px=SHORT, short_side_px=SHORT))
        high = scaler.scale(frame, pixel_aspect=Fraction(1))
    left = (clip.shape[2] - SHORT) // 2
    assert (clip[0, :, left : left + SHORT] == high).all()


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mp4", count=100, muxing=FAST_START)
    with pytest.raises(NotAVideo, match="cut short: its header promises 100 pictures"):
        numbers(cut(tmp_path / "cut.mp4", whole, 0.5))


def test_damage_within_a_file_costs_no_more_than_its_pictures(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mp4", count=100, muxing=FAST_START)
    path = scratched(tmp_path / "b.mp4", whole, seed=1)
    clip = read_clip(example(path), FrameRule(frames=8).test, short_side_px=SHORT)
    assert clip.shape == (8, 64, 85, 3)


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello\n" * 100)
    (tmp_path / "page.mp4").write_text("<html>Not found</html>")
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.jpg").write_bytes(b"\xff\xd8\xff nothing")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(SourceError) as refused:
            numbers(path)
        assert path.name in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(SourceNotFound):
        numbers(tmp_path / "nowhere.mp4")


def test_pictures_that_change_their_size_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    write_jpeg(folder / "1.jpg", 1)
    encoded = write_clip(
        tmp_path / "2.png",
        pictures=[drawn(2, (160, 120))],
        size=(160, 120),
        codec="png",
        pix_fmt="rgb24",
        options={},
        container="image2",
    )
    encoded.rename(folder / "2.png")
    with pytest.raises(NotAVideo, match="change their size"):
        numbers(folder)
