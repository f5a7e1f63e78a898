"""Label arrays: from whatever a program wrote to whole numbers from 0 on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import DataError

_LARGEST = 2**32 - 1


def smallest_unsigned(largest: int) -> np.dtype[Any]:
    """Return the smallest unsigned integer type that can hold `largest`."""
    return np.min_scalar_type(max(0, int(largest)))


def as_labels(array: ArrayLike, name: str = "The labels") -> ArrayLike:
    """Return labels as unsigned integers; what is unsigned already stays as it is, lazy or not.

    Parameters
    ----------
    array : array-like
        Unsigned or signed integers, bool, or floats that are whole numbers.
    name : str
        What to call the labels in an error.

    Returns
    -------
    array-like
        False and True become 0 and 1.

    Raises
    ------
    DataError
        If there are negative numbers, fractions, NaN, or no numbers at all.
    """
    dtype = np.dtype(array.dtype)
    if dtype.kind == "u" and dtype.isnative:
        return array
    values = np.asarray(array)
    if dtype.kind == "b":
        return values.astype(np.uint8)
    if dtype.kind not in "uif":
        raise DataError(f"{name}: values of type {dtype} are no labels.", "Save them as whole numbers.")
    if values.size == 0:
        return values.astype(np.uint8)
    return _whole_numbers(values, name)


def _whole_numbers(values: NDArray[Any], name: str) -> NDArray[Any]:
    if values.dtype.kind == "f":
        odd = ~np.isfinite(values) | (values != np.floor(values))
        if odd.any():
            found = values[odd].flat[0]
            raise DataError(
                f"{name} can't be used as labels: {np.count_nonzero(odd)} values are no whole "
                f"numbers, such as {found:.4g}.",
                "Labels are numbers of classes or objects. Probabilities have to be thresholded first.",
            )
    lowest, highest = values.min(), values.max()
    if lowest < 0:
        raise DataError(
            f"{name} can't be used as labels: the lowest value is {lowest:g}.",
            "Labels start at 0: replace the negative numbers.",
        )
    if highest > _LARGEST:
        raise DataError(f"{name} can't be used as labels: the largest value is {highest:g}.", "Renumber them.")
    return values.astype(smallest_unsigned(int(highest)))


def one_channel(array: ArrayLike, axis: int, name: str) -> NDArray[Any]:
    """Return the one channel of labels whose channels are all the same.

    Raises
    ------
    DataError
        If they differ: then colours, not numbers, stand for the classes.
    """
    channels = np.moveaxis(np.asarray(array), axis, 0)
    if not all(np.array_equal(channels[0], other) for other in channels[1:]):
        colours = len(np.unique(channels.reshape(len(channels), -1)[:, :1_000_000], axis=1).T)
        raise DataError(
            f"{name} is a colour image ({len(channels)} channels, {colours} colours), not labels.",
            "Make labels of its colours: napari-segnet import-annotations.",
        )
    joined: NDArray[Any] = np.ascontiguousarray(channels[0])
    return joined


def check_lossless(values: NDArray[Any], name: str) -> None:
    """Raise `DataError` if a JPEG's labels were changed by its compression."""
    found = len(np.unique(values))
    if found > 2:
        raise DataError(
            f"{name} is a JPEG with {found} different values: its compression has changed the labels.",
            "Save labels as PNG or TIFF, or mend them: napari-segnet import-annotations.",
        )
