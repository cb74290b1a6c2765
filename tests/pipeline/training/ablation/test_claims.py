"""Verdicts follow from numbers."""

import pytest

from pipeline.training.ablation.claims import FAILS, HOLDS, OPEN, above, not_above, score_of, times
from pipeline.training.ablation.runs import RunResult

CLASSES = 27


def results(*shares: float, clips: int = 2700) -> list[RunResult]:
    return [
        RunResult(
            title="made up",
            seed=seed,
            right={"all": round(share * clips), "neighbour": 0, "long": 0},
            of={"all": clips, "neighbour": 0, "long": 0},
            seconds=1.0,
        )
        for seed, share in enumerate(shares)
    ]


def verdict_above(better: list[RunResult], worse: list[RunResult]) -> tuple[str, str]:
    found = above(score_of(better, "all"), score_of(worse, "all"), classes=CLASSES)
    return found.word, found.why


def test_a_clear_difference_holds() -> None:
    word, why = verdict_above(results(0.60, 0.62, 0.61), results(0.40, 0.42, 0.41))
    assert (word, why.split(" (")[0]) == (HOLDS, "+20.0 points")


def test_a_difference_within_the_spread_of_seeds_does_not_hold() -> None:
    word, why = verdict_above(results(0.40, 0.70, 0.55), results(0.35, 0.65, 0.50))
    assert word == FAILS
    assert "+5.0 points" in why and "within its uncertainty" in why


def test_equal_seeds_do_not_make_chance_among_test_clips_go_away() -> None:
    few = [results(share, share, share, clips=50) for share in (0.54, 0.50)]
    assert verdict_above(*few)[0] == FAILS
    assert verdict_above(results(0.54, 0.54, 0.54), results(0.50, 0.50, 0.50))[0] == HOLDS


def test_one_seed_has_the_uncertainty_of_its_test_clips() -> None:
    assert verdict_above(results(0.53), results(0.50))[0] == HOLDS
    assert verdict_above(results(0.52), results(0.50))[0] == FAILS


def test_a_difference_the_other_way_round_is_said_to_be_so() -> None:
    word, why = verdict_above(results(0.3, 0.31), results(0.5, 0.51))
    assert word == FAILS
    assert why.startswith("-20.0 points") and "the other way round" in why


def test_two_networks_at_chance_tell_nothing() -> None:
    word, why = verdict_above(results(0.040, 0.036), results(0.037, 0.038))
    assert word == FAILS
    assert "neither is above chance (3.7%)" in why


def test_a_network_at_chance_is_not_better_than_one_that_always_errs() -> None:
    word, why = verdict_above(results(0.040, clips=250), results(0.004, clips=250))
    assert word == FAILS
    assert why.startswith("+3.6 points") and "neither is above chance" in why


@pytest.mark.parametrize(("more", "word"), [(0.505, HOLDS), (0.40, HOLDS), (0.60, FAILS)])
def test_no_gain_is_a_claim_too(more: float, word: str) -> None:
    pair = score_of(results(more, more), "all"), score_of(results(0.5, 0.5), "all")
    assert not_above(*pair, classes=CLASSES).word == word


def test_no_gain_can_not_be_told_where_seeds_differ_more_than_a_gain_would() -> None:
    pair = score_of(results(0.4, 0.6), "all"), score_of(results(0.5, 0.5), "all")
    assert not_above(*pair, classes=CLASSES).word == OPEN


def test_the_smallest_ratio_decides() -> None:
    assert times([3.1, 3.9], 3.0).word == HOLDS
    short = times([2.75, 3.9], 3.0, reason="for this")
    assert str(short) == "**doesn't hold**: 2.75 to 3.90 times; 3 are wanted; for this"
    assert str(times([2.0], 1.5)) == "**holds**: 2.00 times"
