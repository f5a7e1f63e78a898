"""Which true and predicted objects belong together.

All measures of objects start from one table: which true and predicted objects share pixels, and how many
(`ObjectOverlap`). At a threshold t, a predicted and a true object match if their IoU is at least t; each takes part in
one match only. Where an object could match several, which happens at thresholds up to one half only, as many as can
be are matched, and of all ways to do so the one with the largest sum of IoU is taken, as StarDist does [1]_.

.. [1] Schmidt, U. et al. (2018). Cell detection with star-convex polygons. MICCAI 2018, 265-273.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.labels import as_labels

# A table with a place for each value, or each pair of objects, is quicker than sorting while it is not much
# larger than the image.
_LARGEST_TABLE = 2**22


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of an image, numbered without gaps.

    Attributes
    ----------
    image : int32 array
        1, 2, 3 ... in the objects, 0 elsewhere.
    values : (N,) int64
        The number of each object in the labels it was read from; of the pieces of a mask, 1, 2, 3 ...
    sizes : (N,) int64
        Pixels of each object.
    """

    image: NDArray[np.int32]
    values: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    def centroids(self, spacing: Sequence[float] | None = None) -> NDArray[np.float64]:
        """Return the centre of mass of each object.

        Parameters
        ----------
        spacing : sequence of float, optional
            Size of a pixel along each axis; by default 1.

        Returns
        -------
        (N, axes) float64
            In the units of `spacing`; the centre of the first pixel is 0.

        Raises
        ------
        DataError
            If `spacing` doesn't fit the image.
        """
        steps = checked_spacing(spacing, self.image.ndim)
        inside = np.flatnonzero(self.image)
        numbers = self.image.reshape(-1)[inside] - 1
        places = np.unravel_index(inside, self.image.shape)
        sums = [np.bincount(numbers, weights=place, minlength=len(self)) for place in places]
        return np.stack(sums, axis=1) / self.sizes[:, None] * steps


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of objects that belong together.

    Attributes
    ----------
    true, predicted : (M,) int64
        Their indices, from 0 on.
    shared : (M,) int64
        Pixels that both have.
    ious : (M,) float64
    """

    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    shared: NDArray[np.int64]
    ious: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ious)


@dataclass(frozen=True, eq=False)
class ObjectOverlap:
    """Which true and predicted objects share pixels.

    Attributes
    ----------
    truth, prediction : Objects
    true, predicted : (pairs,) int64
        Indices of the objects of each pair, from 0 on.
    shared : (pairs,) int64
        Pixels that both have.
    """

    truth: Objects
    prediction: Objects
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    shared: NDArray[np.int64]

    @cached_property
    def ious(self) -> NDArray[np.float64]:
        """IoU of each pair."""
        either = self.truth.sizes[self.true] + self.prediction.sizes[self.predicted] - self.shared
        found: NDArray[np.float64] = self.shared / either
        return found

    def match(self, threshold: float = 0.5, *, strict: bool = False) -> Matches:
        """Match objects one to one.

        Parameters
        ----------
        threshold : float
            Least IoU of a match, above 0 and at most 1.
        strict : bool
            Whether the IoU has to be above the threshold.

        Returns
        -------
        Matches
            In the order of the true objects.

        Raises
        ------
        ConfigError
            If the threshold is no IoU.
        """
        threshold = checked_threshold(threshold)
        good = np.flatnonzero(self.ious > threshold if strict else self.ious >= threshold)
        if _occur_twice(self.true[good]) or _occur_twice(self.predicted[good]):
            # The sum of what is added to the ones stays below one: the number of matches comes first.
            most = min(len(self.truth), len(self.prediction))
            good = self._assign(good, 1 + self.ious[good] / (2 * most))
        return self._pairs(good)

    def match_all(self) -> Matches:
        """Match objects that share pixels one to one, so that the sum of IoU is as large as it can be."""
        return self._pairs(self._assign(np.arange(len(self.shared)), self.ious))

    def _pairs(self, chosen: NDArray[np.int64]) -> Matches:
        return Matches(self.true[chosen], self.predicted[chosen], self.shared[chosen], self.ious[chosen])

    def _assign(self, chosen: NDArray[np.int64], gains: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return which of the chosen pairs to keep, each object in one at most, for the largest sum of gains."""
        rows, row_index = np.unique(self.true[chosen], return_inverse=True)
        columns, column_index = np.unique(self.predicted[chosen], return_inverse=True)
        # Each true object gets a column of its own, where it stays unmatched and gains nothing; the ones that are
        # added everywhere keep these places in the sparse table, and change no order: all rows have one match.
        alone = np.arange(len(rows))
        places = np.append(row_index, alone), np.append(column_index, len(columns) + alone)
        table = sparse.csr_array(
            # Older versions of scipy match only where the indices are 32 bits.
            (np.append(1 + gains, np.ones(len(rows))), (places[0].astype(np.int32), places[1].astype(np.int32))),
            shape=(len(rows), len(columns) + len(rows)),
        )
        matched = min_weight_full_bipartite_matching(table, maximize=True)
        partner = np.empty(len(rows), np.int64)
        partner[matched[0]] = matched[1]
        kept: NDArray[np.int64] = chosen[partner[row_index] == column_index]
        return kept


def overlap_objects(prediction: ArrayLike, truth: ArrayLike) -> ObjectOverlap:
    """Find out which true and predicted objects share pixels.

    Parameters
    ----------
    prediction, truth : integer arrays of one shape
        A number an object, 0 elsewhere. An image with a single number besides 0 is a mask: its connected pieces are
        the objects.

    Returns
    -------
    ObjectOverlap

    Raises
    ------
    DataError
        If the shapes differ, or a side is no labels.
    """
    sides = checked_sides(prediction, truth)
    predicted, true = number_objects(sides[0]), number_objects(sides[1])
    width = len(predicted) + 1
    both = (predicted.image > 0) & (true.image > 0)
    codes = true.image[both].astype(np.int64) * width + predicted.image[both]
    if (len(true) + 1) * width <= max(_LARGEST_TABLE, codes.size):
        counts = np.bincount(codes)
        pairs = np.flatnonzero(counts)
        shared = counts[pairs]
    else:
        pairs, shared = np.unique(codes, return_counts=True)
    rows, columns = np.divmod(pairs, width)
    return ObjectOverlap(true, predicted, rows - 1, columns - 1, shared)


def number_objects(labels: NDArray[np.unsignedinteger[Any]]) -> Objects:
    """Return the objects of labels; a single number besides 0 is a mask, whose connected pieces are the objects.

    Parameters
    ----------
    labels : unsigned integer array
        A number an object, 0 elsewhere. Pieces of a mask are connected along edges and corners.
    """
    highest = int(labels.max(initial=0))
    index: NDArray[np.int32]
    if highest < max(_LARGEST_TABLE, labels.size):
        counts = np.bincount(labels.reshape(-1).astype(np.int64, copy=False), minlength=1)
        counts[0] = 0
        values = np.flatnonzero(counts)
        table = np.zeros(len(counts), np.int32)
        table[values] = np.arange(1, len(values) + 1)
        index = table[labels]
    else:
        every, places = np.unique(labels, return_inverse=True)
        values = every[every > 0].astype(np.int64)
        index = (places.reshape(labels.shape) + (len(values) == len(every))).astype(np.int32)
    if len(values) == 1:
        index, pieces = ndimage.label(labels, np.ones((3,) * labels.ndim))
        values = np.arange(1, pieces + 1)
    sizes = np.bincount(index.reshape(-1), minlength=len(values) + 1)[1:]
    return Objects(index, values.astype(np.int64), sizes)


def checked_sides(
    prediction: ArrayLike, truth: ArrayLike
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.unsignedinteger[Any]]]:
    """Return two label images as unsigned integers, or raise `DataError` if they can't be compared."""
    sides = (
        np.asarray(as_labels(np.asarray(prediction), "The prediction")),
        np.asarray(as_labels(np.asarray(truth), "The reference")),
    )
    if sides[0].shape != sides[1].shape:
        raise DataError(
            f"The prediction has the shape {sides[0].shape}, the reference {sides[1].shape}.",
            "Compare labels of one image.",
        )
    return sides


def checked_spacing(spacing: Sequence[float] | None, axes: int) -> NDArray[np.float64]:
    """Return the size of a pixel along each axis, 1 where none is given, or raise `DataError`."""
    if spacing is None:
        return np.ones(axes)
    steps = np.asarray(spacing, np.float64).reshape(-1)
    if len(steps) != axes or not np.isfinite(steps).all() or steps.min() <= 0:
        raise DataError(
            f"The spacing {tuple(steps.tolist())} doesn't fit an image with {axes} axes.",
            "Give one positive number for each axis, in the order of the axes.",
        )
    return steps


def checked_threshold(threshold: float) -> float:
    """Return a threshold of the IoU, or raise `ConfigError` if it is none."""
    if not 0 < threshold <= 1:
        raise ConfigError(f"{threshold} is no threshold of the IoU.", "Choose one above 0 and at most 1, such as 0.5.")
    return threshold


def _occur_twice(numbers: NDArray[np.int64]) -> bool:
    return len(np.unique(numbers)) < len(numbers)
