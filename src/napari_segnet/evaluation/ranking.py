"""Which of several models, or annotators, is better on one test set, and how sure that is.

They are ranked by the mean of their scores (or by the median, or by their mean rank over the images). As for biomedical
challenges [1]_, three things tell how much the ranking is worth:

- Friedman's test [2]_, whether there is any difference at all, with Kendall's W: 1 if all images give the same ranks, 0
  if they have none in common. It needs three models.
- Each pair is compared by Wilcoxon's signed ranks, with Holm's correction for the number of pairs [3]_.
- Images are drawn with replacement, and ranked again: each rank has an interval, and the mean of Kendall's tau between
  the ranking of all images and those of the draws is its stability, 1 if it never changes.

Images in which a score is missing are left out for all models, unless a number for missing scores is given. Images of
one animal, patient or slide aren't independent: with `groups`, the mean of each group is one row.

.. [1] Wiesenfarth, M. et al. (2021). Methods and open-source toolkit for analyzing and visualizing challenge results.
   Scientific Reports 11, 2369.
.. [2] Friedman, M. (1937). The use of ranks to avoid the assumption of normality implicit in the analysis of variance.
   Journal of the American Statistical Association 32, 675-701.
.. [3] Demsar, J. (2006). Statistical comparisons of classifiers over multiple data sets. Journal of Machine Learning
   Research 7, 1-30.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from napari_segnet.axes import counted
from napari_segnet.errors import ConfigError, DataError, unknown_name
from napari_segnet.evaluation.bootstrap import Interval, mean_intervals
from napari_segnet.evaluation.columns import Table, as_columns, checked_confidence, group_numbers, json_ready
from napari_segnet.evaluation.paired_tests import holm, wilcoxon
from napari_segnet.evaluation.ranks import Aggregate, Scores, aggregate, drawn_ranks, mean_tau, places_of, ranks_of


@dataclass(frozen=True)
class RankedModel:
    """A model's place.

    Attributes
    ----------
    name : str
    rank : int
        1 is the best; those that are level share the better rank.
    score : float
        Mean (or median) of its scores.
    low, high : float
        Its confidence interval, by the bootstrap over images.
    mean_rank : float
        Mean of its ranks within each image, where level ones share the middle of theirs.
    rank_low, rank_high : float
        Interval of its rank over the draws of images.
    first_share : float
        Share of the draws in which it was first, shared or not.
    """

    name: str
    rank: int
    score: float
    low: float
    high: float
    mean_rank: float
    rank_low: float
    rank_high: float
    first_share: float


@dataclass(frozen=True)
class ComparedPair:
    """Two models on the same images.

    Attributes
    ----------
    first, second : str
        The one with the better rank first.
    difference, low, high : float
        Mean of the first's scores minus the second's, with its confidence interval.
    wins, losses, ties : int
        Images in which the first is better, worse, or level.
    p, p_holm : float
        Wilcoxon's signed ranks, two-sided: alone, and corrected for the number of pairs.
    rank_biserial : float
        Effect size of the same test: 1 if all of the first's scores are higher, -1 if all are lower.
    notes : tuple of str
        What the test left out, and what it can't say.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    p: float
    p_holm: float
    rank_biserial: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """A ranking of models.

    Attributes
    ----------
    models : tuple of RankedModel
        The best first.
    pairs : tuple of ComparedPair
    images : int
        Rows that were compared: images, or groups of them.
    friedman, friedman_p, kendall_w : float
        Friedman's chi-squared, its p, and Kendall's W; NaN with fewer than three models, or two rows.
    stability : float
        Mean of Kendall's tau between this ranking and those of the draws; NaN with one row, or if all are level.
    higher_is_better : bool
    by : {"mean", "median", "mean rank"}
    notes : tuple of str
        What was left out, and what can't be said.
    """

    models: tuple[RankedModel, ...]
    pairs: tuple[ComparedPair, ...]
    images: int
    friedman: float
    friedman_p: float
    kendall_w: float
    stability: float
    higher_is_better: bool
    by: Aggregate
    notes: tuple[str, ...] = ()

    def not_worse_than_best(self, alpha: float = 0.05) -> tuple[str, ...]:
        """Return the best model, and those that can't be told from it (`p_holm` not below `alpha`)."""
        best = self.models[0].name
        level = {pair.second for pair in self.pairs if pair.first == best and not pair.p_holm < alpha}
        return tuple(model.name for model in self.models if model.name == best or model.name in level)

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each model, the best first, with its p against the best (None for the best itself)."""
        best = self.models[0].name
        against = {pair.second: pair.p_holm for pair in self.pairs if pair.first == best}
        return [{**json_ready(asdict(model)), "p_holm": json_ready(against.get(model.name))} for model in self.models]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold; what isn't finite becomes None."""
        tree: dict[str, Any] = json_ready(asdict(self))
        return tree


def rank_models(
    table: Table,
    *,
    higher_is_better: bool = True,
    by: Aggregate = "mean",
    missing: float | None = None,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Ranking:
    """Rank models by their scores on the same images.

    Parameters
    ----------
    table : mapping of str to sequence of float, or pandas.DataFrame
        A column a model, a row an image.
    higher_is_better : bool
        False for distances and errors.
    by : {"mean", "median", "mean rank"}
        What ranks them.
    missing : float, optional
        What a missing score (NaN, None) counts as, such as 0 for a Dice. By default images in which one is missing are
        left out for all.
    groups : sequence, optional
        The group of each image, such as the animal: the means of groups are compared.
    confidence : float
        Of all intervals.
    resamples : int
        How often images are drawn.
    seed : int
        The same seed gives the same ranking.

    Returns
    -------
    Ranking

    Raises
    ------
    DataError
        If there are fewer than two models, no image is complete, a score is infinite, or the table isn't one.
    ConfigError
        If another parameter has no such value.
    """
    if by not in get_args(Aggregate):
        raise unknown_name("way to rank", str(by), get_args(Aggregate))
    checked_confidence(confidence)
    if not isinstance(resamples, int) or resamples < 1:
        raise ConfigError(f"resamples = {resamples}.", "Choose a whole number, such as 2000.")
    names, scores, notes = _complete(table, missing, groups)
    n = len(scores)
    goodness = scores if higher_is_better else -scores
    image_ranks = ranks_of(goodness)
    ranks = ranks_of(aggregate(goodness, image_ranks, by)[None])[0]
    order = np.argsort(ranks, kind="stable")
    intervals = _score_intervals(names, scores, by, confidence, resamples, seed)
    if n == 1:
        notes.append("One image: no intervals, and no stability.")
        drawn, ends, first = None, np.full((2, len(names)), math.nan), np.full(len(names), math.nan)
    else:
        drawn = np.concatenate(list(drawn_ranks(goodness, image_ranks, by, resamples, seed)))
        places = places_of(drawn)
        ends = np.quantile(places, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0, method="nearest")
        first = np.mean(places == 1, axis=0)
    friedman, friedman_p, kendall_w, reason = _friedman(scores)
    notes += [reason] if reason else []
    place = places_of(ranks[None])[0]
    models = [
        RankedModel(
            names[k],
            int(place[k]),
            intervals[names[k]].value,
            intervals[names[k]].low,
            intervals[names[k]].high,
            float(image_ranks[:, k].mean()),
            float(ends[0, k]),
            float(ends[1, k]),
            float(first[k]),
        )
        for k in order
    ]
    pairs = _compare_pairs([names[k] for k in order], scores[:, order], higher_is_better, confidence, resamples, seed)
    stability = math.nan if drawn is None else mean_tau(ranks, drawn)
    if drawn is not None and math.isnan(stability):
        notes.append("All models are level: there is no ranking to be stable.")
    return Ranking(
        tuple(models), pairs, n, friedman, friedman_p, kendall_w, stability, higher_is_better, by, tuple(notes)
    )


def _complete(
    table: Table, missing: float | None, groups: Sequence[Hashable] | None
) -> tuple[list[str], Scores, list[str]]:
    """Return names, scores (rows, models) without gaps, and what was done."""
    columns = as_columns(table)
    if len(columns) < 2:
        raise DataError(f"There is only {next(iter(columns))!r} to rank.", "Give the scores of at least two models.")
    names, scores = list(columns), np.stack(list(columns.values()), axis=1)
    endless = np.isinf(scores).any(axis=0)
    if endless.any():
        raise DataError(
            f"{names[int(endless.argmax())]!r} has an infinite score.",
            "Put the worst score that counts in its place, or NaN.",
        )
    gaps = np.isnan(scores)
    notes = []
    if missing is not None:
        if not math.isfinite(missing):
            raise ConfigError(f"missing = {missing}.", "Give the score that a missing one counts as, such as 0.")
        scores = np.where(gaps, missing, scores)
        if gaps.any():
            notes.append(f"{counted(int(gaps.sum()), 'missing score')} counted as {missing:g}.")
    kept: NDArray[np.bool_] = np.asarray(~np.isnan(scores).any(axis=1))
    if not kept.all():
        notes.append(f"{counted(int((~kept).sum()), 'image')} of {len(kept)} left out: a score is missing.")
    if not kept.any():
        raise DataError("There is no image for which all models have a score.", "Say what a missing one counts as.")
    if groups is not None:
        numbers = group_numbers(groups, len(scores))[kept]
        numbers = np.unique(numbers, return_inverse=True)[1]
        sums = np.zeros((int(numbers.max()) + 1, len(names)))
        np.add.at(sums, numbers, scores[kept])
        images = counted(int(kept.sum()), "image")
        notes.append(f"{images} in {counted(len(sums), 'group')}: means of groups are compared.")
        return names, sums / np.bincount(numbers)[:, None], notes
    return names, scores[kept], notes


def _score_intervals(
    names: list[str], scores: Scores, by: Aggregate, confidence: float, resamples: int, seed: int
) -> dict[str, Interval]:
    return mean_intervals(
        dict(zip(names, scores.T, strict=True)),
        statistic=np.median if by == "median" else np.mean,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def _friedman(scores: Scores) -> tuple[float, float, float, str]:
    """Return Friedman's chi-squared, p, Kendall's W, and why there are none."""
    n, models = scores.shape
    nothing = math.nan, math.nan, math.nan
    if models < 3:
        return *nothing, "Two models: Friedman's test needs three."
    if n < 2:
        return *nothing, "One image: Friedman's test needs two."
    if (ranks_of(scores) == (models + 1) / 2).all():
        return *nothing, "All models are level in all images: there is nothing for Friedman's test."
    found = stats.friedmanchisquare(*ranks_of(scores).T)
    return float(found.statistic), float(found.pvalue), float(found.statistic) / (n * (models - 1)), ""


def _compare_pairs(
    names: list[str], scores: Scores, higher_is_better: bool, confidence: float, resamples: int, seed: int
) -> tuple[ComparedPair, ...]:
    places = list(itertools.combinations(range(len(names)), 2))
    tests = [wilcoxon(scores[:, a], scores[:, b]) for a, b in places]
    corrected = holm([test.p for test in tests])
    differences = {str(k): scores[:, a] - scores[:, b] for k, (a, b) in enumerate(places)}
    intervals = mean_intervals(differences, confidence=confidence, resamples=resamples, seed=seed)
    found = []
    for k, ((a, b), test) in enumerate(zip(places, tests, strict=True)):
        ranks = ranks_of(scores[:, [a, b]] if higher_is_better else -scores[:, [a, b]])
        interval = intervals[str(k)]
        found.append(
            ComparedPair(
                names[a],
                names[b],
                interval.value,
                interval.low,
                interval.high,
                int((ranks[:, 0] == 1).sum()),
                int((ranks[:, 0] == 2).sum()),
                int((ranks[:, 0] == 1.5).sum()),
                test.p,
                float(corrected[k]),
                test.rank_biserial,
                test.notes,
            )
        )
    return tuple(found)
