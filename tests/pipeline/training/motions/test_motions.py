import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.training.motions import LABELS, LONG_RANGE, MIRROR, REVERSE, MotionSpec, make_motions
from pipeline.training.motions import classes as c
from pipeline.training.motions.background import background_for
from pipeline.training.motions.render import Finish, render
from pipeline.training.motions.scene import Scene, stage
from pipeline.training.motions.stock import Stock, StockFiles, deal, find_pictures, read_stock

MOMENTS = np.linspace(0, 1, 8)


def scenes(label: str, count: int = 60) -> Iterator[Scene]:
    for seed in range(count):
        yield stage(label, MOMENTS, np.random.default_rng(seed))


def ignore(_: int) -> None:
    pass


@pytest.fixture(scope="module")
def stock(pictures: Path) -> Stock:
    files = StockFiles(
        things=tuple(find_pictures(pictures / "things", (".png",), "cut-outs")),
        stills=tuple(find_pictures(pictures / "stills", (".jpg",), "photographs")),
        videos=tuple(find_pictures(pictures / "videos", (".mp4",), "videos")),
    )
    return read_stock(files, 8.0)


@pytest.mark.parametrize("flip", [MIRROR, REVERSE])
def test_a_flip_done_twice_leaves_every_label(flip: dict[str, str]) -> None:
    assert set(flip) <= set(LABELS)
    assert all(flip[flip[label]] == label for label in flip)


def test_long_range_classes_survive_playing_backwards() -> None:
    assert not set(LONG_RANGE) & set(REVERSE)


@pytest.mark.parametrize(
    ("label", "axis", "sign"),
    [(c.LEFT, "x_M", -1), (c.RIGHT, "x_M", 1), (c.UP, "y_M", -1), (c.DOWN, "y_M", 1)],
)
def test_a_thing_moves_where_its_label_says_and_stays_in_view(
    label: str, axis: str, sign: int
) -> None:
    for scene in scenes(label):
        along = getattr(scene.tracks[-1], axis)
        assert sign * (along[-1] - along[0]) > 0.15
        assert (np.diff(sign * along) > -1e-9).all()
        assert ((along > 0.05) & (along < 0.95)).all()


@pytest.mark.parametrize(
    ("label", "axis", "sign"),
    [
        (c.LEFT_RIGHT, "x_M", -1),
        (c.RIGHT_LEFT, "x_M", 1),
        (c.UP_DOWN, "y_M", -1),
        (c.DOWN_UP, "y_M", 1),
    ],
)
def test_there_and_back_ends_where_it_began(label: str, axis: str, sign: int) -> None:
    for scene in scenes(label):
        along = sign * getattr(scene.tracks[-1], axis)
        reach = along.max() - along[0]
        assert reach > 0.12
        assert abs(along[-1] - along[0]) < 0.5 * reach
        assert 0 < along.argmax() < len(along) - 1


def test_what_comes_into_view_was_all_outside_and_what_leaves_is_at_last() -> None:
    for label, outside in ((c.INTO_VIEW, [0]), (c.OUT_OF_VIEW, [-1]), (c.IN_OUT, [0, -1])):
        for scene in scenes(label):
            track = scene.tracks[-1]
            off = np.maximum(abs(track.x_M - 0.5), abs(track.y_M - 0.5)) - 0.5 * track.scale_M
            assert all(off[n] > 0.5 for n in outside), label
            assert off.min() < 0.42, label


@pytest.mark.parametrize(
    ("label", "dx", "dy"),
    [
        (c.CAMERA_LEFT, 1, 0),
        (c.CAMERA_RIGHT, -1, 0),
        (c.CAMERA_UP, 0, 1),
        (c.CAMERA_DOWN, 0, -1),
    ],
)
def test_what_is_filmed_moves_against_the_camera(
    label: str, dx: int, dy: int, stock: Stock
) -> None:
    for seed in range(4):
        frames = drawn(label, stock, seed)
        shift = sum(np.array(cv2.phaseCorrelate(grey(a), grey(b))[0]) for a, b in pairwise(frames))
        along, across = (shift[0], shift[1]) if dx else (shift[1], shift[0])
        assert along * (dx + dy) > 2 * abs(across)
        assert along * (dx + dy) > 0.1 * 64


def drawn(label: str, stock: Stock, seed: int) -> np.ndarray:
    """Over a photograph, in steady light; nothing but background and what the label asks for."""
    rng = np.random.default_rng(seed)
    scene = stage(label, MOMENTS, rng)
    scene.tracks.clear()
    background = background_for("photograph", stock, 8, rng, must_show_motion=True)
    steady = Finish(gain_F=np.ones(8), gamma=1.0, tint_C=np.ones(3), blur_px=0.0, noise=0.0)
    return render(scene, [], background, frames=8, shutter=1, size_px=64, finish=steady, rng=rng)


def grey(frame: np.ndarray) -> np.ndarray:
    return frame.mean(axis=2)


def test_doing_nothing_leaves_the_picture_as_it_is(stock: Stock) -> None:
    frames = drawn(c.NOTHING, stock, 3).astype(int)
    assert np.abs(frames - frames[0]).mean() < 6


def test_a_data_set_has_manifests_maps_sheets_and_videos_that_decode(
    spec: MotionSpec, tmp_path: Path
) -> None:
    made: list[int] = []
    make_motions(tmp_path / "out", spec, progress=made.append)
    assert sum(made) == 39
    maps = json.loads((tmp_path / "out/labels.json").read_text())
    assert maps["labels"] == list(LABELS)
    with (tmp_path / "out/train/manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [LABELS[n % len(LABELS)] for n in range(30)]
    with av.open(str(tmp_path / "out" / rows[7]["path"])) as video:
        assert [(f.width, f.height) for f in video.decode(video=0)] == [(48, 48)] * 8
    assert cv2.imread(str(tmp_path / "out/test-video/sheet.png")) is not None


def test_the_same_seed_gives_the_same_clips_in_any_number_of_processes(
    spec: MotionSpec, tmp_path: Path
) -> None:
    spec = replace(spec, clips={"train": 20})
    make_motions(tmp_path / "one", spec, progress=ignore)
    make_motions(tmp_path / "two", replace(spec, processes=2), progress=ignore)
    make_motions(tmp_path / "other", replace(spec, seed=6), progress=ignore)
    one, two, other = (content(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def content(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(root.rglob("*.mp4"))]


def test_splits_share_no_picture_and_both_tests_have_the_same(
    spec: MotionSpec, tmp_path: Path
) -> None:
    make_motions(tmp_path / "out", spec, progress=ignore)
    used = json.loads((tmp_path / "out/recipe.json").read_text())["pictures"]
    for kind in ("things", "stills", "videos"):
        parts = [set(used[split][kind]) for split in ("train", "validation", "test")]
        assert len(set.union(*parts)) == sum(len(part) for part in parts)
    assert used["test"] == used["test-video"]


def test_files_are_dealt_out_by_name_wherever_they_lie() -> None:
    names = [f"{n}.png" for n in range(10)]
    shares = {"train": 0.7, "test": 0.3}
    here, there = (
        {split: {p.name for p in part} for split, part in deal(paths, shares).items()}
        for paths in ([Path("a") / n for n in names], [Path("b") / n for n in reversed(names)])
    )
    assert here == there
    assert [len(part) for part in here.values()] == [7, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"things": Path("/nowhere")}, "/nowhere: no such folder"),
        ({"clips": {"tset": 1}}, "no such split: ['tset']"),
        ({"clips": {}}, "want some of train"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(
    change: dict[str, object], said: str, spec: MotionSpec, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as refused:
        make_motions(tmp_path / "out", replace(spec, **change), progress=ignore)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_that_holds_something_is_left_alone(spec: MotionSpec, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        make_motions(tmp_path, spec, progress=ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_picture_is_named(spec: MotionSpec, pictures: Path, tmp_path: Path) -> None:
    things = tmp_path / "things"
    things.mkdir()
    for path in (pictures / "things").iterdir():
        (things / path.name).write_bytes(path.read_bytes())
    (things / "arrow0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"arrow0\.png: not a picture"):
        make_motions(tmp_path / "out", replace(spec, things=things), progress=ignore)
