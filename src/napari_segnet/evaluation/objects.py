"""How well objects are found: average precision over thresholds of their overlap.

At a threshold t, a predicted and a true object match if their IoU is at least t; each takes part in one match only.
AP(t) = TP / (TP + FP + FN), as in the 2018 Data Science Bowl [1]_ and StarDist [2]_ (COCO's average precision is
another measure). `ap50` is AP(0.5), `ap` the mean over t = 0.50, 0.55 ... 0.95. The Data Science Bowl asked for an
IoU above t, StarDist and this module for at least t.

.. [1] Caicedo, J. C. et al. (2019). Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl.
   Nature Methods 16, 1247-1253.
.. [2] Schmidt, U. et al. (2018). Cell detection with star-convex polygons. MICCAI 2018, 265-273.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class ObjectScores:
    """Objects found at each threshold of `THRESHOLDS`.

    Attributes
    ----------
    truth_objects, predicted_objects : int
        Numbers of objects.
    matches : tuple of int
        True positives at each threshold.
    """

    truth_objects: int
    predicted_objects: int
    matches: tuple[int, ...]

    @property
    def average_precisions(self) -> tuple[float, ...]:
        """AP at each threshold; NaN where there are no objects in either image."""
        total = self.truth_objects + self.predicted_objects
        return tuple(tp / (total - tp) if total else math.nan for tp in self.matches)

    @property
    def ap50(self) -> float:
        """AP at an IoU of 0.5."""
        return self.average_precisions[0]

    @property
    def ap(self) -> float:
        """Mean AP over the thresholds."""
        return math.fsum(self.average_precisions) / len(THRESHOLDS)


def score_objects(
    prediction: NDArray[np.unsignedinteger[Any]], truth: NDArray[np.unsignedinteger[Any]]
) -> ObjectScores:
    """Match predicted with true objects.

    Parameters
    ----------
    prediction, truth : integer arrays of one shape
        A number an object, 0 elsewhere. An image with a single number besides 0 is a mask: its connected pieces are
        the objects.

    Returns
    -------
    ObjectScores
    """
    (predicted, n_predicted), (true, n_true) = _numbered(prediction), _numbered(truth)
    rows, columns, ious = _overlaps(predicted, true, n_predicted)
    matches = tuple(_count_matches(rows, columns, ious, (n_true, n_predicted), t) for t in THRESHOLDS)
    return ObjectScores(n_true, n_predicted, matches)


def _numbered(labels: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Return objects numbered 1, 2, 3 ... without gaps, and how many there are."""
    values, index = np.unique(labels, return_inverse=True)
    index = index.reshape(labels.shape).astype(np.int64)
    objects = values[values != 0]
    if len(objects) == 1:
        pieces, count = ndimage.label(labels, np.ones((3,) * labels.ndim))
        return pieces.astype(np.int64), int(count)
    return (index if len(objects) < len(values) else index + 1), len(objects)


def _overlaps(
    predicted: NDArray[np.int64], true: NDArray[np.int64], n_predicted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return true and predicted object (from 0 on) and IoU of each pair that touches."""
    codes, shared = np.unique(true * (n_predicted + 1) + predicted, return_counts=True)
    rows, columns = np.divmod(codes, n_predicted + 1)
    true_size, predicted_size = np.bincount(true.ravel()), np.bincount(predicted.ravel())
    ious = shared / (true_size[rows] + predicted_size[columns] - shared)
    pairs = (rows > 0) & (columns > 0)
    return rows[pairs] - 1, columns[pairs] - 1, ious[pairs]


def _count_matches(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    ious: NDArray[np.float64],
    shape: Sequence[int],
    threshold: float,
) -> int:
    good = ious >= threshold
    if threshold > 0.5 or not good.any():
        # Two objects of an image can't both overlap a third by more than a half.
        return int(np.count_nonzero(good))
    # Older versions of scipy match only where the indices are 32 bits.
    places = rows[good].astype(np.int32), columns[good].astype(np.int32)
    graph = sparse.csr_array((np.ones(good.sum(), np.int8), places), shape=tuple(shape))
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))
