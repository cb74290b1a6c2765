"""Every layout as it is published, with real videos; and what is said where one isn't right."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.training.data import Clips, DataConfig, DataSet, open_dataset
from pipeline.training.data.layouts import detect
from tests.clips import read_number

Video = Callable[..., Path]


def opened(root: Path, split: str = "train", **said: object) -> DataSet:
    return open_dataset(DataConfig.model_validate({"root": root, **said}), split)


def contents(dataset: DataSet) -> dict[str, str]:
    """Key -> label, after decoding every example."""
    clips = Clips(dataset, frames=4, size_px=64, short_side_px=64, train=False)
    seen = [v for views in clips.views(3) for v in zip(views.keys, views.labels_N, strict=True)]
    assert clips.broken == () or dataset.missing
    return {key: dataset.labels[int(label)] for key, label in seen}


def first_numbers(dataset: DataSet, frames: int) -> list[list[int]]:
    """Per example, the numbers that its pictures bear."""
    clips = Clips(dataset, frames=frames, size_px=64, short_side_px=64, train=False, max_broken=0.5)
    views = next(clips.views(len(clips))).clips_NVTHWC.numpy()
    return [[read_number(picture) for picture in clip[0]] for clip in views]


def test_a_folder_per_label_with_splits(tmp_path: Path, video: Video) -> None:
    video(tmp_path / "train" / "jump" / "a.mp4")
    video(tmp_path / "train" / "sit" / "b.webm")
    video(tmp_path / "val" / "sit" / "c.mp4")
    (tmp_path / "train" / "notes").mkdir()
    (tmp_path / "train" / "sit" / "read me.txt").touch()
    assert contents(opened(tmp_path)) == {"train/jump/a.mp4": "jump", "train/sit/b.webm": "sit"}
    validation = opened(tmp_path, "validation")
    assert validation.labels == ("jump", "sit")
    assert contents(validation) == {"val/sit/c.mp4": "sit"}


def test_a_folder_per_label_without_splits_holds_a_tenth_out_and_always_the_same(
    tmp_path: Path, video: Video
) -> None:
    for number in range(20):
        video(tmp_path / "jump" / f"{number}.mp4")
    video(tmp_path / "sit" / "x.mp4")
    video(tmp_path / "sit" / "y.mp4")
    train = {e.key for e in opened(tmp_path).examples}
    held_out = {e.key for e in opened(tmp_path, "validation").examples}
    assert len(train) == 19
    assert len(held_out) == 3
    assert not train & held_out
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert {e.key for e in opened(moved, "validation").examples} == held_out
    with pytest.raises(DataError, match="no folder for the split 'test'"):
        opened(moved, "test")


def test_a_clip_in_a_folder_per_label_may_be_a_folder_of_frames(
    tmp_path: Path, frame_folder: Callable[..., Path]
) -> None:
    frame_folder(tmp_path / "train" / "wave" / "clip", range(30, 34))
    dataset = opened(tmp_path)
    assert [e.key for e in dataset.examples] == ["train/wave/clip"]
    assert first_numbers(dataset, 4) == [[30, 31, 32, 33]]


def test_motion_clips_with_their_flips(motions: Path) -> None:
    dataset = opened(motions)
    assert detect(DataConfig(root=motions)) == "motions"
    assert dataset.mirror == (1, 0, None)
    assert dataset.reverse == (1, 0, 2)
    found = contents(dataset)
    assert len(found) == 6
    assert found["train/000/4.mp4"] == "moving right"
    assert len(opened(motions, "validation").examples) == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("000/9.mp4,moving left,23", r"manifest.csv, line 3: no such file: .*000/9.mp4"),
        ("000/1.mp4,flying,23", r"manifest.csv, line 3: 'flying' is none of the 3 labels"),
        ("000/1.mp4", r"manifest.csv, line 3: has 1 columns"),
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(motions: Path, line: str, complaint: str) -> None:
    manifest = motions / "train" / "manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines[:2], line]))
    with pytest.raises(DataError, match=complaint):
        opened(motions)


SIDES = ("Pushing something from left to right", "Pushing something from right to left", "Holding")


def test_something_something_v1(tmp_path: Path, frame_folder: Callable[..., Path]) -> None:
    name = "something-something-v1"
    (tmp_path / f"{name}-labels.csv").write_text("\n".join(SIDES))
    (tmp_path / f"{name}-train.csv").write_text(f"101;{SIDES[1]}\n7;{SIDES[2]}\n")
    frame_folder(tmp_path / f"20bn-{name}" / "101", range(10, 22))
    frame_folder(tmp_path / f"20bn-{name}" / "7", range(40, 44))
    dataset = opened(tmp_path)
    assert detect(DataConfig(root=tmp_path)) == "something-v1"
    assert [e.label for e in dataset.examples] == [1, 2]
    assert dataset.mirror == (1, 0, 2)
    assert dataset.reverse == (None, None, None)
    assert first_numbers(dataset, 4) == [[11, 14, 17, 20], [40, 41, 42, 43]]


def something_v2(root: Path, video: Video) -> Path:
    labels = {label: str(number) for number, label in enumerate(SIDES)}
    name = "something-something-v2"
    (root / f"{name}-labels.json").write_text(json.dumps(dict(reversed(labels.items()))))
    entries = [
        {
            "id": "78687",
            "label": "pushing a cup from left to right",
            "template": "Pushing [something] from left to right",
            "placeholders": ["a cup"],
        },
        {"id": "5", "label": "holding", "template": "Holding", "placeholders": []},
    ]
    (root / f"{name}-train.json").write_text(json.dumps(entries))
    video(root / f"20bn-{name}" / "78687.webm", first=50)
    video(root / f"20bn-{name}" / "5.webm", first=90)
    return root


def test_something_something_v2(tmp_path: Path, video: Video) -> None:
    dataset = opened(something_v2(tmp_path, video))
    assert detect(DataConfig(root=tmp_path)) == "something-v2"
    assert dataset.labels == SIDES
    assert [e.label for e in dataset.examples] == [0, 2]
    assert first_numbers(dataset, 4) == [[51, 54, 57, 60], [91, 94, 97, 100]]


def test_a_template_that_is_no_label_is_named(tmp_path: Path, video: Video) -> None:
    path = something_v2(tmp_path, video) / "something-something-v2-train.json"
    path.write_text(json.dumps([{"id": "5", "template": "Eating [something]"}]))
    with pytest.raises(
        DataError, match=r"train.json, entry 1: 'Eating something' is none of the 3"
    ):
        opened(tmp_path)
    path.write_text(json.dumps([{"id": "5"}]))
    with pytest.raises(DataError, match="entry 1: want an object with id and template"):
        opened(tmp_path)
    with pytest.raises(DataError, match="no list of the split 'validation'"):
        opened(tmp_path, "validation")


def test_clips_that_a_published_list_names_and_that_are_gone_are_counted(
    tmp_path: Path, video: Video
) -> None:
    something_v2(tmp_path, video)
    (tmp_path / "20bn-something-something-v2" / "5.webm").unlink()
    dataset = opened(tmp_path)
    assert dataset.missing == ("20bn-something-something-v2/5.webm",)
    with pytest.raises(DataError, match=r"1 of 2 clips .*max_broken=0.05 .*5.webm: no such file"):
        Clips(dataset, frames=4, size_px=64, train=True)
    clips = Clips(dataset, frames=4, size_px=64, train=True, max_broken=0.5)
    assert [broken.key for broken in clips.broken] == list(dataset.missing)
    assert len(clips) == 1


KINETICS = """label,youtube_id,time_start,time_end,split
riding a bike,-abc_DEF123,95,105,train
abseiling,0347ZoDXyP0,2,12,train
"abseiling",gone,0,10,train
"""


def test_kinetics(tmp_path: Path, video: Video) -> None:
    (tmp_path / "train.csv").write_text(KINETICS)
    (tmp_path / "validate.csv").write_text(KINETICS.replace("abseiling,0347", "archery,0347"))
    video(tmp_path / "train" / "riding a bike" / "-abc_DEF123_000095_000105.mp4")
    video(tmp_path / "clips" / "0347ZoDXyP0_000002_000012.mp4", first=30)
    dataset = opened(tmp_path)
    assert detect(DataConfig(root=tmp_path)) == "kinetics"
    assert dataset.labels == ("abseiling", "archery", "riding a bike")
    assert [e.label for e in dataset.examples] == [2, 0]
    assert dataset.missing == ("train/gone_000000_000010.mp4",)
    assert first_numbers(dataset, 2)[1] == [33, 39]
    assert [e.label for e in opened(tmp_path, "validation").examples] == [2, 1]


def test_a_whole_video_of_kinetics_is_read_in_its_span(tmp_path: Path, video: Video) -> None:
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end\narchery,x,1,2")
    video(tmp_path / "x.mp4", count=75)
    dataset = opened(tmp_path)
    assert [e.key for e in dataset.examples] == ["x.mp4:x_000001_000002"]
    assert first_numbers(dataset, 2) == [[31, 43]]


def test_a_kinetics_time_that_is_none_is_named(tmp_path: Path, video: Video) -> None:
    (tmp_path / "train.csv").write_text(KINETICS.replace(",95,", ",soon,"))
    with pytest.raises(DataError, match=r"train.csv, line 2: time_start .* 'soon'"):
        opened(tmp_path)


def test_moments_in_time(tmp_path: Path, video: Video) -> None:
    (tmp_path / "moments_categories.txt").write_text("sitting,1\nclapping,0\n")
    (tmp_path / "trainingSet.csv").write_text(
        "clapping/a.mp4,clapping,4,1\nsitting/b.mp4,sitting,3,0"
    )
    (tmp_path / "validationSet.csv").write_text("sitting/c.mp4,sitting,3,0")
    for name in ("training/clapping/a", "training/sitting/b", "validation/sitting/c"):
        video(tmp_path / f"{name}.mp4")
    assert detect(DataConfig(root=tmp_path)) == "moments"
    assert opened(tmp_path).labels == ("clapping", "sitting")
    assert contents(opened(tmp_path)) == {
        "training/clapping/a.mp4": "clapping",
        "training/sitting/b.mp4": "sitting",
    }
    assert contents(opened(tmp_path, "validation")) == {"validation/sitting/c.mp4": "sitting"}


@pytest.mark.parametrize("separator", [" ", ";", ",", "\t", "; "])
def test_published_list_files(
    tmp_path: Path, video: Video, frame_folder: Callable[..., Path], separator: str
) -> None:
    frame_folder(tmp_path / "media" / "frames of 7", range(100, 112))
    video(tmp_path / "media" / "a.mp4")
    lines = [("frames of 7", "3", "6", "1"), ("a.mp4", "1", "12", "0"), ("a.mp4", "2")]
    (tmp_path / "train.txt").write_text("\n".join(map(separator.join, lines)))
    said = {"lists": {"train": "train.txt"}, "videos": "media"}
    dataset = opened(tmp_path, **said)
    assert dataset.labels == ("class_0", "class_1", "class_2")
    assert [e.label for e in dataset.examples] == [1, 0, 2]
    assert dataset.examples[0].key == "media/frames of 7:3-6"
    assert first_numbers(dataset, 4) == [[102, 103, 104, 105], [1, 4, 7, 10], [1, 4, 7, 10]]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("b.mp4 1 4 0", r"list.txt, line 2: no such file or folder: .*b.mp4"),
        ("a.mp4 1 4 2", r"list.txt, line 2: label 2 is out of range; labels go from 0 to 1"),
        ("a.mp4 1 4 -1", r"list.txt, line 2: label -1 is out of range"),
        ("a.mp4 9 4 1", r"list.txt, line 2: the span from 9 to 4 is empty"),
        ("a.mp4", r"list.txt, line 2: want 'path start end label'"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(
    tmp_path: Path, video: Video, line: str, complaint: str
) -> None:
    video(tmp_path / "a.mp4")
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    (tmp_path / "list.txt").write_text(f"a.mp4 1 4 0\n{line}\n")
    with pytest.raises(DataError, match=complaint):
        opened(tmp_path, lists={"train": "list.txt"}, labels="names.txt")


LISTS = {
    "motions": ("labels.json", "train/manifest.csv"),
    "something-v1": ("something-something-v1-labels.csv", "something-something-v1-train.csv"),
    "something-v2": ("something-something-v2-labels.json", "something-something-v2-train.json"),
    "kinetics": ("train.csv",),
    "moments": ("moments_categories.txt", "trainingSet.csv"),
    "list": ("train.txt", "names.txt"),
}
STARTS = {
    "train/manifest.csv": "path,label\n",
    "train.csv": "label,youtube_id,time_start,time_end\n",
}
scraps = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(str.encode),
    st.text(alphabet='a1;,. \n"[]{}:-', max_size=40).map(str.encode),
    st.sampled_from([b"[]", b"{}", b"null", b"1", b'[{"id": [], "template": {}}]', b'{"a": "x"}']),
)


@pytest.mark.parametrize("layout", LISTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_lists_hold_the_answer_is_one_line(layout: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        for name in LISTS[layout]:
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            start = STARTS.get(name, "") if data.draw(st.booleans()) else ""
            path.write_bytes(start.encode() + data.draw(scraps))
        said = {"lists": {"train": "train.txt"}} if layout == "list" else {}
        with pytest.raises(DataError) as refused:
            opened(Path(folder), format=layout, **said)
        assert "\n" not in str(refused.value)


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder; data\.root"):
        opened(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"not a folder; data\.root"):
        opened(tmp_path / "file")
    with pytest.raises(DataError, match="looks like no data set"):
        opened(tmp_path)


@pytest.mark.parametrize("layout", ["folders", "motions", "something-v1", "something-v2"])
def test_a_folder_of_another_layout_is_refused_in_one_line(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataError) as refused:
        opened(tmp_path, format=layout)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("layout", ["kinetics", "moments", "list"])
def test_a_layout_without_its_lists_is_refused_in_one_line(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataError, match="train") as refused:
        opened(tmp_path, format=layout)
    assert "\n" not in str(refused.value)


def test_a_split_without_clips_is_refused(tmp_path: Path, video: Video) -> None:
    (tmp_path / "train" / "jump").mkdir(parents=True)
    with pytest.raises(DataError, match=r"the split 'train' \(folders\) holds no clips"):
        opened(tmp_path)


def test_labels_that_are_there_twice_are_refused(motions: Path) -> None:
    (motions / "labels.json").write_text('{"labels": ["a", "b", "a"]}')
    with pytest.raises(DataError, match="'a' is there twice"):
        opened(motions)
