"""Soft edges: from a mask to how opaque each pixel is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.measure.options import CutOutOptions

# A softer edge than that can't be told from a hard one.
_SHARP = 0.01


def reach(options: CutOutOptions) -> int:
    """Return how far, in pixels, the edge of a mask changes the opacity: what strips have to overlap by."""
    soft = 2 * options.feather if options.edge == "gaussian" else options.feather
    return math.ceil(soft + abs(options.shrink)) + 2


def opacity(
    mask: NDArray[np.bool_], options: CutOutOptions, probability: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """Return how opaque each pixel is.

    Parameters
    ----------
    mask : (Y, X) bool
        What is cut out. The edge of the image is no edge of an object.
    options : CutOutOptions
        ``edge="distance"``: opacity falls from 1 to 0 over `feather` pixels, and is a half at the mask's edge.
        ``"gaussian"``: the mask is blurred by a Gaussian of half that. ``"probability"``: at the edge the
        opacity is the probability, and over `feather` pixels to both sides it becomes 1 or 0.
    probability : (Y, X) float, optional
        Of what is cut out; has to be given for the last.

    Returns
    -------
    (Y, X) float32
        0 to 1. Pixels farther than `reach` from any edge are 0 or 1.
    """
    distance = _signed_distance(mask)
    if options.shrink:
        distance = distance - np.float32(options.shrink)
    inside = distance > 0
    if options.feather < _SHARP:
        return inside.astype(np.float32)
    if options.edge == "gaussian":
        blurred: NDArray[np.float32] = ndimage.gaussian_filter(
            inside.astype(np.float32), options.feather / 2, mode="nearest"
        )
        return blurred
    if options.edge == "probability" and probability is not None:
        near = np.clip(1 - np.abs(distance) / np.float32(options.feather), 0, 1)
        chance = np.clip(np.nan_to_num(probability), 0, 1).astype(np.float32)
        mixed: NDArray[np.float32] = near * chance + (1 - near) * inside
        return mixed
    ramp: NDArray[np.float32] = np.clip(0.5 + distance / np.float32(options.feather), 0, 1)
    return ramp


def _signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the distance to the edge of the mask, in pixels: above 0 inside, below outside."""
    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf if mask.all() else -np.inf, np.float32)
    within = ndimage.distance_transform_edt(mask)
    without = ndimage.distance_transform_edt(~mask)
    # Pixel centres are half a pixel from the edge between them.
    distance: NDArray[np.float32] = np.where(mask, within - 0.5, 0.5 - without).astype(np.float32)
    return distance
