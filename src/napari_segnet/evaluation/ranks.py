"""Ranks of models: within images, over all of them, and in draws of images.

Scores (N, models) have a row an image; `goodness` is a score of which more is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from napari_segnet.evaluation.bootstrap import draw_counts, draw_units

Aggregate = Literal["mean", "median", "mean rank"]
Scores = NDArray[np.float64]


def ranks_of(goodness: Scores) -> Scores:
    """Return the ranks within each row, 1 for the best; level ones share the middle of theirs."""
    # What differs by rounding is level.
    scale = np.abs(goodness).max(axis=1, keepdims=True)
    ranks: Scores = stats.rankdata(-np.round(goodness / np.where(scale > 0, scale, 1), 12), axis=1)
    return ranks


def places_of(ranks: Scores) -> NDArray[np.int64]:
    """Return the places in each row: level ones share the better."""
    places: NDArray[np.int64] = stats.rankdata(ranks, method="min", axis=1)
    return places


def aggregate(goodness: Scores, image_ranks: Scores, by: Aggregate) -> Scores:
    """Return what models are ranked by, more is better (models,); `image_ranks` are their ranks in each image."""
    if by == "median":
        return np.asarray(np.median(goodness, axis=0))
    return np.asarray((goodness if by == "mean" else -image_ranks).mean(axis=0))


def drawn_ranks(goodness: Scores, image_ranks: Scores, by: Aggregate, resamples: int, seed: int) -> Iterator[Scores]:
    """Yield the ranks of models in each draw of images, in blocks (draws, models)."""
    n, models = goodness.shape
    if by == "median":
        for rows in draw_units(n, resamples, seed):
            for part in np.array_split(rows, models):
                if len(part):
                    yield ranks_of(np.median(goodness[part], axis=1))
        return
    summed = goodness if by == "mean" else -image_ranks
    for counts in draw_counts(n, resamples, seed):
        yield ranks_of(counts @ summed / n)


def mean_tau(ranks: Scores, drawn: Scores) -> float:
    """Return the mean of Kendall's tau-b between a ranking and those of draws; NaN if none has an order."""
    a, b = np.triu_indices(len(ranks), 1)
    whole, parts = np.sign(ranks[a] - ranks[b]), np.sign(drawn[:, a] - drawn[:, b])
    size = np.sqrt((whole**2).sum() * (parts**2).sum(axis=1))
    ordered = size > 0
    return float(np.mean((parts @ whole)[ordered] / size[ordered])) if ordered.any() else math.nan
