"""How well labels overlap a reference: the confusion matrix, and all that is counted from it.

For a class with T true and P predicted pixels, TP of them in common, of N pixels that count: Dice = 2 TP / (T + P)
[1]_, IoU = TP / (T + P - TP), precision = TP / P, recall = TP / T, specificity = (N - T - P + TP) / (N - T), and so on
(`napari_segnet.evaluation.measures` lists all, with their sources).

A class that is in neither image has no score: NaN, left out of means. A class that is in one of them only scores 0,
but for the measures that count what was rightly left alone (specificity, pixel accuracy). There is no relative
difference of area (NaN) from nothing, no specificity where the reference has no pixel outside the class, and neither
kappa nor MCC where both images hold one and the same value everywhere: no agreement by chance can be taken off.

.. [1] Dice, L. R. (1945). Measures of the amount of ecologic association between species. Ecology 26, 297-302.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import ConfigError, DataError, unknown_name

# Pixels that are counted at once: index arrays stay small beside the images.
_BLOCK = 2**22


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; NaN where the class is in neither image.

    Attributes
    ----------
    value, name
        The value in label images, and what it stands for.
    dice, iou, precision, recall : float
        Dice is F1, and recall is sensitivity.
    pixel_accuracy : float
        The share of all counted pixels for which "this class or not" is right.
    truth_pixels, predicted_pixels, true_positives, pixels : int
        Pixels of the reference, of the prediction, in common, and all that count.
    specificity, f2, f05, kappa, mcc, voe, rvd : float
        See `napari_segnet.evaluation.measures`; kappa and MCC are those of "this class or not".
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
    specificity: float
    f2: float
    f05: float
    kappa: float
    mcc: float
    voe: float
    rvd: float
    true_positives: int
    pixels: int

    def f_beta(self, beta: float) -> float:
        """Return F-beta; see the function `f_beta`."""
        return f_beta(self.true_positives, self.truth_pixels, self.predicted_pixels, beta)


@dataclass(frozen=True)
class Confusion:
    """How many pixels of each true value were predicted as each value.

    Attributes
    ----------
    values : tuple of int
        Values of rows and columns, ascending.
    counts : tuple of tuple of int
        A row a true value, in it a number a predicted value.
    names : dict
        Names of values; others are called by their number.
    """

    values: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]
    names: dict[int, str] = field(default_factory=dict)

    @property
    def matrix(self) -> NDArray[np.int64]:
        """The counts as a (K, K) array."""
        return np.array(self.counts, np.int64).reshape(len(self.values), len(self.values))

    def __add__(self, other: Confusion) -> Confusion:
        """Return the counts of both together; they need the same values."""
        if self.values != other.values:
            raise DataError(
                f"Confusion matrices of the values {self.values} and {other.values} can't be added.",
                "Compare all images with the same classes.",
            )
        return make_confusion(self.matrix + other.matrix, self.values, self.names | other.names)

    def normalised(self, by: Literal["truth", "prediction", "all"] = "truth") -> NDArray[np.float64]:
        """Return shares instead of counts; see the function `normalised`."""
        return normalised(self.matrix, by)


def make_confusion(
    matrix: NDArray[np.int64], values: Sequence[int], names: Mapping[int, str] | None = None
) -> Confusion:
    """Return a matrix (K, K) with its values and names as a `Confusion`."""
    return Confusion(tuple(values), tuple(tuple(row) for row in matrix.tolist()), dict(names or {}))


def normalised(matrix: NDArray[np.int64], by: Literal["truth", "prediction", "all"] = "truth") -> NDArray[np.float64]:
    """Return a confusion matrix as shares.

    Parameters
    ----------
    matrix : (K, K) int64
        See `confusion_matrix`.
    by : {"truth", "prediction", "all"}
        What adds up to 1: each row (where the pixels of a true value went; the diagonal is the recall), each column
        (where those of a predicted value come from; the diagonal is the precision), or everything.

    Returns
    -------
    (K, K) float64
        NaN in rows, or columns, without a pixel.

    Raises
    ------
    ConfigError
        If `by` is none of these.
    """
    totals = {
        "truth": lambda: matrix.sum(axis=1, keepdims=True),
        "prediction": lambda: matrix.sum(axis=0, keepdims=True),
        "all": lambda: matrix.sum(keepdims=True),
    }
    if by not in totals:
        raise unknown_name("way to normalise", by, totals)
    total = np.broadcast_to(totals[by](), matrix.shape)
    shares = np.full(matrix.shape, np.nan)
    np.divide(matrix, total, out=shares, where=total > 0)
    return shares


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
    true_order = np.where(np.isin(order, sorted(set(ignore_values))), -1, order)
    code_type = np.min_scalar_type(counts.size)
    flat_prediction, flat_truth = prediction.reshape(-1), truth.reshape(-1)
    for start in range(0, flat_truth.size, _BLOCK):
        row = _index(flat_truth[start : start + _BLOCK], true_order, code_type)
        column = _index(flat_prediction[start : start + _BLOCK], order, code_type)
        # In place, and as narrow as it goes: what is moved through memory is what takes the time.
        row *= code_type.type(size + 1)
        row += column
        counts += np.bincount(row, minlength=counts.size)
    return counts.reshape(size + 1, size + 1)[:size, :size]


def _index(values: NDArray[Any], order: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the place of each value in `order`, or its length for values that are not in it."""
    if values.dtype.itemsize > 2 and values.size and values.max() < 2**16:
        values = values.astype(np.uint16)
    if values.dtype.itemsize <= 2:
        table = np.full(2 ** (8 * values.dtype.itemsize), len(order), dtype)
        inside = (order >= 0) & (order < len(table))
        table[order[inside]] = np.flatnonzero(inside)
        return np.take(table, values)
    if not len(order):
        return np.zeros(values.shape, dtype)
    rank = np.argsort(order)
    place = np.minimum(np.searchsorted(order, values, sorter=rank), len(order) - 1)
    return np.where(order[rank[place]] == values, rank[place], len(order)).astype(dtype)


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
    total = int(matrix.sum())
    hits, true, predicted = (line.tolist() for line in (np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)))
    return {
        value: _class_score(value, class_name(value, names), hits[k], true[k], predicted[k], total)
        for k, value in enumerate(values)
    }


def class_name(value: int, names: Mapping[int, str] | None = None) -> str:
    """Return the name of a value: as given, else ``"background"`` for 0, else the number."""
    return (names or {}).get(value, "background" if value == 0 else str(value))


def _class_score(value: int, name: str, both: int, true: int, predicted: int, total: int) -> ClassScore:
    either = true + predicted - both
    against = np.array([[both, true - both], [predicted - both, total - either]], np.int64)
    iou = both / either if either else math.nan
    return ClassScore(
        value=value,
        name=name,
        dice=f_beta(both, true, predicted, 1),
        iou=iou,
        precision=both / max(predicted, 1) if either else math.nan,
        recall=both / max(true, 1) if either else math.nan,
        pixel_accuracy=(total - either + both) / total if either else math.nan,
        truth_pixels=true,
        predicted_pixels=predicted,
        specificity=(total - either) / (total - true) if either and total > true else math.nan,
        f2=f_beta(both, true, predicted, 2),
        f05=f_beta(both, true, predicted, 0.5),
        kappa=kappa(against) if either else math.nan,
        mcc=mcc(against) if either else math.nan,
        voe=1 - iou,
        rvd=(predicted - true) / true if true else math.nan,
        true_positives=both,
        pixels=total,
    )


def f_beta(true_positives: int, truth_pixels: int, predicted_pixels: int, beta: float = 1.0) -> float:
    """Return F-beta: the weighted harmonic mean of precision and recall, in which recall weighs beta times as much.

    (1 + beta^2) TP / (beta^2 T + P), as van Rijsbergen (1979), Information Retrieval; beta = 1 is Dice.

    Parameters
    ----------
    true_positives, truth_pixels, predicted_pixels : int
        Pixels in common, of the reference, of the prediction.
    beta : float
        Above 0.

    Returns
    -------
    float
        NaN if there is no pixel in either image.

    Raises
    ------
    ConfigError
        If `beta` is not a finite number above 0.
    """
    if not (math.isfinite(beta) and beta > 0):
        raise ConfigError(f"beta = {beta!r}.", "It is a number above 0: 2 weighs recall more, 0.5 precision.")
    weighted = beta**2 * truth_pixels + predicted_pixels
    return (1 + beta**2) * true_positives / weighted if weighted else math.nan


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Return the share of counted pixels, background included, that have the right value; NaN if there are none."""
    total = int(matrix.sum())
    return float(np.trace(matrix)) / total if total else math.nan


def class_accuracy(matrix: NDArray[np.int64]) -> float:
    """Return the mean recall over the values that the reference has, background included; NaN if it has none.

    Also known as mean accuracy (Long et al. 2015, arXiv:1411.4038) and balanced accuracy.
    """
    true = matrix.sum(axis=1)
    return mean((np.diag(matrix)[true > 0] / true[true > 0]).tolist())


def frequency_weighted_iou(matrix: NDArray[np.int64]) -> float:
    """Return the mean IoU in which each value weighs as many pixels as the reference has of it; NaN without pixels.

    Background included (Long et al. 2015, arXiv:1411.4038).
    """
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    total = int(true.sum())
    return float((true * (hits / np.maximum(true + predicted - hits, 1))).sum()) / total if total else math.nan


def kappa(matrix: NDArray[np.int64]) -> float:
    """Return Cohen's kappa: the agreement beyond chance (Cohen 1960, Educ. Psychol. Meas. 20, 37-46).

    NaN where both images hold one and the same value everywhere, or no pixel counts.
    """
    shares = _shares(matrix)
    if shares is None:
        return math.nan
    true, predicted, right = shares
    chance = float(true @ predicted)
    return (right - chance) / (1 - chance)


def mcc(matrix: NDArray[np.int64]) -> float:
    """Return Matthews' correlation coefficient, for more than two values Gorodkin's R_K.

    Matthews 1975, Biochim. Biophys. Acta 405, 442-451; Gorodkin 2004, Comput. Biol. Chem. 28, 367-374. NaN where
    both images hold one and the same value everywhere, or no pixel counts; 0 where just one of them is constant.
    """
    shares = _shares(matrix)
    if shares is None:
        return math.nan
    true, predicted, right = shares
    if np.count_nonzero(true) == 1 or np.count_nonzero(predicted) == 1:
        return 0.0
    spread = math.sqrt((1 - float(true @ true)) * (1 - float(predicted @ predicted)))
    return (right - float(true @ predicted)) / spread


def _shares(matrix: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
    """Return the shares of true and of predicted values, and of right pixels; None if none or one value is there."""
    if matrix.max(initial=0) == np.trace(matrix) == matrix.sum():
        return None
    total = float(matrix.sum())
    true, predicted = (cast("NDArray[np.float64]", matrix.sum(axis=axis) / total) for axis in (1, 0))
    return true, predicted, float(np.trace(matrix)) / total


def mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
