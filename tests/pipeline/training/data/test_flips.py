import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.training.data.flips import flips_of, mirror_by_text, mirrored_texts

SIDES = (
    "Pushing something from left to right",
    "Pushing something from right to left",
    "Turning the camera left while filming something",
    "Turning the camera right while filming something",
    "Holding something",
    "Leaving something",
    "turn_left",
    "turn_right",
    "Turning right only",
    "spin clockwise",
    "spin counterclockwise",
    "Clockwise only",
)


def test_left_and_right_change_places_and_other_words_stay() -> None:
    assert mirrored_texts("from left to right")[0] == "from right to left"
    assert (
        mirrored_texts("Left and RIGHT, leftover brightness")[0]
        == "Right and Left, leftover brightness"
    )
    assert mirrored_texts("turn Clockwise")[0] == "turn Anticlockwise"
    assert set(mirrored_texts("turn anticlockwise")) == {"turn clockwise"}


def test_labels_go_to_the_label_with_the_exchanged_text() -> None:
    assert mirror_by_text(SIDES) == (1, 0, 3, 2, 4, 5, 7, 6, None, 10, 9, None)


@given(st.lists(st.sampled_from(SIDES), unique=True))
def test_a_mirror_seen_in_a_mirror_is_the_thing_itself(labels: list[str]) -> None:
    mirror = mirror_by_text(labels)
    for place, after in enumerate(mirror):
        assert after is None or mirror[after] == place


def test_by_default_nothing_is_played_backwards(tmp_path: Path) -> None:
    mirror, reverse = flips_of(SIDES[:2], root=tmp_path, mirror=None, reverse=None)
    assert mirror == (1, 0)
    assert reverse == (None, None)


def test_the_data_sets_own_map_comes_before_the_texts_and_the_config_before_it(
    tmp_path: Path,
) -> None:
    labels = ("a left", "a right", "b")
    said = {"labels": labels, "mirror": {"b": None}, "reverse": {"a left": "a right"}}
    (tmp_path / "labels.json").write_text(json.dumps(said))
    assert flips_of(labels, root=tmp_path, mirror=None, reverse=None) == ((0, 1, None), (1, 1, 2))
    mirror, reverse = flips_of(labels, root=tmp_path, mirror={"b": "a left"}, reverse={})
    assert (mirror, reverse) == ((0, 1, 0), (0, 1, 2))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"mirror": {"c": "a"}}', "'c'"),
        ('{"mirror": {"a": "c"}}', "'c'"),
        ('{"mirror": ["a"]}', "must map"),
        ('{"reverse": {"a": 1}}', "to a label or to null"),
        ('{"reverse": ', "line 1: not JSON"),
    ],
)
def test_a_map_that_names_no_label_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(DataError, match=complaint):
        flips_of(("a", "b"), root=tmp_path, mirror=None, reverse=None)
