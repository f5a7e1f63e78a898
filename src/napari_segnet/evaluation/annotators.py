"""How well annotators agree with each other, and how much of that a prediction reaches.

Two people never draw the same, and a prediction that is as close to them as they are to each other is as good as can
be asked for [1]_. The *ceiling* is the mean Dice of all pairs of annotators; the share that is reached is the mean Dice
of the prediction with the annotators, by the ceiling. It may be above 1: closer to each of them than they are to each
other.

The Dice of a pair is the mean over the classes that are in one of its two images, NaN if none is. Over a set, the
share is that of the means over images which have both numbers. Its interval is that of percentiles over draws of
images, as those of `napari_segnet.evaluation.bootstrap`.

.. [1] Menze, B. H. et al. (2015). The multimodal brain tumor image segmentation benchmark (BRATS). IEEE Transactions on
   Medical Imaging 34, 1993-2024; its section on the variability of raters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import DataError
from napari_segnet.evaluation.bootstrap import RESAMPLES, Interval, draw_counts, mean_intervals
from napari_segnet.evaluation.columns import Column, checked_confidence, group_numbers, json_ready
from napari_segnet.evaluation.object_matching import checked_sides
from napari_segnet.evaluation.overlap import mean

PREDICTION = "prediction"
"""The name of the prediction in pairs with annotators."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Ceiling:
    """What a prediction reaches of the agreement between annotators.

    Attributes
    ----------
    images : int
    between : Interval
        Dice between annotators: the ceiling. Mean over their pairs, then over images.
    prediction : Interval
        Dice of the prediction with the annotators.
    share : Interval
        `prediction` by `between`, over the images that have both.
    pairs : dict of str to Interval
        Dice of each pair, ``"A - B"``.
    """

    images: int
    between: Interval
    prediction: Interval
    share: Interval
    pairs: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold; what isn't finite becomes None."""
        tree: dict[str, Any] = json_ready(asdict(self))
        return tree


def annotator_dice(
    prediction: ArrayLike, annotations: Mapping[str, ArrayLike], values: Sequence[int] | None = None
) -> dict[Pair, float]:
    """Return the Dice of each pair of annotators, and of the prediction with each of them, on one image.

    Parameters
    ----------
    prediction : integer array
        Labels of classes.
    annotations : mapping of str to integer array of the same shape
        Those of at least two annotators, by name.
    values : sequence of int, optional
        The classes to compare; by default all but 0 that occur.

    Returns
    -------
    dict of (str, str) to float
        The prediction is called `PREDICTION`, and comes first in its pairs.

    Raises
    ------
    DataError
        If there are fewer than two annotators, one is called as the prediction, or images can't be compared.
    """
    if len(annotations) < 2:
        raise DataError(
            f"There is {len(annotations)} annotation, and a ceiling needs two.",
            "Give those of at least two annotators.",
        )
    if PREDICTION in annotations:
        raise DataError(f"An annotator is called {PREDICTION!r}.", "Choose another name.")
    named = {PREDICTION: prediction, **annotations}
    return {
        (first, second): mean_dice(named[first], named[second], values)
        for first, second in itertools.combinations(named, 2)
    }


def mean_dice(first: ArrayLike, second: ArrayLike, values: Sequence[int] | None = None) -> float:
    """Return the mean Dice of two label images over classes; parameters and errors as those of `annotator_dice`."""
    a, b = checked_sides(first, second)
    if values is None:
        values = sorted({*np.unique(a).tolist(), *np.unique(b).tolist()} - {0})
    found = []
    for value in values:
        here, there = a == value, b == value
        total = int(np.count_nonzero(here)) + int(np.count_nonzero(there))
        found.append(2 * int(np.count_nonzero(here & there)) / total if total else math.nan)
    return mean(found)


def annotator_ceiling(
    images: Sequence[Mapping[Pair, float]],
    *,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ceiling:
    """Return what a prediction reaches of the agreement between annotators, over a set of images.

    Parameters
    ----------
    images : sequence of mapping
        What `annotator_dice` returned for each image. Annotators may miss in some.
    groups : sequence, optional
        The group of each image, such as the animal: whole groups are drawn.
    confidence : float
        Of all intervals.
    resamples : int
        How often images are drawn.
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    Ceiling

    Raises
    ------
    DataError
        If there are no images, or there is not a group for each.
    ConfigError
        If another parameter has no such value.
    """
    if not images:
        raise DataError("There are no images to compare annotators on.", "Give the Dice of at least one.")
    checked_confidence(confidence)
    names = list(dict.fromkeys(pair for image in images for pair in image))
    columns = {" - ".join(pair): [image.get(pair, math.nan) for image in images] for pair in names}
    own = [mean(dice for pair, dice in image.items() if PREDICTION in pair) for image in images]
    between = [mean(dice for pair, dice in image.items() if PREDICTION not in pair) for image in images]
    options: dict[str, Any] = {"groups": groups, "confidence": confidence, "resamples": resamples, "seed": seed}
    # No pair is called as one of these two: its name has a dash.
    found = mean_intervals({**columns, "between": between, "own": own}, **options)
    units = np.arange(len(images)) if groups is None else group_numbers(groups, len(images))
    share = _share(np.array(own), np.array(between), units, confidence, resamples, seed)
    pairs = {name: found[name] for name in columns}
    return Ceiling(len(images), found["between"], found["own"], share, pairs)


def _share(
    own: Column, between: Column, units: np.ndarray[Any, Any], confidence: float, resamples: int, seed: int
) -> Interval:
    """Return the mean of the one by the mean of the other, with its interval of percentiles."""
    kept = ~(np.isnan(own) | np.isnan(between))
    n = int(kept.sum())
    if n == 0 or between[kept].sum() == 0:
        note = "Annotators have nothing in common." if n else "No image has a number."
        return Interval(math.nan, math.nan, math.nan, n, note)
    numbers = np.unique(units[kept], return_inverse=True)[1]
    sums = np.stack([np.bincount(numbers, weights=side[kept]) for side in (own, between)], axis=1)
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    if len(sums) == 1:
        return Interval(value, math.nan, math.nan, n, "One image, or one group, has no confidence interval.")
    drawn = np.concatenate([counts @ sums for counts in draw_counts(len(sums), resamples, seed)])
    shares = drawn[drawn[:, 1] > 0]
    low, high = np.quantile(shares[:, 0] / shares[:, 1], [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return Interval(value, low, high, n)
