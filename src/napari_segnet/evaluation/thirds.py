"""Scores of parts of a stack: base, middle and apex of the heart, or as many parts as are wanted.

The reference's object is cut across an axis into parts of equal length, from the first to the last plane in which it
is [1]_. A plane belongs to the part in which its middle lies, on a border to the one further from the base. So each
part has the same number of planes, or one more or fewer: 4 planes in thirds are one, two and one. What is predicted
before the first or after the last of these planes counts for the outer parts: the parts add up to the whole stack.

A part without planes (there are fewer than parts), or without the class in both images, has no score: NaN. Where the
reference is empty there are no parts: NaN throughout.

.. [1] Cerqueira, M. D. et al. (2002). Standardized myocardial segmentation and nomenclature for tomographic imaging of
   the heart. Circulation 105, 539-542.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import ConfigError, DataError, unknown_name
from napari_segnet.evaluation.object_matching import checked_sides, checked_spacing

THIRDS = ("base", "middle", "apex")
End = Literal["first", "last"]


@dataclass(frozen=True)
class RegionScore:
    """Scores of a class in a part of a stack.

    Attributes
    ----------
    region : str
    value : int
        The class.
    first, last : int or None
        The planes of the object in this part, counted from 0; None where there are none.
    dice, iou : float
        0 if the class is in one of the images only.
    truth_volume, predicted_volume : float
        In the units of the spacing, cubed.
    """

    region: str
    value: int
    first: int | None
    last: int | None
    dice: float
    iou: float
    truth_volume: float
    predicted_volume: float


def score_regions(
    prediction: ArrayLike,
    truth: ArrayLike,
    values: Sequence[int] | None = None,
    *,
    base: End,
    regions: Sequence[str] = THIRDS,
    spacing: Sequence[float] | None = None,
    axis: int = 0,
) -> list[RegionScore]:
    """Return the scores of each part of a stack.

    Parameters
    ----------
    prediction, truth : (Z, Y, X) integer arrays of one shape
        Labels of classes.
    values : sequence of int, optional
        The classes; by default all but 0 that are in either image. The reference's object is all of them together.
    base : {"first", "last"}
        At which end of the axis the first of the regions is.
    regions : sequence of str
        Names of the parts, from the base to the apex; as many parts are made.
    spacing : sequence of float, optional
        Size of a voxel along each axis; by default 1.
    axis : int
        The axis along which the stack is cut.

    Returns
    -------
    list of RegionScore
        For each region and class.

    Raises
    ------
    DataError
        If the shapes differ, an array is no volume of labels, or `spacing` doesn't fit.
    ConfigError
        If `base`, `regions` or `axis` has no such value.
    """
    predicted, true = checked_sides(prediction, truth)
    if true.ndim != 3:
        raise DataError(f"An image of the shape {true.shape} has no parts along Z.", "Give a volume (Z, Y, X).")
    if base not in get_args(End):
        raise unknown_name("end", str(base), get_args(End))
    if not regions or len(set(regions)) < len(regions):
        raise ConfigError(f"regions = {list(regions)}.", "Give a name for each part, no two alike.")
    if not -true.ndim <= axis < true.ndim:
        raise ConfigError(f"axis = {axis}.", "A volume has the axes 0, 1 and 2.")
    voxel = float(np.prod(checked_spacing(spacing, true.ndim)))
    if values is None:
        values = sorted({*np.unique(true).tolist(), *np.unique(predicted).tolist()} - {0})
    across = tuple(a for a in range(true.ndim) if a != axis % true.ndim)
    inside = np.asarray(np.isin(true, list(values)).any(axis=across))
    numbers = plane_regions(inside, len(regions), base)
    found = []
    for number, region in enumerate(regions):
        planes = np.flatnonzero((numbers == number) & _extent(inside))
        first, last = (int(planes[0]), int(planes[-1])) if len(planes) else (None, None)
        here = [np.compress(numbers == number, side, axis=axis) for side in (true, predicted)]
        for value in values:
            parts = [side == value for side in here]
            counts = [int(np.count_nonzero(part)) for part in (*parts, parts[0] & parts[1])]
            dice, iou = _overlap(*counts)
            known = inside.any()
            volumes = [count * voxel if known else math.nan for count in counts]
            found.append(RegionScore(region, int(value), first, last, dice, iou, volumes[0], volumes[1]))
    return found


def plane_regions(inside: NDArray[np.bool_], number: int, base: End) -> NDArray[np.int64]:
    """Return the part to which each plane of a stack belongs.

    Parameters
    ----------
    inside : (Z,) bool
        Planes in which the reference's object is.
    number : int
        Of parts.
    base : {"first", "last"}
        At which end the first part is.

    Returns
    -------
    (Z,) int64
        From 0 on; planes beyond the object's ends belong to the outer parts. -1 throughout if it is nowhere.
    """
    if not inside.any():
        return np.full(len(inside), -1)
    planes = np.flatnonzero(_extent(inside))
    # Twice the middles of the planes, as whole numbers: no rounding at the borders of parts.
    middles = 2 * (np.arange(len(inside)) - planes[0]) + 1
    if base == "last":
        middles = 2 * len(planes) - middles
    regions: NDArray[np.int64] = np.clip(middles * number // (2 * len(planes)), 0, number - 1)
    return regions


def _extent(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the planes from the first to the last that is inside."""
    reached: NDArray[np.bool_] = np.logical_or.accumulate(inside) & np.logical_or.accumulate(inside[::-1])[::-1]
    return reached


def _overlap(true: int, predicted: int, both: int) -> tuple[float, float]:
    either = true + predicted - both
    return (2 * both / (true + predicted), both / either) if either else (math.nan, math.nan)
