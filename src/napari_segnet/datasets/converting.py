"""Pixels of images and labels on their way from one file to another: sizes, colours, types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import LETTERS, ArrayLike, counted, times, view
from napari_segnet.data.normalization import sparsely
from napari_segnet.data.resampling import fits, resample_linear, resample_nearest
from napari_segnet.datasets.geometry import Box
from napari_segnet.datasets.options import PrepareConfig
from napari_segnet.errors import DataError
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.io.labels import one_channel, smallest_unsigned

_LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Of red, green and blue in grey: ITU-R BT.709, as ImageMagick and so imageseg weigh them."""
_MOST_BYTES = 2**33
"""An image that is written in one piece has to fit into memory."""


class Source:
    """An image whose rectangles are read, converted as asked for.

    Parameters
    ----------
    image : ImageFile
    config : PrepareConfig

    Attributes
    ----------
    axes : str
        Of what is read: T, Z, C, Y, X in this order, without C where it becomes grey or has no channels.

    Raises
    ------
    DataError
        If it hasn't the channels that the colours need.
    """

    def __init__(self, image: ImageFile, config: PrepareConfig) -> None:
        self.image, self._config = image, config
        own = "".join(letter for letter in LETTERS if letter in image.axes)
        self._own = own
        self._array: ArrayLike = view(image.array, image.axes, own)
        channels = self._array.shape[own.index("C")] if "C" in own else 1
        if config.colour != "keep" and channels not in (1, 3):
            raise DataError(
                f"{image.path} has {counted(channels, 'channel')}, which can't become {config.colour}.",
                "Images of one or of three channels can: leave --colour out.",
            )
        self.axes = own.replace("C", "") if config.colour == "grey" else own
        if config.colour == "rgb" and "C" not in own:
            self.axes = own.replace("YX", "CYX")
        # Interleaved samples are colours, which one limit for all keeps; channels in planes are markers.
        self.colours = config.colour == "rgb" or (channels == 3 and "C" in self.axes and image.axes.endswith("C"))
        self._scales = config.bits == 8 and np.dtype(image.array.dtype) not in (np.uint8, np.bool_)

    def read(self, box: Box) -> NDArray[Any]:
        """Return a rectangle of all planes, with the axes `axes`."""
        leading = (slice(None),) * (len(self._own) - 2)
        window = (*leading, slice(box.top, box.bottom), slice(box.left, box.right))
        return self._scaled(self._coloured(_plain(np.asarray(self._array[window]))))

    def _coloured(self, pixels: NDArray[Any]) -> NDArray[Any]:
        axis = self._own.index("C") if "C" in self._own else None
        if self._config.colour == "grey" and axis is not None:
            channels = np.moveaxis(pixels, axis, 0)
            if len(channels) == 1:
                return np.asarray(channels[0])
            grey = np.tensordot(np.asarray(_LUMINANCE, np.float32), channels.astype(np.float32), axes=1)
            return _as_type(grey, pixels.dtype)
        if self._config.colour == "rgb" and (axis is None or pixels.shape[axis] == 1):
            place = len(self.axes) - 3
            return np.repeat(np.expand_dims(pixels, place) if axis is None else pixels, 3, axis=place)
        return pixels

    def _scaled(self, pixels: NDArray[Any]) -> NDArray[Any]:
        if not self._scales:
            return pixels
        low, high = (_along(limit, self.axes, pixels.ndim) for limit in self._limits)
        scaled = (np.nan_to_num(pixels.astype(np.float64), nan=float(low.min())) - low) / (high - low)
        return np.round(255 * scaled.clip(0, 1)).astype(np.uint8)

    @cached_property
    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what becomes 0 and 255 in each channel, from a sample of the whole image."""
        shape = self._array.shape
        some = tuple(
            slice(None, None, max(1, n // 16)) if a in "TZ" else slice(None)
            for a, n in zip(self._own, shape, strict=True)
        )
        steps = sparsely((1, *shape[-2:]), 2e5)[1:]
        pixels = self._coloured(_plain(np.asarray(self._array[(*some[:-2], *steps)]))).astype(np.float64)
        axis = self.axes.index("C") if "C" in self.axes else None
        channels = pixels[np.newaxis] if axis is None else np.moveaxis(pixels, axis, 0)
        limits = []
        for channel in channels:
            finite = channel[np.isfinite(channel)]
            limits.append(np.percentile(finite, self._config.percentiles) if finite.size else (0.0, 1.0))
        low, high = np.array(limits, np.float64).T
        if self.colours:
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        return low, np.where(high > low, high, low + 1)


def resized(pixels: NDArray[Any], shape: tuple[int, int], name: str) -> NDArray[Any]:
    """Return planes (..., Y, X) of another size: the mean of what a pixel covers where they get smaller.

    Raises
    ------
    DataError
        If they are too large for it.
    """
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    if not (fits(len(planes), planes.shape[1:]) and fits(len(planes), shape)):
        raise DataError(
            f"{name} is {times(pixels.shape)}, too large to be resized.",
            "Cut parts out of it first: --crop, or --tile.",
        )
    return resample_linear(planes, shape).reshape(*pixels.shape[:-2], *shape)


def resized_labels(labels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return labels (..., Y, X) of another size: each pixel has the value that its middle lies on."""
    return resample_nearest(labels, (*labels.shape[:-2], *shape))


def check_memory(image: ImageFile, shape: Sequence[int]) -> None:
    """Raise `DataError` if what is read at once doesn't fit into memory."""
    size = np.prod([float(n) for n in shape]) * np.dtype(image.array.dtype).itemsize
    if size > _MOST_BYTES:
        raise DataError(f"{image.path} is {times(image.shape)}, too large to be prepared in one piece.", "Give --tile.")


def open_mask(path: Path, image: ImageFile, config: PrepareConfig) -> ImageFile:
    """Open the labels of an image; with a threshold also blurred masks and probabilities.

    Raises
    ------
    DataError
        If they can't be used as labels.
    """
    if config.threshold is None:
        return open_labels(path, image.axes)
    try:
        mask = open_image(path, image.axes.replace("C", ""))
    except DataError:
        mask = open_image(path)
    array: Any = mask.array
    if "C" in mask.axes:
        array = one_channel(array, mask.axes.index("C"), str(path))
    values = np.asarray(array)
    return ImageFile(path, (values >= config.threshold).astype(np.uint8), mask.axes.replace("C", ""))


def relabelled(labels: NDArray[Any], changes: Mapping[int, int]) -> NDArray[Any]:
    """Return labels with some values replaced, all at once; of the smallest unsigned type that holds them."""
    if not changes:
        return labels.astype(smallest_unsigned(int(labels.max(initial=0))), copy=False)
    values, places = np.unique(labels, return_inverse=True)
    new = np.array([changes.get(int(value), int(value)) for value in values], np.int64)
    small = smallest_unsigned(int(new.max(initial=0)))
    return new.astype(small)[places].reshape(labels.shape)


def _plain(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return black and white as 0 and 255, and the other types as files take them."""
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f" and pixels.dtype.itemsize != 4:
        return pixels.astype(np.float32)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _as_type(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    return values.astype(dtype) if dtype.kind == "f" else np.round(values).astype(dtype)


def _along(limit: NDArray[np.float64], axes: str, ndim: int) -> NDArray[np.float64]:
    """Return the limits of channels in a shape that goes with an array of these axes."""
    if "C" not in axes:
        return limit.reshape((1,) * ndim)
    return limit.reshape([-1 if letter == "C" else 1 for letter in axes])
