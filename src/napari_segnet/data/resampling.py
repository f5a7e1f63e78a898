"""Images of different pixel sizes brought to one, and answers brought back.

A network knows sizes in pixels only: a nucleus that is 20 pixels wide in training is not known when it is 60 pixels
wide. As nnU-Net does (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z), images are resampled to the
median pixel size or to one that is asked for. It takes splines of third order for images, and the nearest plane along
a coarse axis; here images are linear, which doesn't ring at edges.

Grids cover the same ground: borders of the image lie on borders of the resampled one, whatever the pixel sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from napari_segnet.data.pairs import TrainingPair
from napari_segnet.errors import DataError

_MOST = 2 * 10**8
"""Values that an image may have before and after resampling: it is done in memory."""
_METERS = {
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 2.54e-2,
    "meter": 1.0,
}
_SAME = 0.01
"""Relative difference of pixel sizes below which nothing is resampled: less than the error of most microscopes."""


def size_along(
    size: Sequence[float] | None, ndim: int, units: str | None = None, wanted_units: str | None = None
) -> tuple[float, ...] | None:
    """Return a pixel size along the last `ndim` axes in other units; None where it isn't known.

    Units that one of the two doesn't name are taken to be the same.
    """
    if size is None or len(size) < ndim or min(size[-ndim:]) <= 0:
        return None
    factor = 1.0
    if units in _METERS and wanted_units in _METERS:
        factor = _METERS[units] / _METERS[wanted_units]
    return tuple(float(length) * factor for length in size[-ndim:])


def resampled_shape(shape: Sequence[int], size: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """Return the shape that an image gets by another pixel size: the same where they hardly differ.

    Parameters
    ----------
    shape : sequence of int
        [Z], Y, X, pixels.
    size, wanted : sequence of float
        Size of its pixels, and of those it is to have, in the same units.
    """
    return tuple(
        length if abs(own / other - 1) < _SAME else max(1, round(length * own / other))
        for length, own, other in zip(shape, size, wanted, strict=True)
    )


def fits(channels: int, shape: Sequence[int]) -> bool:
    """Say whether an image, [Z], Y, X pixels, is small enough to be resampled in memory."""
    return channels * math.prod(shape) <= _MOST


def check_fits(name: str, channels: int, *shapes: Sequence[int]) -> None:
    """Raise `DataError` if an image is too large to be resampled in memory."""
    for shape in shapes:
        if not fits(channels, shape):
            raise DataError(
                f"{name} is {' x '.join(map(str, shape))} pixels, too many to be resampled to another size.",
                "Resample it in a program for large images, cut parts out of it, or train with data.zoom=1 and without "
                "data.pixel_size.",
            )


def resample_linear(image: Any, shape: Sequence[int]) -> NDArray[Any]:
    """Resample an image linearly; where it gets smaller, it is blurred first, so that nothing is aliased.

    Parameters
    ----------
    image : array-like (C, [Z], Y, X)
    shape : sequence of int
        Wanted length of [Z], Y, X.

    Returns
    -------
    (C, *shape) array
        Of the dtype of the image; of bool, float32.
    """
    given = np.asarray(image)
    if given.shape[1:] == tuple(shape):
        return given
    dtype = np.dtype(np.float32) if given.dtype.kind == "b" else given.dtype
    made = np.empty((len(given), *shape), dtype)
    for channel, values in enumerate(given):
        moved = resize(
            values.astype(np.float32), tuple(shape), order=1, mode="reflect", anti_aliasing=True, preserve_range=True
        )
        made[channel] = moved if dtype.kind == "f" else np.round(moved)
    return made


def resample_nearest(labels: Any, shape: Sequence[int]) -> NDArray[Any]:
    """Resample labels ([Z], Y, X) to another shape: each pixel gets the value of the pixel that its middle lies in."""
    found = np.asarray(labels)
    for axis, (length, wanted) in enumerate(zip(found.shape, shape, strict=True)):
        if length != wanted:
            found = found.take(((np.arange(wanted) + 0.5) * length / wanted).astype(np.int64), axis=axis)
    return found


@dataclass(frozen=True)
class ResampledPair(TrainingPair):
    """A training pair whose image and labels are resampled when they are read, to the shape `size` ([Z], Y, X)."""

    size: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """[Depth,] height and width, pixels."""
        return self.size

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        """Size of a pixel along [Z], Y, X after resampling."""
        own = super().pixel_size
        if own is None:
            return None
        steps = [n * old / new for n, old, new in zip(own[-len(self.size) :], super().shape, self.size, strict=True)]
        return (*own[: -len(steps)], *steps)

    def image(self) -> NDArray[Any]:
        """Return the image (C, [Z], Y, X)."""
        return resample_linear(super().image(), self.size)

    def labels(self) -> NDArray[np.integer[Any]]:
        """Return the labels ([Z], Y, X)."""
        return resample_nearest(super().labels(), self.size)


def at_one_size(
    pairs: Sequence[TrainingPair], wanted: float | Sequence[float] | str | None, units: str | None = None
) -> tuple[list[TrainingPair], tuple[float, ...] | None, str]:
    """Bring training pairs to one pixel size.

    Parameters
    ----------
    pairs : sequence of TrainingPair
    wanted : float, sequence of float, "median" or None
        Size of a pixel, along all axes, or along [Z], Y, X; the median of the images; or nothing changes.
    units : str, optional
        Of `wanted`; default: those of the first image that has some.

    Returns
    -------
    pairs : list of TrainingPair
        Those whose pixel size isn't known stay as they are.
    pixel_size : tuple of float or None
        Along [Z], Y, X.
    words : str
        What was done.

    Raises
    ------
    DataError
        If no image says how large its pixels are, one is too large, or the size is given along other axes.
    """
    if wanted is None:
        return list(pairs), None, ""
    ndim = len(pairs[0].shape)
    units = units or units_of(pairs)
    own = [size_along(p.opened.record.pixel_size, ndim, p.opened.record.units, units) for p in pairs]
    known = [size for size in own if size is not None]
    if not known:
        raise DataError(
            "None of the images says how large its pixels are, so they can't be resampled to one size.",
            "Leave data.pixel_size out, or save them in a format that holds it: TIFF, OME-Zarr, NIfTI.",
        )
    if isinstance(wanted, str):
        target = tuple(float(length) for length in np.median(known, axis=0))
    elif isinstance(wanted, Sequence) and len(wanted) != ndim:
        axes = "Z, Y and X" if ndim == 3 else "Y and X"
        raise DataError(
            f"data.pixel_size = {list(wanted)} has {len(wanted)} lengths, but is needed along {axes}.",
            "Give one number, or one an axis.",
        )
    else:
        target = tuple(float(n) for n in (wanted if isinstance(wanted, Sequence) else [wanted] * ndim))
    moved = [_moved(pair, size, target) for pair, size in zip(pairs, own, strict=True)]
    changed = sum(isinstance(pair, ResampledPair) for pair in moved)
    said = f"{' x '.join(f'{length:.4g}' for length in target)} {units or 'units'}"
    unknown = len(pairs) - len(known)
    missing = f", {unknown} without a known pixel size are taken as they are" if unknown else ""
    return moved, target, f"{said}: {changed} of {len(pairs)} images are resampled{missing}."


def zoomed_shape(shape: Sequence[int], zoom: float) -> tuple[int, ...]:
    """Return the shape that an image ([Z], Y, X) is seen at, at least one pixel along each axis."""
    return tuple(max(1, round(length * zoom)) for length in shape)


def at_zoom(pairs: Sequence[TrainingPair], zoom: float) -> list[TrainingPair]:
    """Show training pairs larger or smaller; raises `DataError` if one is too large for it.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        Not resampled yet.
    zoom : float
        0.5: half as many pixels along each axis.
    """
    return [_resized(pair, zoomed_shape(pair.shape, zoom)) for pair in pairs]


def units_of(pairs: Sequence[TrainingPair]) -> str | None:
    """Return the units of pixel sizes: those of the first image that says some."""
    return next((pair.opened.record.units for pair in pairs if pair.opened.record.units), None)


def _moved(pair: TrainingPair, size: tuple[float, ...] | None, target: tuple[float, ...]) -> TrainingPair:
    if size is None:
        return pair
    return _resized(pair, resampled_shape(pair.shape, size, target))


def _resized(pair: TrainingPair, shape: tuple[int, ...]) -> TrainingPair:
    if shape == pair.shape:
        return pair
    check_fits(pair.name, pair.channels, pair.shape, shape)
    return ResampledPair(pair.opened, pair.item, shape)
