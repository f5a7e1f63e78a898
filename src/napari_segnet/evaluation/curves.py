"""Curves over the threshold of a probability: ROC, precision over recall, and the threshold that is best.

They follow from how many pixels of a class, and of others, have each probability: exactly (`sort_probabilities`, for
what fits into memory) or in fine bins (`bin_counts`, for any number of images). A pixel belongs to the class if its
probability is at least the threshold. What fine bins can be wrong by is counted along: within a bin the order of
pixels is not known.

- ROC: true positive rate over false positive rate. Its area is the chance that a pixel of the class has a higher
  probability than another, ties counted half [1]_.
- Precision over recall; average precision is the sum of (gain in recall) x precision, without interpolation [2]_.
- Best threshold: of all pixels together, so choose it on validation images, not on those to report.

Without a pixel of the class nothing exists: NaN. Without one outside, there is no ROC.

.. [1] Fawcett, T. (2006). An introduction to ROC analysis. Pattern Recognition Letters 27, 861-874.
.. [2] Davis, J. and Goadrich, M. (2006). The relationship between precision-recall and ROC curves. ICML, 233-240.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import ConfigError, unknown_name
from napari_segnet.evaluation.calibration import ProbabilityCounts, fine_edges
from napari_segnet.evaluation.overlap import mean

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ThresholdCounts:
    """How many pixels have each probability, or are in each fine bin; ascending, without empty bins.

    Attributes
    ----------
    smallest, largest : (N,) float64
        The ends of the bin, both inside; the same where probabilities are exact.
    positives, negatives : (N,) int64
        Pixels of the class, and outside.
    """

    smallest: Floats
    largest: Floats
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """Points of a curve, from the highest threshold to the lowest.

    Attributes
    ----------
    x, y : (N,) float64
        False and true positive rate, or recall and precision.
    thresholds : (N,) float64
        The threshold of each point; infinite where nothing is taken for the class.
    area : float
        Area under the curve.
    error : float
        What it can be wrong by, because of the bins.
    """

    x: Floats
    y: Floats
    thresholds: Floats
    area: float
    error: float

    def thinned(self, most: int = 500) -> Curve:
        """Return the curve with about `most` points, evenly along it, for drawing; its area stays."""
        length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(self.x)) + np.abs(np.diff(self.y)))])
        if len(length) <= most or length[-1] == 0:
            return self
        _, kept = np.unique(np.floor(length / length[-1] * (most - 1)), return_index=True)
        kept = np.union1d(kept, [len(length) - 1])
        return Curve(self.x[kept], self.y[kept], self.thresholds[kept], self.area, self.error)


@dataclass(frozen=True)
class BestThreshold:
    """The threshold with the best score, that score, and the one at 0.5."""

    threshold: float
    score: float
    score_at_half: float


@dataclass(frozen=True)
class ClassProbabilityScore:
    """How good the probability of a class is, over all pixels that were counted.

    Attributes
    ----------
    value : int
    roc_auc, average_precision, brier, ece : float
        See `napari_segnet.evaluation.measures`.
    best : BestThreshold
        For Dice.
    """

    value: int
    roc_auc: float
    average_precision: float
    brier: float
    ece: float
    best: BestThreshold


@dataclass(frozen=True)
class ProbabilityScores:
    """How good probabilities are, over all pixels that were counted.

    Attributes
    ----------
    roc_auc, average_precision, classwise_ece : float
        Means over the classes that were asked for.
    brier : float
        Sum over all classes.
    ece : float
        Of the class that wins.
    per_class : dict of int to ClassProbabilityScore
    pixels : int
    """

    roc_auc: float
    average_precision: float
    brier: float
    ece: float
    classwise_ece: float
    per_class: dict[int, ClassProbabilityScore]
    pixels: int


def sort_probabilities(probabilities: NDArray[np.floating[Any]], of_class: NDArray[np.bool_]) -> ThresholdCounts:
    """Count pixels by probability, exactly.

    Parameters
    ----------
    probabilities : array of floats
        Of the class.
    of_class : array of bool of the same shape
        Whether the pixel is of the class.
    """
    values, place = np.unique(probabilities, return_inverse=True)
    positives = np.bincount(place.reshape(-1)[np.ravel(of_class)], minlength=len(values))
    both = np.bincount(place.reshape(-1), minlength=len(values))
    return ThresholdCounts(values.astype(np.float64), values.astype(np.float64), positives, both - positives)


def bin_counts(counts: ProbabilityCounts, value: int) -> ThresholdCounts:
    """Return the fine bins of a class that hold pixels."""
    negatives, positives = counts.fine[counts.index(value)].T
    there = np.flatnonzero(positives + negatives)
    smallest, largest = fine_edges()
    return ThresholdCounts(smallest[there], largest[there], positives[there], negatives[there])


def roc_curve(counts: ThresholdCounts) -> Curve:
    """Return the true positive rate (y) over the false positive rate (x), with the area under it."""
    tp, fp = _taken(counts)
    if not tp[-1] or not fp[-1]:
        return _no_curve()
    x, y = fp / fp[-1], tp / tp[-1]
    area = float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
    mixed = counts.largest > counts.smallest
    error = float(np.sum((np.diff(x) * np.diff(y))[mixed[::-1]]) / 2)
    return Curve(x, y, _thresholds(counts), area, error)


def precision_recall_curve(counts: ThresholdCounts) -> Curve:
    """Return the precision (y) over the recall (x), with the average precision as its area.

    The first point, where nothing is taken for the class, has the precision 1, as is usual.
    """
    tp, fp = _taken(counts)
    if not tp[-1]:
        return _no_curve()
    x, y = tp / tp[-1], np.append(1.0, tp[1:] / (tp + fp)[1:])
    area = float(np.sum(np.diff(x) * y[1:]))
    # The bin's pixels of the class could all come first, or all last.
    first, last = tp[1:] / (tp[1:] + fp[:-1]).clip(1), (tp[:-1] + 1) / (tp[:-1] + 1 + fp[1:])
    mixed = (counts.largest > counts.smallest)[::-1]
    error = float(np.sum((np.diff(x) * np.maximum(first - y[1:], y[1:] - last).clip(0))[mixed]))
    return Curve(x, y, _thresholds(counts), area, error)


def _taken(counts: ThresholdCounts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return true and false positives from the highest threshold, at which there are none, to the lowest."""
    tp, fp = (np.append(0, np.cumsum(side[::-1])) for side in (counts.positives, counts.negatives))
    return tp, fp


def _thresholds(counts: ThresholdCounts) -> Floats:
    return np.append(math.inf, counts.smallest[::-1])


def _no_curve() -> Curve:
    nothing = np.empty(0)
    return Curve(nothing, nothing, nothing, math.nan, math.nan)


_SCORES: dict[str, Callable[[Floats, Floats, float, float], Floats]] = {
    "dice": lambda tp, taken, true, _: 2 * tp / (taken + true),
    "iou": lambda tp, taken, true, _: tp / (taken + true - tp),
    "f_beta": lambda tp, taken, true, beta: (1 + beta**2) * tp / (taken + beta**2 * true),
}


def best_threshold(counts: ThresholdCounts, measure: str = "dice", beta: float = 1.0) -> BestThreshold:
    """Return the threshold with the best score of all pixels together.

    Parameters
    ----------
    counts : ThresholdCounts
        Of validation images.
    measure : {"dice", "iou", "f_beta"}
        Dice and IoU have the same best threshold.
    beta : float
        Of F-beta: above 1 recall weighs more.

    Returns
    -------
    BestThreshold
        In the middle between the two probabilities, a float32, that it separates; of equally good ones the one
        closest to 0.5. NaN if there is no pixel of the class.

    Raises
    ------
    ConfigError
        If there is no such measure, or `beta` is not above 0.
    """
    if measure not in _SCORES:
        raise unknown_name("measure for a threshold", measure, _SCORES)
    if not (math.isfinite(beta) and beta > 0):
        raise ConfigError(f"beta = {beta!r}.", "It is a number above 0: 2 weighs recall more, 0.5 precision.")
    tp, fp = (side.astype(np.float64) for side in _taken(counts))
    if not tp[-1]:
        return BestThreshold(math.nan, math.nan, math.nan)
    scores = _SCORES[measure](tp, tp + fp, tp[-1], beta)
    thresholds = np.append(1.0, _between(counts)[::-1])
    # The first point takes no pixel at all: it is never the best, as there are pixels of the class.
    best = np.flatnonzero(scores[1:] == scores[1:].max()) + 1
    chosen = best[np.argmin(np.abs(thresholds[best] - 0.5))]
    half = np.count_nonzero(counts.smallest >= 0.5)
    return BestThreshold(float(thresholds[chosen]), float(scores[chosen]), float(scores[half]))


def _between(counts: ThresholdCounts) -> Floats:
    """Return, for each bin, a float32 that is above all lower bins and not above it: the middle, if there is one."""
    lower = np.append(0.0, counts.largest[:-1])
    middle = ((lower + counts.smallest) / 2).astype(np.float32).astype(np.float64)
    good = (middle > lower) & (middle <= counts.smallest)
    return np.where(good, middle, counts.smallest)


def score_probabilities(counts: ProbabilityCounts, values: Iterable[int] | None = None) -> ProbabilityScores:
    """Return all scores of probabilities.

    Parameters
    ----------
    counts : ProbabilityCounts
        Of one image or many.
    values : iterable of int, optional
        The classes that means are over, such as all but the background; all by default.
    """
    per_class = {value: _class_score(counts, value) for value in counts.values}
    chosen = [per_class[counts.values[counts.index(value)]] for value in (counts.values if values is None else values)]
    return ProbabilityScores(
        roc_auc=mean(score.roc_auc for score in chosen),
        average_precision=mean(score.average_precision for score in chosen),
        brier=counts.brier(),
        ece=counts.ece(),
        classwise_ece=mean(score.ece for score in chosen),
        per_class=per_class,
        pixels=counts.pixels,
    )


def _class_score(counts: ProbabilityCounts, value: int) -> ClassProbabilityScore:
    bins = bin_counts(counts, value)
    return ClassProbabilityScore(
        value=value,
        roc_auc=roc_curve(bins).area,
        average_precision=precision_recall_curve(bins).area,
        brier=counts.brier(value),
        ece=counts.ece(value),
        best=best_threshold(bins),
    )
