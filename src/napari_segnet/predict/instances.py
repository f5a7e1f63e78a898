"""From classes to objects: each object gets a number of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

SEED = 0.5
"""Probability of an object's inside from which a pixel belongs to a seed."""


def to_instances(
    labels: NDArray[Any], interior: NDArray[np.float32] | None = None, background: int | None = 0
) -> NDArray[np.int32]:
    """Give each object of an image or a volume a number.

    For a semantic model an object is a connected component of a class, diagonal neighbours included; touching
    objects of one class are one. A model of instances also knows the inside of objects: each component of the
    pixels that are probably inside is the seed of one object, and the seeds grow over the foreground until
    they meet (watershed of the interior probability). Foreground without a seed is an object by itself.

    Parameters
    ----------
    labels : (Y, X) or (Z, Y, X) integers
        Values of classes.
    interior : float32 array, optional
        Same shape; probability of the inside of an object, for models of instances.
    background : int or None
        Value that is no object; None: every class has objects.

    Returns
    -------
    int32 array
        Same shape; 0 is background, objects are 1, 2, 3 ... in reading order of their first pixels, without
        gaps.
    """
    if background is None:
        labels, background = labels.astype(np.int32) + 1, 0
    # Every pixel is compared with its diagonal neighbours too: one class a component, whatever touches.
    pieces: NDArray[np.int32] = label(labels, background=background, connectivity=labels.ndim).astype(np.int32)
    if interior is None:
        return pieces
    foreground = labels != background
    seeds, count = ndimage.label((interior > SEED) & foreground)
    seeds = seeds.astype(np.int32)
    seeded = np.zeros(int(pieces.max()) + 1, bool)
    seeded[pieces[seeds > 0]] = True
    alone = foreground & ~seeded[pieces]
    seeds[alone] = pieces[alone] + count
    grown = watershed(-interior, seeds, mask=foreground, connectivity=labels.ndim)
    return _renumbered(grown)


def _renumbered(objects: NDArray[Any]) -> NDArray[np.int32]:
    """Return objects as 1, 2, 3 ... in the order of their first pixels."""
    values, first = np.unique(objects, return_index=True)
    order = [n for n in np.argsort(first) if values[n] != 0]
    table = np.zeros(int(values.max()) + 1, np.int32)
    table[values[order]] = np.arange(1, len(order) + 1)
    numbered: NDArray[np.int32] = table[objects]
    return numbered
