"""How well objects are found and how well they are outlined, in one number: panoptic quality.

PQ = SQ x RQ [1]_. RQ (recognition quality) is the F1 of the objects, SQ (segmentation quality) the mean IoU of those
that match. A match is an IoU above one half, as in the paper, where `napari_segnet.evaluation.object_matching` asks
for at least that much: RQ and F1 at 0.5 differ only where an IoU is one half exactly.

Counts add up: over a set of images the paper's PQ is that of the sums, `pooled`. With classes, objects match only
objects of their class; PQ of an image is then the mean over the classes that are in one of the two images.

.. [1] Kirillov, A. et al. (2019). Panoptic segmentation. CVPR 2019, 9404-9413.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import DataError
from napari_segnet.evaluation.object_matching import ObjectOverlap, Objects, checked_sides, overlap_objects
from napari_segnet.evaluation.overlap import mean
from napari_segnet.io.labels import as_labels


@dataclass(frozen=True)
class PanopticQuality:
    """Panoptic quality and its two factors.

    NaN where there are no objects in either image; 0 throughout where objects are in one image only, or none match.

    Attributes
    ----------
    true_positives, false_positives, false_negatives : int
        Objects that match, predicted ones without a match, true ones without a match.
    iou_sum : float
        Sum of the IoU of those that match.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    iou_sum: float

    @property
    def sq(self) -> float:
        """Segmentation quality: mean IoU of the objects that match."""
        return self.iou_sum / max(self.true_positives, 1) if self._objects else math.nan

    @property
    def rq(self) -> float:
        """Recognition quality: 2 TP / (2 TP + FP + FN)."""
        return 2 * self.true_positives / self._objects if self._objects else math.nan

    @property
    def pq(self) -> float:
        """Panoptic quality: sum of the IoU / (TP + FP / 2 + FN / 2)."""
        return 2 * self.iou_sum / self._objects if self._objects else math.nan

    @property
    def _objects(self) -> int:
        return 2 * self.true_positives + self.false_positives + self.false_negatives


def panoptic_quality(overlap: ObjectOverlap, threshold: float = 0.5) -> PanopticQuality:
    """Return the panoptic quality of one image.

    Parameters
    ----------
    overlap : ObjectOverlap
        From `napari_segnet.evaluation.object_matching.overlap_objects`.
    threshold : float
        The IoU of a match is above it. The paper's is 0.5.

    Raises
    ------
    ConfigError
        If the threshold is no IoU.
    """
    matches = overlap.match(threshold, strict=True)
    found = len(matches)
    return PanopticQuality(
        found, len(overlap.prediction) - found, len(overlap.truth) - found, math.fsum(matches.ious.tolist())
    )


def pooled(qualities: Iterable[PanopticQuality]) -> PanopticQuality:
    """Return the panoptic quality of a set: that of all its images' objects together."""
    every = list(qualities)
    return PanopticQuality(
        sum(quality.true_positives for quality in every),
        sum(quality.false_positives for quality in every),
        sum(quality.false_negatives for quality in every),
        math.fsum(quality.iou_sum for quality in every),
    )


def mean_panoptic_quality(qualities: Iterable[PanopticQuality]) -> float:
    """Return the mean PQ over classes; classes without objects are left out, NaN if there are none."""
    return mean(quality.pq for quality in qualities)


def overlap_by_class(
    prediction: ArrayLike,
    truth: ArrayLike,
    prediction_classes: ArrayLike,
    truth_classes: ArrayLike,
) -> dict[int, ObjectOverlap]:
    """Find out which true and predicted objects of each class share pixels.

    Parameters
    ----------
    prediction, truth : integer arrays of one shape
        A number an object, 0 elsewhere; a single number besides 0 is a mask, see
        `napari_segnet.evaluation.objects.score_objects`.
    prediction_classes, truth_classes : integer arrays of the same shape
        A number a class, 0 where there is none. An object's class is the one that most of its pixels have that
        have any; of several, the lowest. An object without such a pixel has the class 0.

    Returns
    -------
    dict of int to ObjectOverlap
        For each class of an object in either image, in order.

    Raises
    ------
    DataError
        If the shapes differ, or an array holds no labels.
    """
    sides = checked_sides(prediction, truth)
    whole = overlap_objects(*sides)
    true = object_classes(whole.truth, truth_classes)
    predicted = object_classes(whole.prediction, prediction_classes)
    return {int(value): _part(whole, true == value, predicted == value) for value in np.union1d(true, predicted)}


def object_classes(objects: Objects, classes: ArrayLike) -> NDArray[np.int64]:
    """Return the class of each object: the one that most of its pixels have, see `overlap_by_class`.

    Parameters
    ----------
    objects : Objects
        From `napari_segnet.evaluation.object_matching.number_objects`.
    classes : integer array of the same shape
        A number a class, 0 where there is none.

    Returns
    -------
    (N,) int64

    Raises
    ------
    DataError
        If the shapes differ, or `classes` holds no labels.
    """
    values = np.asarray(as_labels(np.asarray(classes), "The classes"))
    if values.shape != objects.image.shape:
        raise DataError(
            f"The classes have the shape {values.shape}, the objects {objects.image.shape}.",
            "Give objects and classes of one image.",
        )
    inside = (objects.image > 0) & (values > 0)
    known, index = np.unique(values[inside], return_inverse=True)
    found = np.zeros(len(objects), np.int64)
    if len(known):
        counts = np.zeros((len(objects), len(known)), np.int64)
        np.add.at(counts, (objects.image[inside] - 1, index), 1)
        seen = counts.any(axis=1)
        found[seen] = known[counts[seen].argmax(axis=1)]
    return found


def _part(overlap: ObjectOverlap, true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> ObjectOverlap:
    """Return the table of some of the objects."""
    kept = true[overlap.true] & predicted[overlap.predicted]
    return ObjectOverlap(
        _chosen(overlap.truth, true),
        _chosen(overlap.prediction, predicted),
        _new_places(true)[overlap.true[kept]],
        _new_places(predicted)[overlap.predicted[kept]],
        overlap.shared[kept],
    )


def _chosen(objects: Objects, chosen: NDArray[np.bool_]) -> Objects:
    numbers = np.append(0, np.where(chosen, _new_places(chosen) + 1, 0)).astype(np.int32)
    return Objects(numbers[objects.image], objects.values[chosen], objects.sizes[chosen])


def _new_places(chosen: NDArray[Any]) -> NDArray[np.int64]:
    """Return the index of each object among those chosen."""
    places: NDArray[np.int64] = np.cumsum(chosen) - 1
    return places
