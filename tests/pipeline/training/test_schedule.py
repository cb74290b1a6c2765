"""The learning rate follows from the step alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.config import ScheduleSpec
from pipeline.training.schedule import rate_at


def rates(steps: int, **said: object) -> list[float]:
    spec = ScheduleSpec.model_validate({"warmup_clips": 0, **said})
    return [rate_at(step, steps, spec, clips_per_step=10) for step in range(steps)]


def test_a_cosine_falls_from_one_to_nearly_nothing() -> None:
    found = rates(100)
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.5)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.001


def test_warm_up_grows_in_equal_parts_to_the_peak() -> None:
    assert rates(100, warmup_clips=40)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_a_cosine_may_end_at_a_floor() -> None:
    assert rates(1000, floor=0.1)[-1] == pytest.approx(0.1, abs=1e-3)


def test_steps_drop_after_their_share_of_the_run() -> None:
    # step    0 … 49    50 … 74    75 … 99
    # rate    1         0.1        0.01
    found = rates(100, kind="steps")
    assert [found[n] for n in (0, 49, 50, 74, 75, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


@given(st.integers(1, 500), st.integers(0, 10_000), st.sampled_from(["cosine", "steps"]))
def test_no_rate_is_zero_or_above_the_peak(steps: int, warmup: int, kind: str) -> None:
    assert all(0 < rate <= 1 for rate in rates(steps, warmup_clips=warmup, kind=kind))
