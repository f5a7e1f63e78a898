"""The images that an exported network is tried on: made up, or the middle of one that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.axes import per_axis
from napari_segnet.data.resampling import check_fits, resample_linear, size_along
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.reading import read_block
from napari_segnet.predict.resampled import shape_for
from napari_segnet.predict.stacks import check_channels
from napari_segnet.predict.tiles import round_up

_LEAST = {"YX": 64, "ZYX": 16}
"""Shortest side that an exported network is meant for, pixels."""
_GREY, _SPREAD = 100.0, 40.0
"""Made-up intensities where the model measures those of each image."""


def least_sides(info: ModelInfo) -> tuple[int, ...]:
    """Return the shortest sides of an image, [Z], Y, X pixels: at least two cells of the network's coarsest grid."""
    return tuple(round_up(max(_LEAST[info.axes], 2 * stride), stride) for stride in info.strides)


def sides_with_halo(info: ModelInfo) -> tuple[int, ...]:
    """Return the shortest sides of which something is left when the halo is cut off, [Z], Y, X pixels."""
    halos = per_axis(info.halo, len(info.axes))
    return tuple(
        round_up(max(least, 2 * halo + 1), stride)
        for least, halo, stride in zip(least_sides(info), halos, info.strides, strict=True)
    )


def larger(sides: Sequence[int], info: ModelInfo, *steps: int) -> tuple[int, ...]:
    """Return sides that are so many strides longer; the first step is for the last axis."""
    grown = [*steps, *[0] * len(sides)][: len(sides)][::-1]
    return tuple(side + step * stride for side, step, stride in zip(sides, grown, info.strides, strict=True))


def read_middle(path: Path, info: ModelInfo, sides: Sequence[int]) -> NDArray[np.float32]:
    """Return the middle of an image file, at the pixel size that the model knows.

    Parameters
    ----------
    path : Path
        Its first plane, or its first volume, is taken.
    info : ModelInfo
    sides : sequence of int
        Wanted length of [Z], Y, X; a smaller image is mirrored at its end.

    Returns
    -------
    (C, *sides) float32

    Raises
    ------
    DataError
        If it can't be read, or doesn't fit the model.
    """
    opened = open_image(path)
    stack = opened.stack(info.axes)
    check_channels(str(path), stack, info)
    image, own = stack[0], stack.item_shape
    wanted = shape_for(info, own, size_along(opened.pixel_size, len(info.axes), opened.units, info.units))
    if wanted is not None:
        check_fits(str(path), stack.channels, own, wanted)
        image, own = resample_linear(image, wanted), tuple(wanted)
    starts = [max(0, (length - side) // 2) for length, side in zip(own, sides, strict=True)]
    window = [slice(start, start + side) for start, side in zip(starts, sides, strict=True)]
    middle: NDArray[np.float32] = read_block(image, window).astype(np.float32)
    if not np.isfinite(middle).all():
        raise DataError(f"The middle of {path} holds values that are not finite.", "Name another test_image.")
    return middle


def make_up(info: ModelInfo, sides: Sequence[int]) -> NDArray[np.float32]:
    """Return smooth spots and noise, (C, *sides) float32, about as bright as what the model learned from.

    They are always the same.
    """
    rng = np.random.default_rng(0)
    shape = (info.channels, *sides)
    spots = ndimage.gaussian_filter(rng.normal(size=shape), (0, *(max(1.0, side / 16) for side in sides)), mode="wrap")
    spots = spots / np.maximum(spots.std(), 1e-12) + rng.normal(scale=0.2, size=shape)
    along = (-1,) + (1,) * len(sides)
    way = (info.members or (info,))[0].normalization
    made: NDArray[Any] = _GREY + _SPREAD * spots
    if way.mode in ("dataset", "none"):
        low, high = (limit.reshape(along) for limit in way.limits(spots))
        made = (low + high) / 2 + (high - low) / 4 * spots
    return made.astype(np.float32)


def images_to_try(info: ModelInfo, test: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return images (C, [Z], Y, X) of other sides than the test image's: the shortest, and longer ones.

    Parameters
    ----------
    info : ModelInfo
    test : (C, [Z], Y, X) float32
        It is mirrored at its end where more is needed than there is.
    """
    least = least_sides(info)
    shapes = [least, larger(least, info, 1), larger(least, info, 0, 1)]
    if len(least) == 3:
        shapes.append(larger(least, info, 0, 0, 1))
    return [read_block(test, [slice(0, side) for side in shape]) for shape in shapes]
