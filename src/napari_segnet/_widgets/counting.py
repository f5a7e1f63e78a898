"""What is painted so far: values and their pixels, counted in small steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 500_000
_GUESS_PIXELS = 400_000


def count_steps(array: Any, counts: dict[int, int]) -> Iterator[None]:
    """Add the values of a label array and their numbers of pixels to `counts`, a block a step.

    Parameters
    ----------
    array : integer array-like, any shape
    counts : dict
        Filled in place.
    """
    for block in _blocks(array):
        values = np.asarray(block).ravel()
        if values.size and values.min() >= 0 and values.max() < 65536:
            numbers = np.bincount(values)
            found = np.flatnonzero(numbers)
            pairs = zip(found.tolist(), numbers[found].tolist(), strict=True)
        else:
            found, numbers = np.unique(values, return_counts=True)
            pairs = zip(found.tolist(), numbers.tolist(), strict=True)
        for value, number in pairs:
            counts[value] = counts.get(value, 0) + number
        yield


def _blocks(array: Any) -> Iterator[Any]:
    size = int(np.prod(array.shape))
    if size <= _BLOCK or array.ndim == 0:
        yield array
    elif array.ndim > 2:
        for i in range(array.shape[0]):
            yield from _blocks(array[i])
    else:
        rows = max(1, _BLOCK // max(1, size // array.shape[0]))
        for start in range(0, array.shape[0], rows):
            yield array[start : start + rows]


def sample_planes(array: Any, most: int = 4) -> list[NDArray[Any]]:
    """Return some painted planes of a label array, thinned to some 100,000 pixels: enough to guess a meaning.

    Parameters
    ----------
    array : integer array-like (..., Y, X)
    most : int
        Number of planes.

    Returns
    -------
    list of (Y, X) arrays
        The planes with the most paint first; one plane even if nothing is painted.
    """
    step = max(1, int(np.ceil(np.sqrt(array.shape[-1] * array.shape[-2] / _GUESS_PIXELS))))
    if array.ndim == 2:
        return [np.asarray(array[::step, ::step])]
    leading = array.shape[:-2]
    wanted = np.linspace(0, int(np.prod(leading)) - 1, min(int(np.prod(leading)), 64)).astype(int)
    planes = [np.asarray(array[np.unravel_index(i, leading)][::step, ::step]) for i in dict.fromkeys(wanted.tolist())]
    painted = sorted((p for p in planes if p.any()), key=np.count_nonzero, reverse=True)
    return painted[:most] or planes[:1]
