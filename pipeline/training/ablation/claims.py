"""Claims against numbers: a verdict is computed, never typed.

A network is better than another where their difference exceeds its uncertainty: twice its standard
error, in which a network's variance is that over its seeds, and never less than chance among so
many test clips alone would give. All seeds see the same test clips, so that floor isn't divided by
their number.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.training.ablation.runs import Group, RunResult

HOLDS: Final = "holds"
FAILS: Final = "doesn't hold at this scale"
OPEN: Final = "can't be told"
FAILS_AT_FULL_SIZE: Final = "doesn't hold"
WORTHWHILE = 0.05  # a gain of this would not be called nothing
ERRORS = 2.0  # standard errors: about 1 in 20 where there is no difference
ABOUT_TWICE = 1.5  # what "about 2 times" is read as: this or more
FEWER_MACS = 3.0  # "3 to 4 times"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Top-1 of one network over its seeds, on one group of classes."""

    mean: float
    spread: float
    """Standard deviation over seeds; 0 of one."""
    seeds: int
    clips: int
    """That each seed was tested on."""

    @property
    def variance(self) -> float:
        """Of the mean."""
        floor = self.mean * (1 - self.mean) / self.clips if self.clips else 0.0
        return max(self.spread**2 / self.seeds, floor)

    def at_chance(self, classes: int) -> bool:
        """Whether guessing would do as well."""
        chance = 1 / classes
        error = math.sqrt(max(self.variance, chance * (1 - chance) / max(1, self.clips)))
        return self.mean <= chance + ERRORS * error


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the numbers say of a claim."""

    word: Literal["holds", "doesn't hold at this scale", "doesn't hold", "can't be told"]
    why: str
    """The numbers, and the reason where it fails."""

    def __str__(self) -> str:
        return f"**{self.word}**: {self.why}"


def score_of(results: Sequence[RunResult], group: Group) -> Score:
    """Of at least one result."""
    shares = [result.top1(group) for result in results]
    return Score(
        mean=statistics.fmean(shares),
        spread=statistics.stdev(shares) if len(shares) > 1 else 0.0,
        seeds=len(shares),
        clips=results[0].of[group],
    )


def above(better: Score, worse: Score, *, classes: int) -> Verdict:
    """The claim that one network is better than another."""
    gap, error = better.mean - worse.mean, _error(better, worse)
    numbers = _points(gap, error)
    chance = f"above chance ({1 / classes:.1%}) after so few clips"
    if better.at_chance(classes):  # a network that knows nothing isn't better than another such
        who = "neither is" if worse.at_chance(classes) else f"{better.mean:.1%} is not"
        return Verdict(word=FAILS, why=f"{numbers}; {who} {chance}")
    if gap > error:
        return Verdict(word=HOLDS, why=numbers)
    reason = "the difference is within its uncertainty"
    if gap < -error:
        reason = "it is the other way round"
    return Verdict(word=FAILS, why=f"{numbers}; {reason}")


def not_above(more: Score, less: Score, *, classes: int) -> Verdict:
    """The claim that something gains nothing."""
    gap, error = more.mean - less.mean, _error(more, less)
    if gap > error:
        return Verdict(word=FAILS, why=f"{_points(gap, error)}; it does gain")
    if gap + error > WORTHWHILE:
        why = f"{_points(gap, error)}; a gain of {WORTHWHILE:.0%} would not have been seen"
        return Verdict(word=OPEN, why=why)
    reason = ""
    if more.at_chance(classes) and less.at_chance(classes):
        reason = f"; though neither is above chance ({1 / classes:.1%})"
    return Verdict(word=HOLDS, why=f"{_points(gap, error)}{reason}")


def times(ratios: Sequence[float], least: float, *, reason: str = "") -> Verdict:
    """The claim that something is at least so many times more, everywhere it was looked at.

    ``reason`` is given where it isn't.
    """
    low, high = min(ratios), max(ratios)
    numbers = f"{low:.2f} times" if high - low < 0.005 else f"{low:.2f} to {high:.2f} times"
    if low >= least:
        return Verdict(word=HOLDS, why=numbers)
    because = f"; {reason}" if reason else ""
    return Verdict(word=FAILS_AT_FULL_SIZE, why=f"{numbers}; {least:g} are wanted{because}")


def _error(a: Score, b: Score) -> float:
    return ERRORS * math.sqrt(a.variance + b.variance)


def _points(gap: float, error: float) -> str:
    return f"{100 * gap:+.1f} points (± {100 * error:.1f})"
