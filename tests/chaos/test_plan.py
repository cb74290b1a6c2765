"""Plans of faults: the same from a seed, taken back in time, and quiet at the end."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as some

from tests.chaos.plan import CAMERAS, EVERY_KIND, GENTLE, OF_PARTS, SPARED, draw

SEEDS = some.integers(0, 2**32)
SECONDS = some.floats(1, 300)
EVERY_S = some.floats(0.5, 20)


@given(SEEDS, SECONDS, EVERY_S)
def test_the_same_seed_gives_the_same_plan(seed: int, seconds: float, every_s: float) -> None:
    assert draw(seed, seconds, every_s=every_s) == draw(seed, seconds, every_s=every_s)


@given(SEEDS, SECONDS, EVERY_S)
def test_every_fault_is_over_before_the_quiet_time(
    seed: int, seconds: float, every_s: float
) -> None:
    plan = draw(seed, seconds, every_s=every_s)
    assert all(0 < fault.at_s <= fault.over_s <= seconds + 1e-9 for fault in plan.faults)
    assert plan.quiet_s >= 20
    begun = []
    for step in plan.steps():
        if step.begins:
            begun.append(step.fault)
        else:
            begun.remove(step.fault)
    assert all(fault.lasts_s == 0 for fault in begun)
    assert [step.at_s for step in plan.steps()] == sorted(step.at_s for step in plan.steps())


@given(SEEDS, SECONDS, EVERY_S)
def test_faults_of_one_target_never_overlap(seed: int, seconds: float, every_s: float) -> None:
    faults = draw(seed, seconds, every_s=every_s).faults
    for target in {fault.target for fault in faults}:
        own = [fault for fault in faults if fault.target == target]
        assert all(first.over_s < second.at_s for first, second in pairwise(own))


@given(SEEDS)
def test_one_camera_is_spared(seed: int) -> None:
    targets = {fault.target for fault in draw(seed, 400).faults}
    assert SPARED not in targets
    assert targets == {*CAMERAS, "network", "redis", "deployment", "subscriber"}


@given(SEEDS)
def test_a_minute_has_about_a_fault_each_three_seconds_and_most_kinds(seed: int) -> None:
    faults = draw(seed, 60).faults
    assert 14 <= len(faults) <= 26
    assert len({fault.kind for fault in faults}) >= 10


@given(SEEDS)
def test_a_long_plan_has_every_kind_and_a_gentle_one_kills_no_part(seed: int) -> None:
    assert {fault.kind for fault in draw(seed, 400).faults} == set(EVERY_KIND)
    gentle = {fault.kind for fault in draw(seed, 600, kinds=GENTLE).faults}
    assert gentle == set(EVERY_KIND) - set(OF_PARTS)


def test_seeds_differ() -> None:
    assert len({draw(seed, 60).faults for seed in range(20)}) == 20
