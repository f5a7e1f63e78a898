"""All measures of the objects of one image at once, for all objects or for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from napari_segnet.axes import ArrayLike
from napari_segnet.evaluation.object_errors import (
    aggregated_jaccard,
    aggregated_jaccard_plus,
    centroid_distances,
    count_error,
    splits_and_merges,
)
from napari_segnet.evaluation.object_matching import ObjectOverlap, checked_spacing, overlap_objects
from napari_segnet.evaluation.objects import THRESHOLDS, ObjectScores, count_matches
from napari_segnet.evaluation.panoptic import overlap_by_class, panoptic_quality


@dataclass(frozen=True)
class ObjectComparison:
    """All measures of the objects of one image.

    Where there are no objects in either image, shares and means are NaN and counts 0; where there are some in one
    image only, shares are 0.

    Attributes
    ----------
    truth_objects, predicted_objects : int
    matched, missed, invented : int
        Objects with an IoU of at least `threshold`; true and predicted ones without a match.
    object_precision, object_recall, object_f1 : float
        At `threshold`.
    ap50, ap : float
        Average precision at 0.5, and its mean over 0.50, 0.55 ... 0.95.
    pq, sq, rq : float
        Panoptic, segmentation and recognition quality, see `napari_segnet.evaluation.panoptic`.
    aji, aji_plus : float
        Aggregated Jaccard index.
    splits, merges : int
        True objects that were split; predicted ones that are merges.
    centroid_error, median_centroid_error : float
        Mean and median distance between the centres of mass of matched objects, in the units of the spacing; NaN
        where nothing matches.
    count_error, absolute_count_error : int
        See `CountError`.
    relative_count_error : float
    threshold : float
        The IoU that `matched`, precision, recall, F1 and the centres are for.
    curve : ObjectScores
        Matches at each of the thresholds.
    """

    truth_objects: int
    predicted_objects: int
    matched: int
    missed: int
    invented: int
    object_precision: float
    object_recall: float
    object_f1: float
    ap50: float
    ap: float
    pq: float
    sq: float
    rq: float
    aji: float
    aji_plus: float
    splits: int
    merges: int
    centroid_error: float
    median_centroid_error: float
    count_error: int
    absolute_count_error: int
    relative_count_error: float
    threshold: float
    curve: ObjectScores

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers but the curve as a dictionary that JSON can hold; NaN becomes None."""
        numbers = {name: value for name, value in asdict(self).items() if name != "curve"}
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in numbers.items()
        }


def compare_objects(
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    threshold: float = 0.5,
    spacing: Sequence[float] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> ObjectComparison:
    """Return all measures of the objects of one image.

    Parameters
    ----------
    prediction, truth : integer arrays of one shape
        A number an object, 0 elsewhere; a single number besides 0 is a mask, see
        `napari_segnet.evaluation.objects.score_objects`.
    threshold : float
        Least IoU of a match, for precision, recall, F1 and centres.
    spacing : sequence of float, optional
        Size of a pixel along each axis, for the centres; by default 1.
    thresholds : sequence of float
        For the curve and the mean average precision.

    Returns
    -------
    ObjectComparison

    Raises
    ------
    DataError
        If the shapes differ, a side is no labels, or `spacing` doesn't fit.
    ConfigError
        If a threshold is no IoU.
    """
    return measure_overlap(overlap_objects(prediction, truth), threshold, spacing, thresholds)


def compare_objects_by_class(
    prediction: ArrayLike,
    truth: ArrayLike,
    prediction_classes: ArrayLike,
    truth_classes: ArrayLike,
    *,
    threshold: float = 0.5,
    spacing: Sequence[float] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[int, ObjectComparison]:
    """Return all measures of the objects of each class.

    Parameters
    ----------
    prediction, truth, prediction_classes, truth_classes
        As for `napari_segnet.evaluation.panoptic.overlap_by_class`: objects match objects of their class only.
    threshold, spacing, thresholds
        As for `compare_objects`.

    Returns
    -------
    dict of int to ObjectComparison
        For each class of an object in either image.

    Raises
    ------
    DataError, ConfigError
        As `compare_objects`.
    """
    tables = overlap_by_class(prediction, truth, prediction_classes, truth_classes)
    return {value: measure_overlap(table, threshold, spacing, thresholds) for value, table in tables.items()}


def measure_overlap(
    overlap: ObjectOverlap,
    threshold: float = 0.5,
    spacing: Sequence[float] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> ObjectComparison:
    """Return all measures of a table of overlaps; parameters and errors as those of `compare_objects`."""
    checked_spacing(spacing, overlap.truth.image.ndim)
    curve = count_matches(overlap, thresholds)
    matches = overlap.match(threshold)
    single = ObjectScores(len(overlap.truth), len(overlap.prediction), (len(matches),), (threshold,))
    quality = panoptic_quality(overlap)
    distances = centroid_distances(overlap, matches, spacing)
    counts = count_error(overlap)
    splits, merges = splits_and_merges(overlap)
    return ObjectComparison(
        truth_objects=len(overlap.truth),
        predicted_objects=len(overlap.prediction),
        matched=len(matches),
        missed=len(overlap.truth) - len(matches),
        invented=len(overlap.prediction) - len(matches),
        object_precision=single.precisions[0],
        object_recall=single.recalls[0],
        object_f1=single.f1s[0],
        ap50=count_matches(overlap, (0.5,)).ap50,
        ap=curve.ap,
        pq=quality.pq,
        sq=quality.sq,
        rq=quality.rq,
        aji=aggregated_jaccard(overlap),
        aji_plus=aggregated_jaccard_plus(overlap),
        splits=len(splits),
        merges=len(merges),
        centroid_error=float(distances.mean()) if len(distances) else math.nan,
        median_centroid_error=float(np.median(distances)) if len(distances) else math.nan,
        count_error=counts.signed,
        absolute_count_error=counts.absolute,
        relative_count_error=counts.relative,
        threshold=threshold,
        curve=curve,
    )
