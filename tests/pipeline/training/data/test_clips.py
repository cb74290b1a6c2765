"""Batches that can be repeated, from files and from a cache; broken files; views for tests."""

import os
import shutil
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, DataError
from pipeline.training.data import AugmentSpec, Batch, Clips, DataConfig, DataSet, open_dataset
from tests.clips import read_number

Video = Callable[..., Path]
SPEC = AugmentSpec(reverse=True, brightness=0.1)


def clips_of(root: Path, *, split: str = "train", train: bool = True, **said: object) -> Clips:
    config = DataConfig.model_validate({"root": root, **said})
    return Clips.of(config, open_dataset(config, split), frames=4, size_px=32, train=train)


def batches(clips: Clips, *, batch_size: int = 2, **said: object) -> list[Batch]:
    usual = {"seed": 5, "epoch": 1, "augment": SPEC, "drop_last": True}
    return list(clips.batches(batch_size=batch_size, **{**usual, **said}))  # type: ignore[arg-type]


def same(left: Iterable[Batch], right: Iterable[Batch]) -> bool:
    return all(
        torch.equal(a.clips_NTHWC, b.clips_NTHWC)
        and torch.equal(a.labels_N, b.labels_N)
        and a.keys == b.keys
        for a, b in zip(left, right, strict=True)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, video: Video) -> Path:
    root = tmp_path_factory.mktemp("data")
    for number in range(14):
        side = "left" if number % 2 else "right"
        video(root / "train" / f"go {side}" / f"{number}.mp4", first=10 * number, count=12)
    (root / "labels.json").write_text('{"reverse": {"go left": "go right", "go right": "go left"}}')
    return root


def test_a_batch_holds_bytes_labels_and_keys(root: Path) -> None:
    found = batches(clips_of(root), batch_size=4)
    assert len(found) == 3
    assert found[0].clips_NTHWC.shape == (4, 4, 32, 32, 3)
    assert found[0].clips_NTHWC.dtype == torch.uint8
    assert found[0].labels_N.dtype == torch.int64
    assert found[0].keys[0].startswith("train/go ")


def test_an_epoch_has_every_clip_once_and_another_epoch_another_order(root: Path) -> None:
    clips = clips_of(root)
    first, second = (
        [key for b in batches(clips, epoch=epoch, drop_last=False) for key in b.keys]
        for epoch in (0, 1)
    )
    assert sorted(first) == sorted(second) == sorted(e.key for e in clips.dataset.examples)
    assert first != second


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 9), first=st.integers(0, 6))
def test_a_run_that_goes_on_sees_what_it_would_have_seen(
    root: Path, seed: int, epoch: int, first: int
) -> None:
    whole = batches(clips_of(root, workers=1), seed=seed, epoch=epoch)
    rest = batches(clips_of(root, workers=3), seed=seed, epoch=epoch, first_batch=first)
    assert len(whole) == 7
    assert same(whole[first:], rest)


def test_other_seeds_and_epochs_give_other_clips(root: Path) -> None:
    clips = clips_of(root)
    usual = batches(clips, batch_size=14)[0]
    for said in ({"seed": 6}, {"epoch": 2}):
        other = batches(clips, batch_size=14, **said)[0]
        assert not torch.equal(usual.clips_NTHWC, other.clips_NTHWC)


def test_shards_share_out_the_batches_of_one_process(root: Path) -> None:
    clips = clips_of(root)
    together = batches(clips, batch_size=4)
    parts = [batches(clips, batch_size=2, shard=shard, shards=2) for shard in (0, 1)]
    assert [len(part) for part in parts] == [3, 3]
    for whole, left, right in zip(together, *parts, strict=True):
        assert torch.equal(whole.clips_NTHWC, torch.cat([left.clips_NTHWC, right.clips_NTHWC]))
        assert whole.keys == left.keys + right.keys


def test_the_label_follows_the_flips(root: Path) -> None:
    clips = clips_of(root)
    plain = dict(zip(*keys_and_labels(clips, None), strict=True))
    flipped = dict(zip(*keys_and_labels(clips, AugmentSpec(reverse=True)), strict=True))
    assert {key: clips.dataset.labels[label] for key, label in plain.items()} == {
        key: key.split("/")[1] for key in plain
    }
    changed = [key for key in plain if plain[key] != flipped[key]]
    assert 0 < len(changed) < len(plain)


def keys_and_labels(clips: Clips, augment: AugmentSpec | None) -> tuple[list[str], list[int]]:
    batch = batches(clips, batch_size=14, augment=augment)[0]
    return list(batch.keys), batch.labels_N.tolist()


def test_training_takes_random_pictures_and_a_test_always_the_same(root: Path) -> None:
    train = clips_of(root, short_side_px=32)
    test = clips_of(root, short_side_px=32, train=False)
    seen = [batches(train, epoch=e, augment=None, batch_size=14)[0] for e in (0, 1)]
    assert not torch.equal(*(order_by_key(b) for b in seen))
    steady = [batches(test, epoch=e, augment=None, batch_size=14)[0] for e in (0, 1)]
    assert same(*([b] for b in steady))
    number = 10 * int(Path(steady[0].keys[0]).stem)
    shown = [read_number(picture) for picture in steady[0].clips_NTHWC[0].numpy()]
    assert shown == [number + place for place in (1, 4, 7, 10)]


def order_by_key(batch: Batch) -> torch.Tensor:
    return batch.clips_NTHWC[np.argsort(batch.keys)]


def test_a_cache_gives_the_same_batches_as_the_files(root: Path, tmp_path: Path) -> None:
    assert same(batches(clips_of(root)), batches(clips_of(root, cache=tmp_path / "cache")))


def test_a_cache_is_made_once_and_used_after_that(root: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(root, tmp_path / "data")
    told: list[tuple[int, int]] = []
    config = DataConfig(root=moved, cache=tmp_path / "cache")
    dataset = open_dataset(config, "train")

    def made() -> Clips:
        return Clips.of(
            config, dataset, frames=4, size_px=32, train=True, progress=lambda *n: told.append(n)
        )

    before = batches(made())
    assert told == [(n + 1, 14) for n in range(14)]
    told.clear()
    after = batches(made())
    assert told == []
    assert same(before, after)
    (moved / "train" / "go left" / "1.mp4").touch()
    made()
    assert told


def stored(folder: Path) -> Path:
    (path,) = folder.glob("*.clips")
    return path


@pytest.mark.parametrize("place", [0, 0.4, 0.999, 0.9999])
def test_a_damaged_cache_is_made_anew(root: Path, tmp_path: Path, place: float) -> None:
    before = batches(clips_of(root, cache=tmp_path))
    path = stored(tmp_path)
    good = path.read_bytes()
    data = bytearray(good)
    data[int(len(data) * place)] ^= 0xFF
    path.write_bytes(data)
    assert same(before, batches(clips_of(root, cache=tmp_path)))
    assert path.read_bytes() == good


@pytest.mark.parametrize("data", [b"", b"another program's file", bytes(200)])
def test_a_foreign_file_in_the_place_of_a_cache_is_made_anew(
    root: Path, tmp_path: Path, data: bytes
) -> None:
    before = batches(clips_of(root, cache=tmp_path))
    stored(tmp_path).write_bytes(data)
    assert same(before, batches(clips_of(root, cache=tmp_path)))


def test_a_cache_that_was_cut_short_or_never_finished_is_made_anew(
    root: Path, tmp_path: Path
) -> None:
    before = batches(clips_of(root, cache=tmp_path))
    path = stored(tmp_path)
    path.with_name(f".{path.name}.part").write_bytes(path.read_bytes()[:5000])
    os.truncate(path, path.stat().st_size // 2)
    assert same(before, batches(clips_of(root, cache=tmp_path)))
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".clips", ".lock"]


def test_another_size_has_a_cache_of_its_own(root: Path, tmp_path: Path) -> None:
    clips_of(root, cache=tmp_path)
    clips_of(root, cache=tmp_path, short_side_px=48)
    clips_of(root, cache=tmp_path, cache_frames=4)
    assert len(list(tmp_path.glob("*.clips"))) == 3


def test_two_processes_that_want_the_same_cache_make_it_once(root: Path, tmp_path: Path) -> None:
    context = get_context("spawn")
    workers = [
        context.Process(target=clips_of, args=(root,), kwargs={"cache": tmp_path}) for _ in "ab"
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(list(tmp_path.glob("*.clips"))) == 1


def test_a_cache_that_cannot_be_written_is_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data.cache .*: can't be written to"):
        clips_of(root, cache=tmp_path / "file")


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(root: Path, tmp_path: Path) -> None:
    clips_of(root, cache=tmp_path)
    path = stored(tmp_path)
    path.unlink()
    path.with_name(f".{path.name}.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left on device; give"):
        clips_of(root, cache=tmp_path)
    assert [p.suffix for p in tmp_path.iterdir()] == [".lock"]


@pytest.fixture
def damaged(root: Path, tmp_path: Path) -> Path:
    """Two files of fourteen are broken."""
    copy = shutil.copytree(root, tmp_path / "damaged")
    for name in ("go right/4.mp4", "go left/9.mp4"):
        path = copy / "train" / name
        path.unlink()
        path.write_bytes(b"not a video")
    return copy


BROKEN = {"train/go right/4.mp4", "train/go left/9.mp4"}


def test_more_broken_files_than_allowed_stop_the_run(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"1 of 14 clips can't be used so far, more than data.max_b"
    ):
        clips_of(damaged, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.clips"))
    assert not list((tmp_path / "cache").glob(".*.part"))
    clips = clips_of(damaged)
    with pytest.raises(DataError, match="can't be used"):
        batches(clips)


def test_broken_files_are_listed_and_skipped(damaged: Path, tmp_path: Path) -> None:
    for _ in range(2):
        clips = clips_of(damaged, cache=tmp_path / "cache", max_broken=0.2)
        assert len(clips) == 12
        assert {broken.key for broken in clips.broken} == BROKEN
        assert all("no video can be found" in broken.reason for broken in clips.broken)
        seen = [key for b in batches(clips, drop_last=False) for key in b.keys]
        assert len(seen) == len(set(seen)) == 12


def test_without_a_cache_a_broken_clip_is_replaced_in_training_and_left_out_of_a_test(
    damaged: Path,
) -> None:
    clips = clips_of(damaged, max_broken=0.2)
    found = batches(clips)
    assert [len(b.keys) for b in found] == [2] * 7
    assert not BROKEN & {key for b in found for key in b.keys}
    assert {broken.key for broken in clips.broken} == BROKEN
    assert same(found[3:], batches(clips_of(damaged, max_broken=0.2), first_batch=3))
    test = clips_of(damaged, max_broken=0.2, train=False)
    assert sum(len(views.keys) for views in test.views(3)) == 12


def test_a_set_of_which_nothing_can_be_used_is_refused(damaged: Path, tmp_path: Path) -> None:
    for path in (damaged / "train").glob("*/*.mp4"):
        path.unlink()
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="not one clip"):
        clips_of(damaged, cache=tmp_path / "cache", max_broken=1)
    with pytest.raises(DataError, match="100 clips in a row can't be used"):
        batches(clips_of(damaged, max_broken=1))


def test_views_give_each_example_by_its_clips_and_crops(tmp_path: Path, video: Video) -> None:
    for number in range(3):
        video(tmp_path / "train" / "a" / f"{number}.mp4", first=number * 40, count=24)
    config = DataConfig(root=tmp_path, short_side_px=64)
    dataset = open_dataset(config, "train")
    clips = Clips.of(config, dataset, frames=4, size_px=64, train=False)
    parts = list(clips.views(2, crops=1, clips=3))
    assert [len(part.keys) for part in parts] == [2, 1]
    assert parts[0].clips_NVTHWC.shape == (2, 3, 4, 64, 64, 3)
    seen = [[read_number(p) - 40 for p in clip] for clip in parts[0].clips_NVTHWC[1].numpy()]
    assert seen == [[1, 7, 13, 19], [3, 9, 15, 21], [5, 11, 17, 23]]


def test_three_crops_are_the_ends_and_the_middle(root: Path) -> None:
    clips = clips_of(root, train=False, short_side_px=36)
    one, three = (next(clips.views(14, crops=crops)).clips_NVTHWC for crops in (1, 3))
    assert three.shape == (14, 3, 4, 32, 32, 3)
    assert torch.equal(three[:, 1], one[:, 0])
    assert torch.equal(three[:, 0, :, :, 4:], three[:, 2, :, :, :-4])
    with pytest.raises(ConfigError, match="1 or 3 crops"):
        next(clips.views(2, crops=2))


def test_closing_a_batch_iterator_ends_its_threads(root: Path) -> None:
    import threading

    before = threading.active_count()
    iterator = clips_of(root).batches(batch_size=2, seed=0, epoch=0, augment=None, drop_last=True)
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"short_side_px": 32, "size_px": 64}, "short_side_px=32: want an even number"),
        ({"cache_frames": 2}, "cache_frames=2 is less than the 4 frames"),
        ({"cache_frames": 8, "sampling": "dense"}, "dense sampling, which needs all"),
    ],
)
def test_knobs_that_contradict_each_other_are_refused(
    root: Path, tmp_path: Path, said: dict[str, object], complaint: str
) -> None:
    dataset: DataSet = open_dataset(DataConfig(root=root), "train")
    usual: dict[str, object] = {"frames": 4, "size_px": 32, "train": True, "cache": tmp_path}
    with pytest.raises(ConfigError, match=complaint):
        Clips(dataset, **{**usual, **said})  # type: ignore[arg-type]
