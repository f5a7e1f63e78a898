"""How well labels overlap a reference: the confusion matrix, and Dice, IoU, precision and recall of each class.

A class that is in neither image has no score: NaN, left out of means. A class that is in one of them only scores 0
throughout. For a class with TP, FP and FN pixels, Dice = 2 TP / (2 TP + FP + FN) [1]_, IoU = TP / (TP + FP + FN),
precision = TP / (TP + FP), recall = TP / (TP + FN).

.. [1] Dice, L. R. (1945). Measures of the amount of ecologic association between species. Ecology 26, 297-302.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pixels that are counted at once: index arrays stay small beside the images.
_BLOCK = 2**22


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; NaN where the class is in neither image.

    `pixel_accuracy` is the share of all counted pixels for which "this class or not" is right.
    """

    value: int
    name: str
    dice: float
    iou: float
    precision: float
    recall: float
    pixel_accuracy: float
    truth_pixels: int
    predicted_pixels: int


def present_values(labels: NDArray[np.unsignedinteger[Any]]) -> list[int]:
    """Return the different values of a label image, in order."""
    if labels.dtype.itemsize <= 2:
        return [int(v) for v in np.flatnonzero(np.bincount(labels.ravel()))]
    return [int(v) for v in np.unique(labels)]


def confusion_matrix(
    prediction: NDArray[np.unsignedinteger[Any]],
    truth: NDArray[np.unsignedinteger[Any]],
    values: Sequence[int],
    ignore_values: Iterable[int] = (),
) -> NDArray[np.int64]:
    """Count pixels by true and predicted value.

    Parameters
    ----------
    prediction, truth : integer arrays of one shape
    values : sequence of int
        All values that occur, but `ignore_values`, in ascending order.
    ignore_values : iterable of int
        Pixels where `truth` has one of these don't count.

    Returns
    -------
    (K, K) int64
        Rows are true values, columns predicted ones, both in the order of `values`. Pixels whose predicted value
        is not in `values` are in no column; `evaluate` names all values that occur.
    """
    order = np.asarray(values, np.int64)
    size = len(order)
    counts = np.zeros((size + 1) ** 2, np.int64)
    ignored = np.asarray(sorted(set(ignore_values)), np.int64)
    flat_prediction, flat_truth = prediction.reshape(-1), truth.reshape(-1)
    for start in range(0, flat_truth.size, _BLOCK):
        true = flat_truth[start : start + _BLOCK]
        predicted = flat_prediction[start : start + _BLOCK]
        row, column = _index(true, order), _index(predicted, order)
        if ignored.size:
            row[np.isin(true, ignored)] = size
        counts += np.bincount(row * (size + 1) + column, minlength=counts.size)
    return counts.reshape(size + 1, size + 1)[:size, :size]


def _index(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each value in `order`, or its length for values that are not in it."""
    if values.dtype.itemsize <= 2:
        table = np.full(2 ** (8 * values.dtype.itemsize), len(order), np.int64)
        inside = order < len(table)
        table[order[inside]] = np.flatnonzero(inside)
        index: NDArray[np.int64] = table[values]
        return index
    place = np.searchsorted(order, values)
    found = place < len(order)
    found[found] = order[place[found]] == values[found]
    return np.where(found, place, len(order))


def class_scores(
    matrix: NDArray[np.int64], values: Sequence[int], names: Mapping[int, str] | None = None
) -> dict[int, ClassScore]:
    """Return the scores of each class of a confusion matrix, by value.

    Parameters
    ----------
    matrix : (K, K) int64
        See `confusion_matrix`.
    values : sequence of int
        Values of its rows and columns.
    names : mapping, optional
        Names of values; others are called by their number.
    """
    scores = {}
    total = float(matrix.sum())
    for k, value in enumerate(values):
        both = float(matrix[k, k])
        true, predicted = float(matrix[k].sum()), float(matrix[:, k].sum())
        either = true + predicted - both
        scores[value] = ClassScore(
            value=value,
            name=(names or {}).get(value, "background" if value == 0 else str(value)),
            dice=2 * both / (true + predicted) if either else math.nan,
            iou=both / either if either else math.nan,
            precision=both / max(predicted, 1) if either else math.nan,
            recall=both / max(true, 1) if either else math.nan,
            pixel_accuracy=(total - either + both) / total if either else math.nan,
            truth_pixels=int(true),
            predicted_pixels=int(predicted),
        )
    return scores


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Return the share of counted pixels, background included, that have the right value; NaN if there are none."""
    total = int(matrix.sum())
    return float(np.trace(matrix)) / total if total else math.nan


def mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
