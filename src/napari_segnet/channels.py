"""Several images as the channels of one: each marker in a file or layer of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet.axes import ArrayLike, ImageStack, times
from napari_segnet.errors import DataError


def join_channels(name: str, stacks: Sequence[ImageStack]) -> ImageStack:
    """Return the channels of several images, in their order, as those of one.

    Parameters
    ----------
    name : str
        How the user calls the image.
    stacks : sequence of ImageStack
        Of one size; each may have channels of its own.

    Raises
    ------
    DataError
        If their sizes differ.
    """
    if len(stacks) == 1:
        return stacks[0]
    shapes = {(*stack.leading, *stack.item_shape) for stack in stacks}
    if len(shapes) > 1:
        sizes = ", ".join(times(shape) for shape in sorted(shapes))
        raise DataError(f"The channels of {name} have different sizes: {sizes}.", "Choose images of one size.")
    return _JoinedStack(stacks)


class _JoinedStack(ImageStack):
    def __init__(self, stacks: Sequence[ImageStack]) -> None:
        first = stacks[0]
        self._stacks = tuple(stacks)
        self.axes, self.shape = first.axes, first.shape
        self.spatial, self.leading_axes = first.spatial, first.leading_axes
        self.leading, self.item_shape = first.leading, first.item_shape
        self.channels = sum(stack.channels for stack in stacks)
        self.dtype = np.result_type(*(stack.dtype for stack in stacks))

    def __getitem__(self, i: int) -> Any:
        return JoinedPlane([stack[i] for stack in self._stacks])


class JoinedPlane:
    """Planes (C, Y, X), or volumes, of one size, one after another along C; read only where it is sliced.

    A key is an int or a slice for each axis, from C on; there is no Ellipsis.
    """

    def __init__(self, planes: Sequence[ArrayLike]) -> None:
        self._planes = planes
        self.shape: tuple[int, ...] = (sum(plane.shape[0] for plane in planes), *planes[0].shape[1:])
        self.ndim = len(self.shape)
        self.dtype: np.dtype[Any] = np.result_type(*(plane.dtype for plane in planes))
        self.size = math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        channels, *rest = key if isinstance(key, tuple) else (key,)
        window = (slice(None), *rest)
        joined = np.concatenate([np.asarray(plane[window]) for plane in self._planes]).astype(self.dtype, copy=False)
        part: NDArray[Any] = joined[channels]
        return part

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)
