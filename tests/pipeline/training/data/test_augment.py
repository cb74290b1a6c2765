from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.data import AugmentSpec, DataSet
from pipeline.training.data.augment import augmented, cropped, random_box, relit, square

SIZE = 16
LABELS = DataSet(
    name="x",
    root=Path("x"),
    labels=("left", "right", "in", "out", "this side up"),
    examples=(),
    mirror=(1, 0, 2, 3, None),
    reverse=(1, 0, 3, 2, None),
)
EXACT = AugmentSpec(scales=(1.0,), reverse=True)


def clip_of(height: int = SIZE, width: int = SIZE, count: int = 4) -> np.ndarray:
    """Every pixel tells its picture, row and column."""
    clip = np.zeros((count, height, width, 3), np.uint8)
    clip[..., 0] = np.arange(count)[:, None, None]
    clip[..., 1] = np.arange(height)[None, :, None]
    clip[..., 2] = np.arange(width)[None, None, :]
    return clip


def variant(label: int, seed: int, spec: AugmentSpec = EXACT) -> tuple[np.ndarray, int]:
    chance = np.random.default_rng(seed)
    return augmented(clip_of(), label, dataset=LABELS, spec=spec, size_px=SIZE, chance=chance)


@given(st.integers(0, 4), st.integers(0, 1000))
def test_the_label_goes_where_the_pixels_went(label: int, seed: int) -> None:
    clip, after = variant(label, seed)
    mirrored, reversed_ = clip[0, 0, 0, 2] != 0, clip[0, 0, 0, 0] != 0
    expected = label
    if mirrored:
        expected = LABELS.mirror[expected]
    if reversed_ and expected is not None:
        expected = LABELS.reverse[expected]
    assert after == expected


def test_all_four_ways_come_up_and_a_forbidden_flip_never() -> None:
    ways = {
        (bool(c[0, 0, 0, 2]), bool(c[0, 0, 0, 0])) for c, _ in (variant(0, s) for s in range(80))
    }
    assert len(ways) == 4
    for seed in range(80):
        clip, after = variant(4, seed)
        assert after == 4
        assert (clip == clip_of()).all()


def test_flips_that_are_off_are_never_applied() -> None:
    spec = AugmentSpec(scales=(1.0,), mirror=False)
    assert all((variant(0, seed, spec)[0] == clip_of()).all() for seed in range(40))


def test_one_kind_of_variation_does_not_change_another() -> None:
    for seed in range(40):
        with_both, _ = variant(2, seed)
        mirror_only, _ = variant(2, seed, AugmentSpec(scales=(1.0,)))
        assert (with_both[:, 0, 0, 2] == mirror_only[:, 0, 0, 2]).all()


@given(
    st.integers(20, 90),
    st.integers(20, 180),
    st.sampled_from(["fixed", "anywhere"]),
    st.integers(0, 1000),
)
def test_crops_lie_within_the_picture(height: int, width: int, places: str, seed: int) -> None:
    spec = AugmentSpec(places=places)  # type: ignore[arg-type]
    box = random_box(height, width, spec, 16, np.random.default_rng(seed))
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    sides = {16, *(int(min(height, width) * scale) for scale in spec.scales)}
    assert {box.height, box.width} <= sides


def test_crops_reach_the_corners_and_the_centre() -> None:
    spec = AugmentSpec(scales=(0.5,))
    chance = np.random.default_rng(0)
    found = {(b.top, b.left) for b in (random_box(32, 64, spec, 16, chance) for _ in range(400))}
    assert {(0, 0), (0, 48), (16, 0), (16, 48), (8, 24)} <= found
    assert len(found) == 13


def test_a_crop_of_another_size_is_scaled_and_one_of_the_right_size_is_untouched() -> None:
    flat = np.full((2, 40, 40, 3), 77, np.uint8)
    box = random_box(40, 40, AugmentSpec(scales=(0.66,)), 16, np.random.default_rng(0))
    scaled = cropped(flat, box, 16)
    assert scaled.shape == (2, 16, 16, 3)
    assert (scaled == 77).all()
    ramp = clip_of(40, 60)
    part = cropped(ramp, square(40, 60, 16), 16)
    assert part[0, 0, 0].tolist() == [0, 12, 22]


def test_tests_crop_along_the_longer_side() -> None:
    assert [square(40, 60, 30, place=p).left for p in (0, 0.5, 1)] == [0, 15, 30]
    assert [square(60, 40, 30, place=p).top for p in (0, 0.5, 1)] == [0, 15, 30]
    assert square(60, 40, 30, place=0).left == 5


def test_light_changes_around_grey_and_stays_in_range() -> None:
    clip = np.array([0, 127, 128, 255], np.uint8).reshape(1, 2, 2, 1)
    assert relit(clip, 0, 0).ravel().tolist() == [0, 127, 128, 255]
    assert relit(clip, 0.1, 0).ravel().tolist() == [26, 152, 154, 255]
    assert relit(clip, 0, -0.5).ravel().tolist() == [64, 127, 128, 191]


@pytest.mark.parametrize("scales", [(), (0,), (1.5,), (-1, 1)])
def test_crops_that_cannot_be_cut_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="scales"):
        AugmentSpec(scales=scales)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="mirrored"):
        AugmentSpec(mirrored=True)  # type: ignore[call-arg]
