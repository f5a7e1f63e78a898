"""Lines through measured pairs: least squares, and Deming's where both sides have errors.

Least squares takes the reference as exact; where it isn't, its slope comes out too flat. Deming's regression [1]_ lets
both have errors; `ratio` is the variance of the prediction's by that of the reference's, 1 by default, which makes it
the line with the smallest distances (orthogonal regression). Its intervals are the jackknife's, with Student's t of
n - 2 degrees of freedom [2]_.

No line is given of fewer than three images, or where the reference has one value only: NaN, and a note.

.. [1] Deming, W. E. (1943). Statistical adjustment of data. Wiley.
.. [2] Linnet, K. (1993). Evaluation of regression procedures for methods comparison studies. Clinical Chemistry 39,
   424-432.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from napari_segnet.axes import counted
from napari_segnet.errors import ConfigError
from napari_segnet.evaluation.columns import Column, as_pairs, checked_confidence, is_constant

FEWEST = 3
"""The fewest images with which a line, a correlation or the like means something: two are always on a line."""


@dataclass(frozen=True)
class Line:
    """A line, predicted = intercept + slope x reference, with confidence intervals.

    Attributes
    ----------
    n : int
    slope, slope_low, slope_high : float
    intercept, intercept_low, intercept_high : float
    notes : tuple of str
        What was left out, and why there is no line.
    """

    n: int
    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_low: float
    intercept_high: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeastSquares(Line):
    """A line of least squares.

    Attributes
    ----------
    r_squared : float
        Share of the variance of the predictions that the line explains; NaN if these are constant.
    residual_sd : float
        Standard deviation of the predictions from the line, with n - 2 degrees of freedom.
    p : float
        Of a slope other than 0, two-sided.
    """

    r_squared: float = math.nan
    residual_sd: float = math.nan
    p: float = math.nan


def too_few(n: int) -> str:
    """Say that there are too few images."""
    return f"{counted(n, 'image')}: at least {FEWEST} are needed."


def least_squares(predicted: ArrayLike, reference: ArrayLike, confidence: float = 0.95) -> LeastSquares:
    """Fit a line of least squares.

    Parameters
    ----------
    predicted, reference : (N,) sequences of float
        The line gives the first from the second. Pairs with NaN are left out.
    confidence : float

    Returns
    -------
    LeastSquares

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
    reason = _no_line(x)
    if reason:
        return LeastSquares(n, *(math.nan,) * 6, notes=(*notes, reason))
    dx, dy = x - x.mean(), y - y.mean()
    sxx, sxy, syy = float(dx @ dx), float(dx @ dy), 0.0 if is_constant(y) else float(dy @ dy)
    slope = 0.0 if syy == 0 else sxy / sxx
    intercept = float(y.mean() - slope * x.mean())
    rest = dy - slope * dx if syy else np.zeros(n)
    variance = float(rest @ rest) / (n - 2)
    slope_error = math.sqrt(variance / sxx)
    intercept_error = math.sqrt(variance * (1 / n + x.mean() ** 2 / sxx))
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 2))
    t = abs(slope) / slope_error if slope_error else (math.inf if slope else 0.0)
    return LeastSquares(
        n,
        slope,
        slope - reach * slope_error,
        slope + reach * slope_error,
        intercept,
        intercept - reach * intercept_error,
        intercept + reach * intercept_error,
        notes,
        r_squared=1 - float(rest @ rest) / syy if syy else math.nan,
        residual_sd=math.sqrt(variance),
        p=2 * float(stats.t.sf(t, n - 2)),
    )


def deming(predicted: ArrayLike, reference: ArrayLike, ratio: float = 1.0, confidence: float = 0.95) -> Line:
    """Fit a line where both sides have errors.

    Parameters
    ----------
    predicted, reference : (N,) sequences of float
        The line gives the first from the second. Pairs with NaN are left out.
    ratio : float
        Variance of the errors of the prediction by that of the reference's.
    confidence : float

    Returns
    -------
    Line

    Raises
    ------
    DataError
        If the lengths differ, or they are no finite numbers.
    ConfigError
        If `ratio` is not above 0, or `confidence` is none.
    """
    y, x, notes = as_pairs(predicted, reference)
    checked_confidence(confidence)
    if not 0 < ratio < math.inf:
        raise ConfigError(f"ratio = {ratio}.", "Give the ratio of two variances, a number above 0.")
    n = len(x)
    reason = _no_line(x)
    if reason:
        return Line(n, *(math.nan,) * 6, notes=(*notes, reason))
    dx, dy = x - x.mean(), y - y.mean()
    sums = np.array([dx @ dx, dx @ dy, dy @ dy])
    slope = float(_deming_slope(sums[:, None], ratio)[0])
    if math.isnan(slope):
        return Line(n, *(math.nan,) * 6, notes=(*notes, "Prediction and reference don't go together: no line."))
    intercept = float(y.mean() - slope * x.mean())
    # Sums and means without each of the images.
    without = sums[:, None] - n / (n - 1) * np.stack([dx * dx, dx * dy, dy * dy])
    slopes = _deming_slope(np.where(np.abs(without) <= 1e-13 * sums[[0, 1, 2], None], 0, without), ratio)
    intercepts = (n * y.mean() - y - slopes * (n * x.mean() - x)) / (n - 1)
    if np.isnan(slopes).any():
        notes = (*notes, "Without one of the images there is no line, and so no confidence interval.")
    slope_reach = _jackknife_reach(slopes, slope, confidence)
    intercept_reach = _jackknife_reach(intercepts, intercept, confidence)
    return Line(
        n,
        slope,
        slope - slope_reach,
        slope + slope_reach,
        intercept,
        intercept - intercept_reach,
        intercept + intercept_reach,
        notes,
    )


def _no_line(x: Column) -> str:
    if len(x) < FEWEST:
        return too_few(len(x))
    return f"All values of the reference are {x[0]:.6g}: no line." if is_constant(x) else ""


def _deming_slope(sums: NDArray[np.float64], ratio: float) -> NDArray[np.float64]:
    """Return the slope for sums of squares and products (xx, xy, yy) along the first axis; NaN if there is none."""
    sxx, sxy, syy = sums
    lean = syy - ratio * sxx
    root = np.sqrt(lean**2 + 4 * ratio * sxy**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Two forms of one solution: each is exact where the other loses digits.
        steep = (lean + root) / (2 * sxy)
        flat = 2 * ratio * sxy / (root - lean)
    slope = np.where(lean > 0, steep, flat)
    return np.where(np.isfinite(slope), slope, math.nan)


def _jackknife_reach(without: NDArray[np.float64], whole: float, confidence: float) -> float:
    """Return half the width of the jackknife's confidence interval."""
    n = len(without)
    pseudo = n * whole - (n - 1) * without
    error = float(pseudo.std(ddof=1)) / math.sqrt(n)
    return float(stats.t.ppf((1 + confidence) / 2, n - 2)) * error
