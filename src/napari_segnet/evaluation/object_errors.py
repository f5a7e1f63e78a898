"""What goes wrong with objects: splits, merges, misplaced centres and wrong counts; the aggregated Jaccard index.

Splits and merges follow Hoover et al. [1]_ at a tolerance of one half. The *pieces* of an object are the objects of
the other image that lie in it with more than half of their pixels. An object is in pieces if at least two of them are
no specks, and these cover at least half of it; a speck is a piece with fewer than a tenth of the pixels of the
largest piece (`share`), by what lies inside. A true object in pieces is *split*, a predicted one is a *merge*: swap
the images, and splits become merges. Each object is a piece of one other at most.

AJI (aggregated Jaccard index, [2]_): each true object is joined to the predicted one with the largest IoU (of several,
the one with the lowest number), and shared pixels and unions are summed up; predicted objects that were never chosen
are added to the unions. A predicted object may be chosen more than once. AJI+ [3]_ is the same with each object in one
pair at most, so that the sum of IoU is largest.

.. [1] Hoover, A. et al. (1996). An experimental comparison of range image segmentation algorithms. IEEE Transactions
   on Pattern Analysis and Machine Intelligence 18, 673-689.
.. [2] Kumar, N. et al. (2017). A dataset and a technique for generalized nuclear segmentation for computational
   pathology. IEEE Transactions on Medical Imaging 36, 1550-1560.
.. [3] Graham, S. et al. (2019). HoVer-Net: simultaneous segmentation and classification of nuclei in multi-tissue
   histology images. Medical Image Analysis 58, 101563.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import ConfigError
from napari_segnet.evaluation.object_matching import Matches, ObjectOverlap


@dataclass(frozen=True)
class CountError:
    """How many objects there are too many or too few.

    Attributes
    ----------
    signed : int
        Predicted minus true objects.
    absolute : int
    relative : float
        `signed` as a share of the true objects; 0 if there are none in either image, NaN if there are predicted
        ones only.
    """

    signed: int
    absolute: int
    relative: float


def splits_and_merges(overlap: ObjectOverlap, share: float = 0.1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the true objects that were split, and the predicted ones that are merges.

    Parameters
    ----------
    overlap : ObjectOverlap
        From `napari_segnet.evaluation.object_matching.overlap_objects`.
    share : float
        From which share of the largest piece on a piece counts, 0 to 1.

    Returns
    -------
    splits, merges : (N,) int64
        Their numbers in the labels.

    Raises
    ------
    ConfigError
        If `share` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share = {share}.", "Choose a share of the largest piece between 0 and 1, such as 0.1.")
    true, predicted, shared = overlap.true, overlap.predicted, overlap.shared
    true_sizes, predicted_sizes = overlap.truth.sizes, overlap.prediction.sizes
    split = _in_pieces(true, predicted, shared, true_sizes, predicted_sizes, share)
    merged = _in_pieces(predicted, true, shared, predicted_sizes, true_sizes, share)
    return overlap.truth.values[split], overlap.prediction.values[merged]


def _in_pieces(
    whole: NDArray[np.int64],
    piece: NDArray[np.int64],
    shared: NDArray[np.int64],
    whole_sizes: NDArray[np.int64],
    piece_sizes: NDArray[np.int64],
    share: float,
) -> NDArray[np.int64]:
    """Return the indices of the objects that are in pieces."""
    inside = 2 * shared > piece_sizes[piece]
    whole, shared = whole[inside], shared[inside]
    largest = np.zeros(len(whole_sizes), np.int64)
    np.maximum.at(largest, whole, shared)
    counts = shared >= share * largest[whole]
    number = np.bincount(whole[counts], minlength=len(whole_sizes))
    covered = np.bincount(whole[counts], weights=shared[counts], minlength=len(whole_sizes))
    return np.flatnonzero((number >= 2) & (2 * covered >= whole_sizes))


def aggregated_jaccard(overlap: ObjectOverlap) -> float:
    """Return the AJI of Kumar et al.; NaN without objects in either image, 0 where they are in one image only."""
    # Sorted so that the pair to keep is the first of each true object.
    order = np.lexsort((overlap.predicted, -overlap.ious, overlap.true))
    true = overlap.true[order]
    first = order[np.append(True, true[1:] != true[:-1])] if len(order) else order
    return _aggregate(overlap, overlap.true[first], overlap.predicted[first], overlap.shared[first])


def aggregated_jaccard_plus(overlap: ObjectOverlap) -> float:
    """Return AJI+, with objects matched one to one; NaN and 0 as `aggregated_jaccard`."""
    pairs = overlap.match_all()
    return _aggregate(overlap, pairs.true, pairs.predicted, pairs.shared)


def _aggregate(
    overlap: ObjectOverlap, true: NDArray[np.int64], predicted: NDArray[np.int64], shared: NDArray[np.int64]
) -> float:
    true_sizes, predicted_sizes = overlap.truth.sizes, overlap.prediction.sizes
    unions = true_sizes[true] + predicted_sizes[predicted] - shared
    alone = true_sizes.sum() - true_sizes[np.unique(true)].sum()
    unused = predicted_sizes.sum() - predicted_sizes[np.unique(predicted)].sum()
    total = int(unions.sum() + alone + unused)
    return int(shared.sum()) / total if total else math.nan


def centroid_distances(
    overlap: ObjectOverlap, matches: Matches, spacing: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Return how far the centres of mass of matched objects are apart.

    Parameters
    ----------
    overlap : ObjectOverlap
    matches : Matches
        From ``overlap.match(threshold)``.
    spacing : sequence of float, optional
        Size of a pixel along each axis; by default 1.

    Returns
    -------
    (M,) float64
        In the units of `spacing`, in the order of `matches`.

    Raises
    ------
    DataError
        If `spacing` doesn't fit the image.
    """
    true = overlap.truth.centroids(spacing)[matches.true]
    predicted = overlap.prediction.centroids(spacing)[matches.predicted]
    distances: NDArray[np.float64] = np.linalg.norm(true - predicted, axis=1)
    return distances


def count_error(overlap: ObjectOverlap) -> CountError:
    """Return how many objects were predicted too many or too few."""
    true, predicted = len(overlap.truth), len(overlap.prediction)
    signed = predicted - true
    relative = signed / true if true else (0.0 if predicted == 0 else math.nan)
    return CountError(signed, abs(signed), relative)
