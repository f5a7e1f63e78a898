"""Confidence intervals of means over images, by the bootstrap.

Images are drawn with replacement, as many as there are, and the mean of each such draw is computed [1]_. The interval
is that of the percentiles of these means, or BCa, bias-corrected and accelerated [2]_: percentiles that are shifted by
how much the draws' median is off, and by how much the spread depends on the value (by leaving out one image at a time).
Where BCa isn't defined it is the percentile interval.

Images of one animal, patient or slide are not independent. With `groups`, whole groups are drawn [1]_, and the mean
stays that over all images; it then answers for new groups.

With few images any bootstrap interval is too narrow: with 10, an interval of 95 % holds the true mean in about 90 % of
cases. Of one image, or one group, there is none.

.. [1] Davison, A. C., and Hinkley, D. V. (1997). Bootstrap methods and their application. Cambridge University Press.
.. [2] Efron, B. (1987). Better bootstrap confidence intervals. Journal of the American Statistical Association 82,
   171-185.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from napari_segnet.errors import ConfigError, unknown_name
from napari_segnet.evaluation.columns import (
    Column,
    Table,
    as_column,
    as_columns,
    checked_confidence,
    group_numbers,
    is_constant,
    json_ready,
)

Method = Literal["bca", "percentile"]
RESAMPLES = 10_000
# Numbers that are drawn at once.
_BLOCK = 2**22
_ONE_IMAGE = "One image has no confidence interval."
_ONE_GROUP = "Images of one group have no confidence interval."
_INFINITE = "A value is infinite: there is no confidence interval."


class Statistic(Protocol):
    """A number of values along an axis: `numpy.mean`, `numpy.median`, or a function like them."""

    def __call__(self, values: NDArray[np.float64], /, *, axis: int) -> Any:
        """Return the number along an axis."""


@dataclass(frozen=True)
class Interval:
    """A mean, or another statistic, with its confidence interval.

    Attributes
    ----------
    value : float
        NaN if there are no images.
    low, high : float
        NaN where there is no interval.
    n : int
        Images with a number.
    note : str
        Why there is no interval, or an empty text.
    """

    value: float
    low: float
    high: float
    n: int
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold; what isn't finite becomes None."""
        tree: dict[str, Any] = json_ready(asdict(self))
        return tree


def mean_intervals(
    table: Table,
    *,
    groups: Sequence[Hashable] | None = None,
    statistic: Statistic = np.mean,
    confidence: float = 0.95,
    method: Method = "bca",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the mean of each column of a table with its confidence interval.

    Parameters
    ----------
    table : mapping of str to sequence of float, or pandas.DataFrame
        A row an image, a column a measure; images without a number (NaN, None) take no part in that column.
    groups : sequence, optional
        The group of each image, such as the animal: whole groups are drawn.
    statistic : callable
        Something else than the mean, called with an array and ``axis``.
    confidence : float
        Such as 0.95.
    method : {"bca", "percentile"}
    resamples : int
        How often images are drawn.
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    dict of str to Interval

    Raises
    ------
    DataError
        If the table isn't one of numbers, or there is not a group for each image.
    ConfigError
        If another parameter has no such value.
    """
    columns = as_columns(table)
    _check(confidence, method, resamples)
    images = len(next(iter(columns.values())))
    members = np.arange(images) if groups is None else group_numbers(groups, images)
    found: dict[str, Interval] = {}
    alike: dict[bytes, list[str]] = {}
    for name, column in columns.items():
        # Columns with numbers of the same images share their draws.
        alike.setdefault(np.isnan(column).tobytes(), []).append(name)
    for names in alike.values():
        kept = ~np.isnan(columns[names[0]])
        values = np.stack([columns[name][kept] for name in names], axis=1)
        numbers = np.unique(members[kept], return_inverse=True)[1]
        sample = _Sample(values, numbers, groups is not None, statistic)
        found |= dict(zip(names, _intervals(sample, confidence, method, resamples, seed), strict=True))
    return {name: found[name] for name in columns}


def bootstrap_interval(
    values: ArrayLike,
    *,
    groups: Sequence[Hashable] | None = None,
    statistic: Statistic = np.mean,
    confidence: float = 0.95,
    method: Method = "bca",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the mean of some numbers, one an image, with its confidence interval.

    Parameters and errors as those of `mean_intervals`, for one column.
    """
    return mean_intervals(
        {"": as_column(values)},
        groups=groups,
        statistic=statistic,
        confidence=confidence,
        method=method,
        resamples=resamples,
        seed=seed,
    )[""]


def draw_counts(units: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each unit was drawn, in blocks of resamples.

    Parameters
    ----------
    units : int
        Images, or groups.
    resamples : int
        How often as many of them are drawn with replacement.
    seed : int

    Yields
    ------
    (some, units) float64
        `resamples` rows in all; each sums up to `units`.
    """
    for drawn in draw_units(units, resamples, seed):
        rows = np.arange(len(drawn))[:, None] * units
        yield np.bincount((drawn + rows).reshape(-1), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def draw_units(units: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield which units were drawn, as numbers from 0 on; parameters and blocks as those of `draw_counts`."""
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // units)
    for start in range(0, resamples, rows):
        yield generator.integers(0, units, (min(rows, resamples - start), units))


@dataclass(frozen=True, eq=False)
class _Sample:
    """Values (images, columns), the group of each image from 0 on, and what is computed from them."""

    values: NDArray[np.float64]
    groups: NDArray[np.int64]
    grouped: bool
    statistic: Statistic

    @property
    def units(self) -> int:
        """What is drawn: groups, or images."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    def estimate(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.statistic(values, axis=0), np.float64)

    def draws(self, resamples: int, seed: int) -> NDArray[np.float64]:
        """Return the statistic of each draw (resamples, columns)."""
        if self.statistic is np.mean:
            sums, sizes = self._sums()
            return np.concatenate(
                [counts @ sums / (counts @ sizes)[:, None] for counts in draw_counts(self.units, resamples, seed)]
            )
        if not self.grouped:
            columns = self.values.shape[1]
            blocks = (
                part for rows in draw_units(self.units, resamples, seed) for part in np.array_split(rows, columns)
            )
            # All draws of a block at once: (resamples, images, columns).
            return np.concatenate([np.asarray(self.statistic(self.values[rows], axis=1)) for rows in blocks])
        members = [np.flatnonzero(self.groups == group) for group in range(self.units)]
        rows = (row for block in draw_units(self.units, resamples, seed) for row in block)
        return np.stack([self.estimate(self.values[np.concatenate([members[g] for g in row])]) for row in rows])

    def left_out(self) -> NDArray[np.float64]:
        """Return the statistic without each of the units (units, columns)."""
        if self.statistic is np.mean:
            sums, sizes = self._sums()
            means: NDArray[np.float64] = (sums.sum(axis=0) - sums) / (sizes.sum() - sizes)[:, None]
            return means
        return np.stack([self.estimate(self.values[self.groups != unit]) for unit in range(self.units)])

    def _sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum of each unit's values (units, columns) and its number of images."""
        sums = np.zeros((self.units, self.values.shape[1]))
        np.add.at(sums, self.groups, self.values)
        return sums, np.bincount(self.groups, minlength=self.units).astype(np.float64)


def _intervals(sample: _Sample, confidence: float, method: Method, resamples: int, seed: int) -> list[Interval]:
    """Return the interval of each column of a sample."""
    images, columns = sample.values.shape
    if images == 0:
        return [Interval(math.nan, math.nan, math.nan, 0, "No image has a number.")] * columns
    estimates = sample.estimate(sample.values)
    if sample.units == 1:
        note = _ONE_IMAGE if images == 1 else _ONE_GROUP
        return [Interval(float(estimate), math.nan, math.nan, images, note) for estimate in estimates]
    endless = ~np.isfinite(sample.values).all(axis=0)
    sample = replace(sample, values=np.where(endless, 0, sample.values))
    infinite = set(np.flatnonzero(endless).tolist())
    draws = sample.draws(resamples, seed)
    left_out = sample.left_out() if method == "bca" else None
    found = []
    for k, estimate in enumerate(estimates.tolist()):
        if k in infinite:
            found.append(Interval(estimate, math.nan, math.nan, images, _INFINITE))
        elif is_constant(sample.values[:, k]):
            found.append(Interval(estimate, estimate, estimate, images))
        else:
            ends = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
            if left_out is not None:
                ends = _bca_ends(ends, estimate, draws[:, k], left_out[:, k])
            low, high = np.quantile(draws[:, k], ends).tolist()
            found.append(Interval(estimate, low, high, images))
    return found


def _bca_ends(ends: NDArray[np.float64], estimate: float, draws: Column, left_out: Column) -> NDArray[np.float64]:
    """Return which quantiles of the draws are the ends of the BCa interval."""
    # Draws of the same images in another order differ by rounding.
    rounding = 1e-12 * max(abs(estimate), float(np.ptp(draws)))
    below = (np.mean(draws < estimate - rounding) + np.mean(draws <= estimate + rounding)) / 2
    pull = left_out.mean() - left_out
    spread = float((pull**2).sum())
    if not 0 < below < 1 or spread == 0:
        return ends
    bias = ndtri(below)
    acceleration = float((pull**3).sum()) / (6 * spread**1.5)
    shifted = bias + ndtri(ends)
    scale = 1 - acceleration * shifted
    if (scale <= 0).any():
        return ends
    moved: NDArray[np.float64] = ndtr(bias + shifted / scale)
    return moved


def _check(confidence: float, method: str, resamples: int) -> None:
    checked_confidence(confidence)
    if method not in get_args(Method):
        raise unknown_name("bootstrap method", str(method), get_args(Method))
    if not isinstance(resamples, int) or resamples < 1:
        raise ConfigError(f"resamples = {resamples}.", "Choose a whole number, such as 10000.")
