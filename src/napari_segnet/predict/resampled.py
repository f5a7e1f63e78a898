"""Prediction at the pixel size, or the zoom, that a model knows, brought back to the pixels of the image."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from napari_segnet.data.resampling import (
    check_fits,
    resample_linear,
    resample_nearest,
    resampled_shape,
    size_along,
    zoomed_shape,
)
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.wanted import Wanted


def pixel_size_of(predictor: Predictor, size: Sequence[float] | None, units: str | None) -> tuple[float, ...] | None:
    """Return the pixel size of an image along [Z], Y, X, in the units of the model; None where it isn't known.

    Parameters
    ----------
    predictor : Predictor
        The `pixel_size` of its configuration counts more than what the file says.
    size : sequence of float, optional
        What the file says, in `units`.
    units : str, optional
    """
    info, asked = predictor.info, predictor.config.pixel_size
    ndim = len(info.axes)
    if asked is None:
        return size_along(size, ndim, units, info.units)
    return size_along((asked,) * ndim if isinstance(asked, int | float) else asked, ndim)


def words_of(info: ModelInfo) -> str:
    """Return the pixel size that a model knows, such as ``0.5 x 0.5 micrometer``."""
    size = " x ".join(f"{length:.4g}" for length in info.pixel_size or ())
    return f"{size} {info.units}" if info.units else size


def shape_for(info: ModelInfo, shape: Sequence[int], size: Sequence[float] | None) -> tuple[int, ...] | None:
    """Return the shape that an image ([Z], Y, X) is to be predicted at; None: as it is.

    Parameters
    ----------
    info : ModelInfo
    shape : sequence of int
    size : sequence of float, optional
        Its pixel size along the same axes, in the units of the model.
    """
    if info.zoom != 1:
        wanted = zoomed_shape(shape, info.zoom)
    elif info.resampled and info.pixel_size is not None and size is not None:
        wanted = resampled_shape(shape, size, info.pixel_size[-len(shape) :])
    else:
        return None
    return None if wanted == tuple(shape) else wanted


def iterate_at(predictor: Predictor, image: Any, wanted: Wanted, shape: Sequence[int]) -> Generator[tuple[int, int]]:
    """Predict an image at another shape, as `Predictor.iterate` does.

    Labels are brought back by the nearest pixel, everything else linearly. It is done in memory.

    Parameters
    ----------
    predictor : Predictor
    image : array-like (C, [Z], Y, X)
    wanted : Wanted
        Arrays for the image's own pixels.
    shape : sequence of int
        [Z], Y, X at which the network sees it.

    Raises
    ------
    DataError
        If it is too large.
    """
    own = tuple(int(length) for length in image.shape[1:])
    check_fits("The image", image.shape[0], own, shape)
    outputs = {name: _empty(name, predictor, shape) for name in wanted.arrays()}
    yield from predictor.iterate(resample_linear(image, shape), Wanted(**outputs))
    everything = tuple(slice(0, length) for length in own)
    for name, array in wanted.arrays().items():
        if name == "labels":
            array[everything] = resample_nearest(outputs[name], own)
        elif name == "probabilities":
            for start in range(len(outputs[name])):
                part = slice(start, start + 1)
                array[(part, *everything)] = resample_linear(outputs[name][part], own)
        else:
            array[everything] = resample_linear(outputs[name][np.newaxis], own)[0]


def _empty(name: str, predictor: Predictor, shape: Sequence[int]) -> Any:
    if name == "labels":
        return np.empty(tuple(shape), predictor.label_dtype)
    classes = (len(predictor.classes),) if name == "probabilities" else ()
    return np.empty((*classes, *shape), np.float32)
