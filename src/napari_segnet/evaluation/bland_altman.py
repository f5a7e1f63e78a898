"""How far predicted areas or volumes are from the reference's: Bland and Altman's bias and limits of agreement.

Differences are predicted minus reference. The bias is their mean, the limits of agreement are bias - 1.96 SD and
bias + 1.96 SD, between which 95 % of the differences of further images are expected if they are normally distributed
[1]_. The bias has Student's confidence interval. That of a limit is exact by default, from the noncentral t
distribution [3]_; ``interval="approximate"`` is the one of Bland and Altman [2]_, limit +- t SD sqrt(1 / n +
1.96^2 / (2 (n - 1))), which doesn't reach far enough outwards where images are few.

In percent, each difference is by the mean of both values [2]_, so that 200 % stand for an object that is in one of
them only; where both are 0, they agree: 0 %.

Differences may grow with what is measured: `trend` is the line of least squares of the differences over the means.

With one image there is a bias, but no SD; without any there is nothing: NaN, and a note. Where all differences are the
same, the SD is 0, and all intervals have no width.

.. [1] Bland, J. M., and Altman, D. G. (1986). Statistical methods for assessing agreement between two methods of
   clinical measurement. The Lancet 327, 307-310.
.. [2] Bland, J. M., and Altman, D. G. (1999). Measuring agreement in method comparison studies. Statistical Methods in
   Medical Research 8, 135-160.
.. [3] Carkeet, A. (2015). Exact parametric confidence intervals for Bland-Altman limits of agreement. Optometry and
   Vision Science 92, e71-e80.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from napari_segnet.errors import ConfigError, DataError, unknown_name
from napari_segnet.evaluation.columns import Column, as_pairs, checked_confidence, differences_of, is_constant
from napari_segnet.evaluation.regression import LeastSquares, least_squares

LimitInterval = Literal["exact", "approximate"]


@dataclass(frozen=True)
class BlandAltman:
    """Bias and limits of agreement.

    Attributes
    ----------
    n : int
        Pairs.
    bias, bias_low, bias_high : float
        Mean difference, predicted - reference, and its confidence interval.
    sd : float
        Standard deviation of the differences.
    lower, lower_low, lower_high : float
        Lower limit of agreement and its confidence interval.
    upper, upper_low, upper_high : float
        The upper one.
    trend : LeastSquares
        The differences as a line over the means.
    percent : bool
        Whether differences are in percent of the mean of both.
    means, differences : tuple of float
        A point of the plot for each pair.
    notes : tuple of str
        What was left out, and what can't be said.
    """

    n: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float
    trend: LeastSquares
    percent: bool
    means: tuple[float, ...]
    differences: tuple[float, ...]
    notes: tuple[str, ...] = ()


def bland_altman(
    predicted: ArrayLike,
    reference: ArrayLike,
    *,
    percent: bool = False,
    share: float = 0.95,
    confidence: float = 0.95,
    interval: LimitInterval = "exact",
) -> BlandAltman:
    """Return bias and limits of agreement.

    Parameters
    ----------
    predicted, reference : (N,) sequences of float
        One number for each image. Pairs with NaN are left out.
    percent : bool
        Whether differences are in percent of the mean of both; needs numbers from 0 on.
    share : float
        Of the differences between the limits; 0.95 makes them 1.96 SD.
    confidence : float
        Of the confidence intervals.
    interval : {"exact", "approximate"}
        Those of the limits.

    Returns
    -------
    BlandAltman

    Raises
    ------
    DataError
        If the lengths differ, they are no finite numbers, or negative where percents are asked for.
    ConfigError
        If another parameter has no such value.
    """
    if interval not in get_args(LimitInterval):
        raise unknown_name("interval", str(interval), get_args(LimitInterval))
    if not 0 < share < 1:
        raise ConfigError(f"share = {share}.", "Choose the share of differences between the limits, such as 0.95.")
    checked_confidence(confidence)
    y, x, notes = as_pairs(predicted, reference)
    means, differences = (x + y) / 2, differences_of(y, x)
    if percent:
        differences = _percents(differences, means)
    n = len(differences)
    trend = least_squares(differences, means, confidence)
    points = tuple(means.tolist()), tuple(differences.tolist())
    if n < 2:
        bias = float(differences[0]) if n else math.nan
        reason = "One image: there is no standard deviation." if n else "There are no images."
        return BlandAltman(n, bias, *(math.nan,) * 9, trend, percent, *points, (*notes, reason))
    bias = float(differences.mean())
    scales = [np.full(1, 100.0)] if percent else [x, y]
    sd = 0.0 if is_constant(differences, *scales) else float(differences.std(ddof=1))
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
    z = float(stats.norm.ppf((1 + share) / 2))
    inner, outer = _limit_factors(n, z, confidence, interval)
    return BlandAltman(
        n,
        bias,
        bias - reach,
        bias + reach,
        sd,
        bias - z * sd,
        bias - outer * sd,
        bias - inner * sd,
        bias + z * sd,
        bias + inner * sd,
        bias + outer * sd,
        trend,
        percent,
        *points,
        notes,
    )


def _percents(differences: Column, means: Column) -> Column:
    if ((means - np.abs(differences) / 2) < 0).any():
        raise DataError(
            "Percents of negative numbers mean nothing.", "Take differences in units, or areas and volumes from 0 on."
        )
    return 100 * differences / np.where(means == 0, 1, means)


def _limit_factors(n: int, z: float, confidence: float, interval: LimitInterval) -> tuple[float, float]:
    """Return how many SD from the bias the confidence interval of a limit of z SD begins and ends."""
    if interval == "approximate":
        reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * math.sqrt(1 / n + z**2 / (2 * (n - 1)))
        return z - reach, z + reach
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    inner, outer = (stats.nct.ppf(tails, n - 1, z * math.sqrt(n)) / math.sqrt(n)).tolist()
    return inner, outer
