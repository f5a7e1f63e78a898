"""How well predicted and reference values go together: Pearson's r, and the intraclass correlation.

Pearson's r has Fisher's interval. It doesn't see a bias: twice the reference has r = 1. The intraclass correlation
(ICC) does, in the forms 1 and 2. Its six forms are those of Shrout and Fleiss [1]_, with the intervals of McGraw and
Wong [2]_, who call them otherwise:

========  ======  ==========================================================================================
ICC(1,1)  ICC(1)  each image was measured by others (one-way random effects)
ICC(2,1)  ICC(A,1)  absolute agreement: the same raters for all images, a sample of many (two-way random)
ICC(3,1)  ICC(C,1)  consistency: the same, and no others matter; a constant bias doesn't count (two-way mixed)
ICC(1,k) ...  ICC(k) ...  the same for the mean over the k raters
========  ======  ==========================================================================================

With fewer than three images, or where all values are the same, there is neither: NaN, and a note. Where raters agree
exactly on different images the ICC is 1, with an interval from 1 to 1.

.. [1] Shrout, P. E., and Fleiss, J. L. (1979). Intraclass correlations: uses in assessing rater reliability.
   Psychological Bulletin 86, 420-428.
.. [2] McGraw, K. O., and Wong, S. P. (1996). Forming inferences about some intraclass correlation coefficients.
   Psychological Methods 1, 30-46.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from napari_segnet.axes import counted
from napari_segnet.errors import DataError
from napari_segnet.evaluation.columns import Column, as_pairs, checked_confidence, is_constant
from napari_segnet.evaluation.regression import FEWEST, too_few

_ROUNDING = 1e-13


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation.

    Attributes
    ----------
    n : int
    r, low, high : float
        With its confidence interval, which is -1 to 1 for three images.
    p : float
        Of an r other than 0, two-sided.
    notes : tuple of str
        What was left out, and why there is none.
    """

    n: int
    r: float
    low: float
    high: float
    p: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntraclassCorrelation:
    """One form of the intraclass correlation.

    Attributes
    ----------
    form : str
        ``"ICC(2,1)"`` and the like.
    n, raters : int
        Images, and values of each.
    value, low, high : float
        With its confidence interval.
    f, p : float
        F test of an ICC other than 0.
    df1, df2 : int
        Its degrees of freedom.
    notes : tuple of str
        What was left out, and why there is none.
    """

    form: str
    n: int
    raters: int
    value: float
    low: float
    high: float
    f: float
    df1: int
    df2: int
    p: float
    notes: tuple[str, ...] = ()


def pearson(predicted: ArrayLike, reference: ArrayLike, confidence: float = 0.95) -> Correlation:
    """Return Pearson's correlation.

    Parameters
    ----------
    predicted, reference : (N,) sequences of float
        One number for each image. Pairs with NaN are left out.
    confidence : float

    Returns
    -------
    Correlation

    Raises
    ------
    DataError
        If the lengths differ, or they are no finite numbers.
    ConfigError
        If `confidence` is none.
    """
    y, x, notes = as_pairs(predicted, reference)
    checked_confidence(confidence)
    n = len(x)
    reason = too_few(n) if n < FEWEST else _no_correlation(y, x)
    if reason:
        return Correlation(n, *(math.nan,) * 4, (*notes, reason))
    dx, dy = (side - side.mean() for side in (x, y))
    r = float(np.clip((dx / np.linalg.norm(dx)) @ (dy / np.linalg.norm(dy)), -1, 1))
    if 1 - abs(r) < _ROUNDING:
        sign = math.copysign(1, r)
        return Correlation(n, sign, sign, sign, 0.0, notes)
    p = 2 * float(stats.t.sf(abs(r) * math.sqrt((n - 2) / (1 - r**2)), n - 2))
    if n == FEWEST:
        return Correlation(n, r, -1.0, 1.0, p, notes)
    reach = float(stats.norm.ppf((1 + confidence) / 2)) / math.sqrt(n - 3)
    return Correlation(n, r, math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach), p, notes)


def _no_correlation(predicted: Column, reference: Column) -> str:
    for name, side in (("the prediction", predicted), ("the reference", reference)):
        if is_constant(side):
            return f"All values of {name} are {side[0]:.6g}: no correlation."
    return ""


def intraclass_correlations(ratings: ArrayLike, confidence: float = 0.95) -> dict[str, IntraclassCorrelation]:
    """Return the six forms of the intraclass correlation.

    Parameters
    ----------
    ratings : (N, K) array of float
        A row an image, a column a rater: predicted and reference values, or those of several annotators. Rows with
        NaN are left out.
    confidence : float

    Returns
    -------
    dict of str to IntraclassCorrelation
        ``"ICC(1,1)"``, ``"ICC(2,1)"``, ``"ICC(3,1)"``, ``"ICC(1,k)"``, ``"ICC(2,k)"``, ``"ICC(3,k)"``.

    Raises
    ------
    DataError
        If there are fewer than two raters, or it isn't a table of finite numbers.
    ConfigError
        If `confidence` is none.
    """
    checked_confidence(confidence)
    table, notes = _checked_ratings(ratings)
    n, k = table.shape
    reason = too_few(n) if n < FEWEST else ""
    if not reason and is_constant(table.reshape(-1)):
        reason = f"All values are {table[0, 0]:.6g}: no correlation."
    wide, narrow = n * (k - 1), (n - 1) * (k - 1)
    nan = math.nan
    if reason:
        forms = [(f"ICC({kind},{size})", wide if kind == "1" else narrow) for size in "1k" for kind in "123"]
        return {
            form: IntraclassCorrelation(form, n, k, nan, nan, nan, nan, n - 1, df2, nan, (*notes, reason))
            for form, df2 in forms
        }
    between, raters, residual, within = _mean_squares(table)
    if between == 0:
        notes = (*notes, "The images have all the same mean.")
    tails = (1 - confidence) / 2
    found = {}
    for kind, error, df2 in (("1", within, wide), ("2", residual, narrow), ("3", residual, narrow)):
        ratio = between / error if error else (math.inf if between else nan)
        if kind == "2":
            bottom = between + (k - 1) * residual + k * (raters - residual) / n
            value = (between - residual) / bottom if bottom else nan
            low, high = _absolute_interval(between, raters, residual, value, n, k, tails)
        else:
            value = _from_f(ratio, k)
            low = _from_f(ratio / float(stats.f.isf(tails, n - 1, df2)), k)
            high = _from_f(ratio * float(stats.f.isf(tails, df2, n - 1)), k)
        p = float(stats.f.sf(ratio, n - 1, df2))
        for size, averaged in (("1", 1), ("k", k)):
            form = f"ICC({kind},{size})"
            mean_value, mean_low, mean_high = (_of_mean(number, averaged) for number in (value, low, high))
            found[form] = IntraclassCorrelation(
                form, n, k, mean_value, mean_low, mean_high, ratio, n - 1, df2, p, notes
            )
    return {form: found[form] for form in sorted(found, key=lambda form: (form[-2], form))}


def _checked_ratings(ratings: ArrayLike) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    try:
        table = np.asarray(ratings, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            "The ratings are no numbers.", "Give a row for each image and a column for each rater."
        ) from error
    if table.ndim != 2 or table.shape[1] < 2:
        raise DataError(
            f"Ratings of the shape {table.shape} can't be compared.",
            "Give a row for each image, and a column for each of at least two raters.",
        )
    if np.isinf(table).any():
        raise DataError("One of the ratings is infinite.", "Leave this image out, or put NaN.")
    kept: NDArray[np.bool_] = np.asarray(~np.isnan(table).any(axis=1))
    left_out = int(np.count_nonzero(~kept))
    notes = (f"{counted(left_out, 'image')} of {len(kept)} left out: a value is missing.",) if left_out else ()
    return table[kept], notes


def _mean_squares(table: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return the mean squares between images, between raters, of the rest, and within images."""
    n, k = table.shape
    table = table - table.mean()
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns
    inside = table - rows[:, None]
    # What is left by rounding counts as nothing.
    least = _ROUNDING * float((table**2).sum())
    sums = [k * (rows**2).sum(), n * (columns**2).sum(), (rest**2).sum(), (inside**2).sum()]
    freedom = [n - 1, k - 1, (n - 1) * (k - 1), n * (k - 1)]
    found = [float(s) / df if s > least else 0.0 for s, df in zip(sums, freedom, strict=True)]
    return found[0], found[1], found[2], found[3]


def _from_f(f: float, k: int) -> float:
    """Return the ICC of single raters that belongs to a ratio of mean squares."""
    return 1.0 if math.isinf(f) else (f - 1) / (f + k - 1)


def _of_mean(icc: float, k: int) -> float:
    """Return the ICC of the mean of k raters (Spearman and Brown)."""
    bottom = 1 + (k - 1) * icc
    return k * icc / bottom if bottom else -math.inf


def _absolute_interval(
    between: float, raters: float, residual: float, icc: float, n: int, k: int, tails: float
) -> tuple[float, float]:
    """Return the confidence interval of ICC(2,1); degrees of freedom as Satterthwaite's."""
    if raters == residual == 0:
        return icc, icc
    a = k * icc * raters
    b = (n * (1 + (k - 1) * icc) - k * icc) * residual
    if a == b == 0:
        return math.nan, math.nan
    freedom = (n - 1) * (k - 1) * (a + b) ** 2 / ((n - 1) * a**2 + b**2)
    rest = k * raters + (k * n - k - n) * residual
    upper = float(stats.f.isf(tails, n - 1, freedom))
    lower = float(stats.f.isf(tails, freedom, n - 1))
    return (
        n * (between - upper * residual) / (upper * rest + n * between),
        n * (lower * between - residual) / (rest + n * lower * between),
    )
