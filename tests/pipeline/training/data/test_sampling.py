import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.data.sampling import FrameRule, Kept

counts = st.integers(1, 400)
frames = st.integers(1, 40)
seeds = st.integers(0, 2**32)


def test_a_test_takes_the_middle_of_each_segment() -> None:
    #  |0 1 2|3 4|5 6 7|8 9|
    #     1    3    6    8
    assert FrameRule(frames=4).test(10).tolist() == [1, 3, 6, 8]


def test_a_clip_shorter_than_the_network_repeats_its_pictures_in_order() -> None:
    assert FrameRule(frames=8).test(4).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert FrameRule(frames=4).test(1).tolist() == [0, 0, 0, 0]


def test_several_clips_lie_evenly_within_the_segments() -> None:
    rule = FrameRule(frames=2)
    assert [rule.test(12, clip=n, clips=3).tolist() for n in range(3)] == [[1, 7], [3, 9], [5, 11]]


@given(counts, frames, seeds)
def test_training_takes_one_picture_of_each_segment(count: int, frames: int, seed: int) -> None:
    indices = FrameRule(frames=frames).random(count, np.random.default_rng(seed))
    edges = np.arange(frames + 1) * count / frames
    assert len(indices) == frames
    assert (np.diff(indices) >= 0).all()
    assert (np.floor(edges[:-1]) <= indices).all()
    assert (indices <= np.ceil(edges[1:])).all()
    assert indices[-1] < count


def test_training_reaches_every_picture() -> None:
    chance = np.random.default_rng(0)
    rule = FrameRule(frames=4)
    assert {i for _ in range(200) for i in rule.random(10, chance).tolist()} == set(range(10))


@given(counts, frames, st.integers(1, 9), seeds)
def test_dense_sampling_keeps_its_stride_where_there_is_room(
    count: int, frames: int, stride: int, seed: int
) -> None:
    rule = FrameRule(frames=frames, sampling="dense", stride=stride)
    for indices in (rule.random(count, np.random.default_rng(seed)), rule.test(count)):
        assert len(indices) == frames
        assert 0 <= indices[0] <= indices[-1] < count
        steps = np.diff(indices)
        if (frames - 1) * stride < count:
            assert (steps == stride).all()
        else:
            assert (steps >= 0).all()
            assert (steps <= stride).all()


def test_a_dense_test_is_centred_and_several_are_spread_from_end_to_end() -> None:
    rule = FrameRule(frames=3, sampling="dense", stride=2)
    assert rule.test(11).tolist() == [3, 5, 7]
    assert [rule.test(11, clip=n, clips=3)[0] for n in range(3)] == [0, 3, 6]


def test_a_dense_clip_that_is_too_short_stays_on_its_last_picture() -> None:
    assert FrameRule(frames=4, sampling="dense", stride=2).test(4).tolist() == [0, 2, 3, 3]


@given(counts, frames)
def test_what_a_cache_keeps_holds_the_pictures_that_a_test_looks_at(
    count: int, frames: int
) -> None:
    rule = FrameRule(frames=frames)
    kept = Kept(3 * frames)(count)
    seen = kept[rule.test(len(kept))]
    exact = rule.test(count)
    assert np.abs(seen - exact).max() <= 1  # rounding
    if count % (6 * frames) == 0 or count <= 3 * frames:
        assert seen.tolist() == exact.tolist()


def test_a_cache_keeps_short_clips_whole() -> None:
    assert Kept(24)(24).tolist() == list(range(24))
    assert len(Kept(24)(25)) == 24
    assert Kept(None)(1000).tolist() == list(range(1000))
