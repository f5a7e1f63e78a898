"""Weights of classes from how frequent they are, and weights of pixels from where the objects are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_segnet.errors import ConfigError, DataError, unknown_name

Scheme = Literal["inverse", "median", "effective"]

_NEGLIGIBLE = 1e-8
"""Part of the largest border weight below which it is taken to be none: nothing in float32."""


def class_weights(counts: ArrayLike, scheme: Scheme = "median", beta: float = 0.9999) -> NDArray[np.float32]:
    """Return weights that give rare classes more say.

    Parameters
    ----------
    counts : (K,) or (N, K) array
        Annotated pixels of each class, in all images together or in each of N images. Only ``"median"`` asks in which
        images a class is.
    scheme : str
        ``"inverse"``: one over the class's share of the pixels.
        ``"median"``: median frequency balancing (Eigen and Fergus 2015, https://arxiv.org/abs/1411.4734; SegNet): one
        over the class's share of the pixels of those images that hold it. In one image the same as ``"inverse"``.
        ``"effective"``: one over the effective number of pixels, (1 - beta^n) / (1 - beta) (Cui et al. 2019,
        https://arxiv.org/abs/1901.05555): classes with many more than 1 / (1 - beta) pixels weigh the same.
    beta : float
        From 0 (all the same) to below 1 (inverse frequency); only for ``"effective"``.

    Returns
    -------
    (K,) float32
        Their mean over the classes that have pixels is 1. A class without any has no frequency: it weighs 1.

    Raises
    ------
    DataError
        If nothing is annotated, or the counts are no counts.
    ConfigError
        If there is no such scheme, or beta is out of range.
    """
    table = np.atleast_2d(np.asarray(counts, np.float64))
    if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any():
        raise DataError("These are no counts of pixels.", "Give a number of at least 0 for each class.")
    if scheme not in get_args(Scheme):
        raise unknown_name("scheme of class weights", scheme, get_args(Scheme))
    if not 0 <= beta < 1:
        raise ConfigError(f"beta = {beta} is not between 0 and 1.", "Set it to 0.9999, or nearer to 1 for more effect.")
    total = table.sum(axis=0)
    found = total > 0
    if not found.any():
        raise DataError("No pixel is annotated, so classes have no frequency.", "Paint something, or set weights.")
    if scheme == "effective":
        size = np.expm1(total[found] * math.log(beta)) / (beta - 1) if beta > 0 else np.ones(int(found.sum()))
    elif scheme == "median":
        size = (total / np.maximum(((table > 0) * table.sum(axis=1, keepdims=True)).sum(axis=0), 1))[found]
    else:
        size = total[found]
    weights = np.ones(len(total))
    weights[found] = (1 / size) / (1 / size).mean()
    return weights.astype(np.float32)


def border_weights(
    objects: NDArray[np.integer],
    w0: float = 10.0,
    sigma: float = 5.0,
    spacing: Sequence[float] | None = None,
    inside: bool = False,
) -> NDArray[np.float32]:
    """Return weights of pixels that are large in narrow gaps between objects: 1 + w0 exp(-(d1 + d2)^2 / 2 sigma^2).

    After Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597, equation 2. d1 and d2 are the
    distances to the nearest and the second nearest object. The paper's first term, which balances the classes, is 1
    here: classes have weights of their own.

    Parameters
    ----------
    objects : (Y, X) or (Z, Y, X) integer array
        One number an object; 0 and below: none.
    w0 : float
        Largest weight to add.
    sigma : float
        Width of the gaps, in pixels (in units of `spacing`).
    spacing : sequence of float, optional
        Distance of neighbours along each axis; default: 1.
    inside : bool
        Whether pixels of objects are weighed too, with d1 = 0; the paper's figure has them in the background alone,
        but objects that touch have none between them.

    Returns
    -------
    float32 array, shaped as `objects`
        Exact but for weights of less than a hundred-millionth of `w0`.

    Raises
    ------
    ConfigError
        If sigma or w0 is not positive, or the spacing doesn't fit.
    """
    steps = np.ones(objects.ndim) if spacing is None else np.asarray(spacing, np.float64)
    if not (w0 > 0 and sigma > 0):
        raise ConfigError(f"w0 = {w0} and sigma = {sigma} are not both positive.", "The paper's are 10 and 5.")
    if steps.shape != (objects.ndim,) or not (steps > 0).all():
        raise ConfigError(f"The spacing {spacing} doesn't fit {objects.ndim} axes.", "Give a number above 0 an axis.")
    reach = sigma * math.sqrt(-2 * math.log(_NEGLIGIBLE))
    if not (objects > 0).any():
        return np.ones(objects.shape, np.float32)
    nearest, second = _two_nearest(objects, steps, reach)
    extra = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    if not inside:
        extra[objects > 0] = 0
    weights: NDArray[np.float32] = (1 + extra).astype(np.float32)
    return weights


def _two_nearest(
    objects: NDArray[np.integer], steps: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances to the nearest and second nearest object; infinite where they are beyond `reach`."""
    nearest, second = np.full(objects.shape, np.inf), np.full(objects.shape, np.inf)
    margin = np.ceil(reach / steps).astype(int)
    # Numbered anew, because the boxes of objects take memory up to the largest number.
    values, found = np.unique(np.maximum(objects, 0), return_inverse=True)
    numbers = found.reshape(objects.shape) + int(0 not in values)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        around = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
        distance = ndimage.distance_transform_edt(numbers[around] != number, steps)
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    return nearest, second
