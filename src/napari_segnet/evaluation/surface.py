"""How far surfaces are from each other: Hausdorff distance, HD95, ASD, ASSD, surface Dice, boundary IoU.

Surface elements are pixels of the class with a neighbour along an axis outside it; the border of the image counts as
outside. Each has the same weight, and distances are those between their centres, in the unit of the spacing. This is
what MONAI does. With ``elements="area"`` they are the corners where pixels meet, weighed by the length (2D) or area
(3D) of the contour that passes there, as Nikolov et al. [1]_ and their program do: steps between thick planes then
weigh as much as they measure. HD95 is the larger of the two directed percentiles (not the percentile of both together),
interpolated linearly between pixels, and of areas the first distance that 95 % of the area doesn't exceed. ASSD is the
mean over the elements of both surfaces together [2]_.

The boundary IoU [3]_ is that of the inner borders of both masks: pixels of the mask from which a box of a given half
width, a share of the image's diagonal, reaches out of it (a square of pixels in the authors' program). A mask that is
cut by the border of the image ends there.

Without the class in both images there is no score: NaN, left out of means. Where it is in one of them only, distances
are infinite, or what `SurfaceOptions.missed` says, and surface Dice and boundary IoU are 0.

.. [1] Nikolov, S. et al. (2018). Deep learning to achieve clinically applicable segmentation of head and neck anatomy
   for radiotherapy. arXiv:1809.04430.
.. [2] Heimann, T. et al. (2009). Comparison and evaluation of methods for liver segmentation from CT datasets. IEEE
   Transactions on Medical Imaging 28, 1251-1265.
.. [3] Cheng, B. et al. (2021). Boundary IoU: improving object-centric image segmentation evaluation. arXiv:2103.16562.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from scipy.spatial import KDTree

from napari_segnet.axes import counted as number_of
from napari_segnet.config import Frozen
from napari_segnet.errors import DataError
from napari_segnet.io.images import ImageFile

Mask = NDArray[np.bool_]
Box = tuple[slice, ...]


class SurfaceOptions(Frozen):
    """How surfaces are measured."""

    spacing: tuple[float, ...] | None = Field(
        None, description="Size of a pixel along [Z], Y, X; distances are in its unit. By default 1: pixels."
    )
    tolerance: float | None = Field(
        None,
        ge=0,
        description="Of the surface Dice, in the unit of the spacing; by default the longest side of a pixel.",
    )
    percentile: float = Field(95.0, gt=0, le=100, description="Of HD95.")
    boundary_share: float = Field(
        0.02, gt=0, le=1, description="Width of the border of the boundary IoU, as a share of the image's diagonal."
    )
    elements: Literal["pixels", "area"] = Field("pixels", description="What a surface is made of.")
    missed: float | None = Field(
        None, ge=0, description="Distance where one image lacks the class; by default infinite."
    )


@dataclass(frozen=True)
class SurfaceScore:
    """How far the surfaces of a class are from each other, in the unit of the spacing.

    Attributes
    ----------
    hausdorff, hd95 : float
        The largest distance, and the larger of the two directed 95th percentiles.
    asd_prediction, asd_truth, assd : float
        Mean distance of the predicted surface from the true one, the other way round, and of all elements of both.
    surface_dice : float
        Share of both surfaces within the tolerance.
    boundary_iou : float
        IoU of the inner borders.
    """

    hausdorff: float
    hd95: float
    asd_prediction: float
    asd_truth: float
    assd: float
    surface_dice: float
    boundary_iou: float


def surface_scores(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    values: Iterable[int],
    options: SurfaceOptions | None = None,
    counted: Mask | None = None,
) -> dict[int, SurfaceScore]:
    """Return the surface scores of some classes of a label image.

    Parameters
    ----------
    prediction, truth : ([Z], Y, X) integer arrays of one shape
        A plane, or a volume: surfaces go through planes.
    values : iterable of int
        The classes.
    options : SurfaceOptions, optional
    counted : ([Z], Y, X) bool, optional
        Where it is known what is true. Elsewhere the reference is taken to be as the prediction, and nothing there
        is measured, but distances to it are.

    Returns
    -------
    dict of int to SurfaceScore

    Raises
    ------
    DataError
        If it is neither a plane nor a volume, shapes differ, or the spacing doesn't fit.
    """
    asked = options or SurfaceOptions()
    if prediction.shape != truth.shape:
        raise DataError(
            f"The prediction has the shape {prediction.shape}, the reference {truth.shape}.",
            "Compare labels of one image.",
        )
    spacing = _check_spacing(truth.shape, asked)
    if counted is not None:
        truth = np.where(counted, truth, prediction)
    return {value: _score(prediction == value, truth == value, spacing, asked, counted) for value in values}


def surface_score(
    prediction: Mask, truth: Mask, options: SurfaceOptions | None = None, counted: Mask | None = None
) -> SurfaceScore:
    """Return the surface scores of one mask ([Z], Y, X); as `surface_scores`."""
    predicted, true = (np.asarray(mask, bool).astype(np.uint8) for mask in (prediction, truth))
    return surface_scores(predicted, true, [1], options, counted)[1]


def spacing_of(image: ImageFile) -> tuple[float, ...] | None:
    """Return the size of a pixel along [Z], Y, X that a label file tells; None where it tells none.

    Raises
    ------
    DataError
        If the image is neither a plane nor a volume, or a volume whose file doesn't tell how far planes are apart.
    """
    if image.axes not in ("YX", "ZYX"):
        raise DataError(
            f"{image.path.name} has the axes {image.axes}: surfaces are measured in planes (YX) and volumes (ZYX).",
            "Save its planes or volumes as single files, or say what its axes are.",
        )
    if image.pixel_size is not None and len(image.pixel_size) != len(image.axes):
        raise DataError(
            f"{image.path.name} doesn't tell how far its planes are apart, only a pixel of "
            f"{' x '.join(f'{side:g}' for side in image.pixel_size)}.",
            "Give the spacing along Z, Y and X.",
        )
    return image.pixel_size


def _check_spacing(shape: tuple[int, ...], options: SurfaceOptions) -> tuple[float, ...]:
    if len(shape) not in (2, 3):
        raise DataError(
            f"Surfaces are measured in planes and volumes, not in {number_of(len(shape), 'dimension')}.",
            "Give (Y, X) or (Z, Y, X): one time point at a time.",
        )
    spacing = options.spacing or (1.0,) * len(shape)
    if len(spacing) != len(shape):
        raise DataError(
            f"The spacing {spacing} has {number_of(len(spacing), 'number')}, the image {len(shape)} axes.",
            "Give one number an axis: [Z], Y, X.",
        )
    if not all(step > 0 for step in spacing):
        raise DataError(f"The spacing is {spacing}.", "The size of a pixel is above 0 along each axis.")
    return spacing


def _score(
    prediction: Mask, truth: Mask, spacing: tuple[float, ...], options: SurfaceOptions, counted: Mask | None
) -> SurfaceScore:
    there = [bool((mask if counted is None else mask & counted).any()) for mask in (prediction, truth)]
    if not any(there):
        return SurfaceScore(*(math.nan,) * 7)
    if not all(there):
        missed = math.inf if options.missed is None else options.missed
        return SurfaceScore(missed, missed, missed, missed, missed, 0.0, 0.0)
    diagonal = math.hypot(*(n * step for n, step in zip(truth.shape, spacing, strict=True)))
    width = options.boundary_share * diagonal
    box = _bounding_box(prediction | truth)
    prediction, truth = prediction[box], truth[box]
    known = np.ones(truth.shape, bool) if counted is None else counted[box]
    predicted_surface, true_surface = (
        _corners(mask, known, spacing) if options.elements == "area" else _edge_pixels(mask, known)
        for mask in (prediction, truth)
    )
    forth = _distances(predicted_surface, true_surface, spacing)
    back = _distances(true_surface, predicted_surface, spacing)
    both = forth.joined(back)
    tolerance = max(spacing) if options.tolerance is None else options.tolerance
    return SurfaceScore(
        hausdorff=both.percentile(100),
        # Where nothing of one surface counts, the other's distances still do.
        hd95=float(np.fmax(forth.percentile(options.percentile), back.percentile(options.percentile))),
        asd_prediction=forth.mean(),
        asd_truth=back.mean(),
        assd=both.mean(),
        surface_dice=both.within(tolerance),
        boundary_iou=_boundary_iou(prediction, truth, known, [width / step for step in spacing]),
    )


def _bounding_box(mask: Mask) -> Box:
    """Return the slices of the smallest box around a mask that is not empty."""
    box = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(box)


@dataclass(frozen=True)
class _Surface:
    """Elements of a surface.

    Attributes
    ----------
    places : array of bool
        Where they are, on a grid that both surfaces share.
    counted : array of bool
        Of each element: whether its distance counts.
    weights : (N,) float64 or None
        Of the elements that count; None where all are the same.
    """

    places: Mask
    counted: Mask
    weights: NDArray[np.float64] | None


@dataclass(frozen=True)
class _Distances:
    """Distances of elements from the other surface, and their weights (None: all the same)."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64] | None

    def joined(self, other: _Distances) -> _Distances:
        weights = None
        if self.weights is not None and other.weights is not None:
            weights = np.concatenate([self.weights, other.weights])
        return _Distances(np.concatenate([self.values, other.values]), weights)

    def mean(self) -> float:
        return float(np.average(self.values, weights=self.weights)) if self.values.size else math.nan

    def within(self, tolerance: float) -> float:
        # Distances are sums of squares of products: a pixel that is just as far as the tolerance may be a bit beyond.
        near = self.values <= tolerance * (1 + 1e-9)
        return float(np.average(near, weights=self.weights)) if self.values.size else math.nan

    def percentile(self, percent: float) -> float:
        if not self.values.size:
            return math.nan
        if self.weights is None or percent == 100:
            return float(np.percentile(self.values, percent))
        order = np.argsort(self.values)
        shares = np.cumsum(self.weights[order])
        place = np.searchsorted(shares, percent / 100 * shares[-1] * (1 - 1e-12))
        return float(self.values[order[min(int(place), len(order) - 1)]])


def _edge_pixels(mask: Mask, known: Mask) -> _Surface:
    inside = mask.copy()
    for axis in range(mask.ndim):
        along, from_neighbours = np.moveaxis(mask, axis, 0), np.moveaxis(inside, axis, 0)
        from_neighbours[:-1] &= along[1:]
        from_neighbours[1:] &= along[:-1]
        from_neighbours[[0, -1]] = False
    places = mask & ~inside
    return _Surface(places, known[places], None)


def _corners(mask: Mask, known: Mask, spacing: tuple[float, ...]) -> _Surface:
    """Return the corners of pixels through which the contour passes, weighed by its length or area there."""
    table = _contour_table(spacing)
    padded = np.pad(mask, 1)
    codes = np.zeros([n + 1 for n in mask.shape], np.uint8)
    unknown = np.zeros(codes.shape, bool)
    padded_unknown = np.pad(~known, 1)
    for bit, corner in enumerate(np.ndindex(*(2,) * mask.ndim)):
        shifted = tuple(slice(start, start + n) for start, n in zip(corner, codes.shape, strict=True))
        codes |= padded[shifted].astype(np.uint8) << bit
        unknown |= padded_unknown[shifted]
    places = (codes > 0) & (codes < len(table) - 1)
    kept = ~unknown[places]
    return _Surface(places, kept, table[codes[places][kept]])


@cache
def _contour_table(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the length or area of the contour between 2 x 2 [x 2] pixels, for each code of which are inside.

    Bit i of a code is the pixel at the i-th place of ``np.ndindex(2, 2)`` or ``(2, 2, 2)``.
    """
    from skimage.measure import find_contours, marching_cubes, mesh_surface_area

    size = len(spacing)
    last = 2 ** (2**size) - 1
    table = np.zeros(last + 1)
    for code in range(1, last):
        # A surface has the same area from either side. Of few pixels inside, those that meet at a corner are apart.
        fewer = min(code, last - code, key=int.bit_count)
        block = np.array([fewer >> bit & 1 for bit in range(2**size)], float).reshape((2,) * size)
        if size == 2:
            for line in find_contours(block, 0.5):
                table[code] += np.hypot(*(np.diff(line, axis=0) * spacing).T).sum()
        else:
            vertices, faces, *_ = marching_cubes(block, 0.5, spacing=spacing, method="lorensen")
            table[code] = mesh_surface_area(vertices, faces)
    return table


def _distances(surface: _Surface, other: _Surface, spacing: Sequence[float]) -> _Distances:
    """Return how far the elements of a surface are from the nearest of another."""
    shared = other.places[surface.places][surface.counted]
    values = np.zeros(shared.size)
    # Elements in the same place need no search; where masks nearly agree, that is most of them.
    elements = np.argwhere(surface.places)[surface.counted][~shared]
    if len(elements):
        values[~shared] = KDTree(np.argwhere(other.places) * spacing, balanced_tree=False).query(elements * spacing)[0]
    return _Distances(values, surface.weights)


def _boundary_iou(prediction: Mask, truth: Mask, known: Mask, widths: Sequence[float]) -> float:
    predicted, true = (_inner_border(mask, widths) & known for mask in (prediction, truth))
    either = np.count_nonzero(predicted | true)
    return float(np.count_nonzero(predicted & true) / either) if either else math.nan


def _inner_border(mask: Mask, widths: Sequence[float]) -> Mask:
    """Return the pixels of a mask from which a box of these half widths, in pixels, reaches out of it."""
    core = mask.view(np.uint8)
    for axis, width in enumerate(widths):
        # Rounded as in the authors' program, and at least one pixel.
        core = ndimage.minimum_filter1d(core, 2 * max(1, round(width)) + 1, axis, mode="constant", cval=0)
    border: Mask = mask & (core == 0)
    return border
