"""Whether two series of numbers of the same images differ: paired t-test, Wilcoxon's signed ranks, effect sizes.

Effect sizes: Cohen's d_z, the mean difference by the differences' standard deviation, and Hedges' g_z, the same
without the bias of small samples [1]_; of the ranks, the matched-pairs rank-biserial correlation [2]_, the ranks of
positive minus those of negative differences by all ranks: 1 if all differences are positive, -1 if all are negative.

Wilcoxon's test [3]_: differences of 0 are left out. Up to 50 others, p is exact, ties included (as if each rank had
its sign by chance); above, it is that of the normal approximation with the variance corrected for ties.

Special cases: where all differences are 0, p = 1 and effects are 0. Where all have the same other value, they have no
spread, and there is no t-test: NaN, and a note. Below six differences Wilcoxon's p can't be below 0.05, and a note says
how low it can be.

.. [1] Lakens, D. (2013). Calculating and reporting effect sizes to facilitate cumulative science. Frontiers in
   Psychology 4, 863.
.. [2] Kerby, D. S. (2014). The simple difference formula: an approach to teaching nonparametric correlation.
   Comprehensive Psychology 3, 11.IT.3.1.
.. [3] Wilcoxon, F. (1945). Individual comparisons by ranking methods. Biometrics Bulletin 1, 80-83.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from napari_segnet.axes import counted
from napari_segnet.evaluation.columns import Column, as_pairs, checked_confidence, differences_of, is_constant

_MOST_EXACT = 50


@dataclass(frozen=True)
class TTest:
    """A paired t-test.

    Attributes
    ----------
    n : int
        Pairs.
    mean, low, high : float
        Mean difference, first - second, with its confidence interval.
    t, p : float
        Two-sided.
    df : int
        Degrees of freedom.
    cohen_dz, hedges_gz : float
        Effect sizes.
    notes : tuple of str
        What was left out, and why there is no test.
    """

    n: int
    mean: float
    low: float
    high: float
    t: float
    df: int
    p: float
    cohen_dz: float
    hedges_gz: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wilcoxon:
    """Wilcoxon's signed-rank test.

    Attributes
    ----------
    n : int
        Differences that aren't 0.
    zeros : int
        Those that are.
    positive, negative : float
        Sums of the ranks of positive and of negative differences, first - second.
    p : float
        Two-sided.
    rank_biserial : float
        Effect size, -1 to 1.
    method : {"exact", "normal"}
        Where p is from.
    notes : tuple of str
        What was left out, and what can't be said.
    """

    n: int
    zeros: int
    positive: float
    negative: float
    p: float
    rank_biserial: float
    method: Literal["exact", "normal"]
    notes: tuple[str, ...] = ()


def paired_t_test(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> TTest:
    """Test whether the mean difference is 0 (Student).

    Parameters
    ----------
    first, second : (N,) sequences of float
        One number of each for each image. Pairs with NaN are left out.
    confidence : float

    Returns
    -------
    TTest

    Raises
    ------
    DataError
        If the lengths differ, or they are no finite numbers.
    ConfigError
        If `confidence` is none.
    """
    checked_confidence(confidence)
    a, b, notes = as_pairs(first, second)
    differences = differences_of(a, b)
    n = len(differences)
    nan = math.nan
    if n < 2:
        mean = float(differences[0]) if n else nan
        reason = "One pair has no spread: no test." if n else "There are no pairs."
        return TTest(n, mean, nan, nan, nan, max(n - 1, 0), nan, nan, nan, (*notes, reason))
    mean = float(differences.mean())
    if is_constant(differences, a, b):
        if mean == 0:
            reason = "All differences are 0."
            return TTest(n, 0.0, 0.0, 0.0, 0.0, n - 1, 1.0, 0.0, 0.0, (*notes, reason))
        reason = f"All differences are {mean:.6g}: without a spread there is no test."
        return TTest(n, mean, mean, mean, nan, n - 1, nan, nan, nan, (*notes, reason))
    sd = float(differences.std(ddof=1))
    t = mean / (sd / math.sqrt(n))
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
    return TTest(
        n,
        mean,
        mean - reach,
        mean + reach,
        t,
        n - 1,
        2 * float(stats.t.sf(abs(t), n - 1)),
        mean / sd,
        hedges_correction(n - 1) * mean / sd,
        notes,
    )


def hedges_correction(df: int) -> float:
    """Return by what a standardized mean has to be multiplied to be unbiased (Hedges 1981); NaN below two."""
    if df < 2:
        return math.nan
    return math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)


def wilcoxon(first: ArrayLike, second: ArrayLike) -> Wilcoxon:
    """Test whether differences lie around 0 (Wilcoxon's signed ranks).

    Parameters
    ----------
    first, second : (N,) sequences of float
        One number of each for each image. Pairs with NaN are left out.

    Returns
    -------
    Wilcoxon

    Raises
    ------
    DataError
        If the lengths differ, or they are no finite numbers.
    """
    a, b, notes = as_pairs(first, second)
    differences = differences_of(a, b)
    moved = differences[differences != 0]
    n, zeros = len(moved), len(differences) - len(moved)
    if n == 0:
        p, effect, reason = (
            (1.0, 0.0, "All differences are 0.") if zeros else (math.nan, math.nan, "There are no pairs.")
        )
        return Wilcoxon(0, zeros, 0.0, 0.0, p, effect, "exact", (*notes, reason))
    if zeros:
        verb = "takes" if zeros == 1 else "take"
        notes = (*notes, f"{counted(zeros, 'difference')} of 0 {verb} no part.")
    least = 2.0 ** (1 - n)
    if least > 0.05:
        notes = (*notes, f"With {counted(n, 'difference')} p can't be below {min(least, 1.0):.3g}.")
    ranks = stats.rankdata(np.abs(moved))
    positive, negative = float(ranks[moved > 0].sum()), float(ranks[moved < 0].sum())
    exact = n <= _MOST_EXACT
    p = _exact_p(ranks, positive) if exact else _normal_p(ranks, positive)
    effect = (positive - negative) / (positive + negative)
    return Wilcoxon(n, zeros, positive, negative, p, effect, "exact" if exact else "normal", notes)


def _exact_p(ranks: Column, positive: float) -> float:
    """Return p over all ways to give the ranks a sign."""
    # Twice the ranks are whole numbers, ties or not; ways[s] counts the ways to a sum of s.
    doubled = np.rint(2 * ranks).astype(np.int64)
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1
    for rank in doubled:
        ways[rank:] = (ways[rank:] + ways[: len(ways) - rank]) / 2
        ways[:rank] /= 2
    place = round(2 * positive)
    return min(1.0, 2 * float(min(ways[: place + 1].sum(), ways[place:].sum())))


def _normal_p(ranks: Column, positive: float) -> float:
    n = len(ranks)
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
    return 2 * float(stats.norm.sf(abs(positive - n * (n + 1) / 4) / math.sqrt(variance)))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Correct p-values for their number (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    Parameters
    ----------
    p_values : sequence of float
        NaN where there was no test; these don't count.

    Returns
    -------
    (N,) float64
        In the same order: below alpha where the hypothesis is rejected, and the chance of even one wrong rejection is
        below alpha.
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(len(p), math.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1) if len(order) else []
    return adjusted
