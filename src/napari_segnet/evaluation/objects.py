"""How well objects are found: average precision, precision, recall and F1 over thresholds of their overlap.

What a match is says `napari_segnet.evaluation.object_matching`: an IoU of at least the threshold t, each object in one
match only. AP(t) = TP / (TP + FP + FN), as in the 2018 Data Science Bowl [1]_ and StarDist [2]_ (COCO's average
precision is another measure). `ap50` is AP(0.5), `ap` the mean over t = 0.50, 0.55 ... 0.95. The Data Science Bowl
asked for an IoU above t, StarDist and this module for at least t.

.. [1] Caicedo, J. C. et al. (2019). Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl.
   Nature Methods 16, 1247-1253.
.. [2] Schmidt, U. et al. (2018). Cell detection with star-convex polygons. MICCAI 2018, 265-273.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import ConfigError
from napari_segnet.evaluation.object_matching import ObjectOverlap, overlap_objects

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class ObjectScores:
    """Objects found at each threshold.

    Attributes
    ----------
    truth_objects, predicted_objects : int
        Numbers of objects.
    matches : tuple of int
        True positives at each threshold.
    thresholds : tuple of float
        Least IoU of a match.
    """

    truth_objects: int
    predicted_objects: int
    matches: tuple[int, ...]
    thresholds: tuple[float, ...] = THRESHOLDS

    @property
    def average_precisions(self) -> tuple[float, ...]:
        """AP at each threshold, TP / (TP + FP + FN); NaN where there are no objects in either image."""
        total = self.truth_objects + self.predicted_objects
        return tuple(tp / (total - tp) if total else math.nan for tp in self.matches)

    @property
    def precisions(self) -> tuple[float, ...]:
        """Share of the predicted objects that match; NaN where there are no objects in either image."""
        return self._shares(self.predicted_objects)

    @property
    def recalls(self) -> tuple[float, ...]:
        """Share of the true objects that match; NaN where there are no objects in either image."""
        return self._shares(self.truth_objects)

    @property
    def f1s(self) -> tuple[float, ...]:
        """F1 at each threshold, 2 TP / (2 TP + FP + FN); NaN where there are no objects in either image."""
        total = self.truth_objects + self.predicted_objects
        return tuple(2 * tp / total if total else math.nan for tp in self.matches)

    def _shares(self, objects: int) -> tuple[float, ...]:
        total = self.truth_objects + self.predicted_objects
        return tuple(tp / max(objects, 1) if total else math.nan for tp in self.matches)

    @property
    def ap50(self) -> float:
        """AP at an IoU of 0.5; NaN if that is none of the thresholds."""
        return dict(zip(self.thresholds, self.average_precisions, strict=True)).get(0.5, math.nan)

    @property
    def ap(self) -> float:
        """Mean AP over the thresholds."""
        return math.fsum(self.average_precisions) / len(self.thresholds)


def score_objects(prediction: ArrayLike, truth: ArrayLike, thresholds: Sequence[float] = THRESHOLDS) -> ObjectScores:
    """Match predicted with true objects at each threshold.

    Parameters
    ----------
    prediction, truth : integer arrays of one shape
        A number an object, 0 elsewhere. An image with a single number besides 0 is a mask: its connected pieces are
        the objects.
    thresholds : sequence of float
        Least IoU of a match, above 0 and at most 1.

    Returns
    -------
    ObjectScores

    Raises
    ------
    DataError
        If the shapes differ, or a side is no labels.
    ConfigError
        If there is no threshold, or one is no IoU.
    """
    return count_matches(overlap_objects(prediction, truth), thresholds)


def count_matches(overlap: ObjectOverlap, thresholds: Sequence[float] = THRESHOLDS) -> ObjectScores:
    """Return how many objects match at each threshold; parameters and errors as those of `score_objects`."""
    if not thresholds:
        raise ConfigError("No threshold of the IoU is given.", "Give at least one, such as 0.5.")
    found = tuple(len(overlap.match(threshold)) for threshold in thresholds)
    return ObjectScores(len(overlap.truth), len(overlap.prediction), found, tuple(float(t) for t in thresholds))
