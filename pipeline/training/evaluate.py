"""How good a network is: its scores of labelled clips, and what follows from them.

Scores of a clip are the mean of the probabilities over its views (crops times clips). Axes: N
clips, K classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError, ModelError
from pipeline.training.data import Views
from pipeline.training.feed import Classify

CALIBRATION_BINS = 15  # as in Guo et al.


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of some clips, with what they should be."""

    labels: tuple[str, ...]
    keys: tuple[str, ...]
    truth_N: NDArray[np.int64]
    scores_NK: NDArray[np.float32]
    """Probabilities."""

    @cached_property
    def guesses(self) -> NDArray[np.int64]:
        """The best class of each clip, [N]."""
        best_N: NDArray[np.int64] = self.scores_NK.argmax(axis=1)
        return best_N

    @property
    def top1(self) -> float:
        """Share of clips whose best class is the right one."""
        return float((self.guesses == self.truth_N).mean())

    @property
    def top5(self) -> float:
        """Share of clips whose right class is among the five best; ties count against."""
        own_N1 = np.take_along_axis(self.scores_NK, self.truth_N[:, None], axis=1)
        better_N = (self.scores_NK >= own_N1).sum(axis=1) - 1
        return float((better_N < 5).mean())

    @property
    def loss(self) -> float:
        """Mean negative log probability of the right class, in nats."""
        own_N = self.scores_NK[np.arange(len(self.truth_N)), self.truth_N]
        return float(-np.log(np.maximum(own_N, 1e-12)).mean())

    @property
    def per_class(self) -> dict[str, float]:
        """Top-1 of each class that has clips."""
        right_N = self.guesses == self.truth_N
        return {
            label: float(right_N[self.truth_N == place].mean())
            for place, label in enumerate(self.labels)
            if (self.truth_N == place).any()
        }

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: how far confidence is from accuracy, in [0, 1].

        Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; 15 bins.
        """
        sure_N = self.scores_NK.max(axis=1)
        right_N = self.guesses == self.truth_N
        bins_N = np.minimum((sure_N * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        gaps = [
            (bins_N == place).mean()
            * abs(right_N[bins_N == place].mean() - sure_N[bins_N == place].mean())
            for place in np.unique(bins_N)
        ]
        return float(sum(gaps))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Clips by right class (rows) and best class (columns), [K, K]."""
        classes = len(self.labels)
        counts = np.bincount(self.truth_N * classes + self.guesses, minlength=classes**2)
        return counts.reshape(classes, classes)

    def summary(self) -> dict[str, float]:
        """The figures that fit on a line."""
        return {
            "examples": float(len(self.keys)),
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "calibration_error": self.calibration_error,
        }


def evaluate(
    classify: Classify,
    examples: Iterable[Views],
    labels: Sequence[str],
    *,
    place_of: Sequence[int] | None = None,
) -> Evaluation:
    """Score every view of each example, and average over them.

    ``labels`` are the network's; ``place_of`` gives, per label of the data, its place among them,
    where the two differ.

    Raises:
        DataError: there are no examples.
        ModelError: a score is not a number, so the weights can't be used.
    """
    keys: list[str] = []
    truth: list[int] = []
    scores: list[NDArray[np.float32]] = []
    for batch in examples:
        clips = batch.clips_NVTHWC
        logits = classify(clips.flatten(0, 1)).reshape(*clips.shape[:2], len(labels))
        scores.append(logits.softmax(dim=2).mean(dim=1).numpy())
        if not np.isfinite(scores[-1]).all():
            raise ModelError(f"scores of {batch.keys[0]} and others are not numbers")
        keys += batch.keys
        truth += _places(batch, place_of)
    if not keys:
        raise DataError("there is not one clip to evaluate on; check the split")
    return Evaluation(
        labels=tuple(labels),
        keys=tuple(keys),
        truth_N=np.array(truth, np.int64),
        scores_NK=np.concatenate(scores),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """How a network takes clips in a mirror, or played backwards."""

    examples: int
    """Clips whose flip has a label."""
    own: float
    """Top-1 of these clips as they are."""
    flipped: float
    """How often the flipped clip gets the flipped label."""

    @property
    def relative(self) -> float:
        """Flipped over own: 1 means just as often."""
        return self.flipped / self.own if self.own else 0.0


FlipKind = Literal["mirror", "reverse"]
FLIPPED_AXIS: dict[FlipKind, int] = {"mirror": 3, "reverse": 1}
"""Of clips_NTHWC: columns, and frames."""


def evaluate_flip(
    classify: Classify,
    examples: Iterable[Views],
    kind: FlipKind,
    flips: Sequence[int | None],
    *,
    place_of: Sequence[int] | None = None,
) -> Flip:
    """Compare the first view of examples with its flip.

    ``flips`` holds, per label of the data, the label of its flip, or None where it has none;
    ``place_of`` is as in ``evaluate``.
    """
    places = place_of if place_of is not None else range(len(flips))
    count, own, flipped = 0, 0, 0
    for batch in examples:
        usable = [n for n, label in enumerate(batch.labels_N.tolist()) if flips[label] is not None]
        if not usable:
            continue
        clips = batch.clips_NVTHWC[usable, 0]
        labels = batch.labels_N[usable].tolist()
        truth = [places[label] for label in labels]
        wanted = [places[other] for label in labels if (other := flips[label]) is not None]
        as_is = classify(clips).argmax(dim=1).tolist()
        turned = classify(clips.flip(FLIPPED_AXIS[kind])).argmax(dim=1).tolist()
        count += len(usable)
        own += sum(guess == label for guess, label in zip(as_is, truth, strict=True))
        flipped += sum(guess == label for guess, label in zip(turned, wanted, strict=True))
    if not count:
        return Flip(examples=0, own=0.0, flipped=0.0)
    return Flip(examples=count, own=own / count, flipped=flipped / count)


def _places(batch: Views, place_of: Sequence[int] | None) -> list[int]:
    labels: list[int] = batch.labels_N.tolist()
    return labels if place_of is None else [place_of[label] for label in labels]
