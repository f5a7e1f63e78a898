"""The halo that a trained network needs: usually far less than the pixels that it could look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_segnet.axes import per_axis
from napari_segnet.config import PredictConfig
from napari_segnet.devices import Precision
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.reading import read_block
from napari_segnet.predict.tiles import round_up

TOLERANCE = 1e-5
"""Share of pixels that may differ from the whole image's answer."""

MEASURED_SIDE = 768
"""Side of the middle of an image that is looked at, pixels."""
_MOST_IMAGES = 4
_CORE = 128
_FURTHEST = 256


def measure_halo(
    network: nn.Module,
    info: ModelInfo,
    images: Sequence[Any],
    *,
    device: torch.device | None = None,
    precision: Precision = "auto",
) -> int | tuple[int, ...]:
    """Return the smallest halo with which tiles answer as the whole image does.

    At most 1 pixel in 100,000 may get another label. Windows of the images are predicted and compared with the
    whole: how often labels differ at each distance from a window's edge tells what any halo would cost. The
    smallest that seems enough is then tried on tiles of 128 pixels, which have eight times as many seams as
    the tiles of 1024 that images are predicted with, and enlarged until it is enough.

    For volumes it is not measured: a quarter of the patch that the network was trained on, at most its receptive
    field. That is the least context that overlapping patches by half gives (nnU-Net's policy, Isensee et al. 2021,
    https://doi.org/10.1038/s41592-020-01008-z).

    Parameters
    ----------
    network : torch.nn.Module
    info : ModelInfo
        Its `halo` is not looked at; its `receptive_field` is the most that is needed.
    images : sequence of array-like (C, Y, X)
        Images that the network wasn't trained on, if there are any; the middle 768 x 768 pixels of up to four
        of them are used.
    device : torch.device, optional
        Default: CPU or GPU, as ``"auto"`` chooses.
    precision : {"auto", "float32", "bfloat16"}
        The one that will be predicted in.

    Returns
    -------
    int, or tuple of int for volumes
        Pixels, a multiple of the stride. Where the images are too small to have seams: the receptive field, or
        256 where that is larger.
    """
    if info.axes == "ZYX":
        return _quarter_of_a_patch(info)
    stride, *_ = info.strides
    most = _FURTHEST // stride * stride
    if info.receptive_field is not None:
        most = min(most, *per_axis(info.receptive_field, 2))
    crops = [_Crop(image, info) for image in _spread(images)]
    large = [crop for crop in crops if max(crop.shape) >= _CORE + stride]
    if not large:
        return most

    def predictor(tile: int, halo: int) -> Predictor:
        return Predictor(network, info, PredictConfig(tile=tile, halo=halo, precision=precision), device)

    whole = [crop.predict(predictor(MEASURED_SIDE + stride, 0)) for crop in large]
    differing, seen = _differences_by_distance(predictor, large, whole, most)
    halo = _smallest(differing, seen, most, stride)
    while halo < most and _share_differing(predictor(_CORE, halo), large, whole) > TOLERANCE:
        halo += stride
    return min(halo, most)


def _quarter_of_a_patch(info: ModelInfo) -> tuple[int, ...]:
    patch = per_axis(info.patch_size, 3)
    reach = patch if info.receptive_field is None else per_axis(info.receptive_field, 3)
    return tuple(
        min(round_up(side // 4, stride), round_up(far, stride))
        for side, far, stride in zip(patch, reach, info.strides, strict=True)
    )


class _Crop:
    """The middle of an image, with the limits of the whole."""

    def __init__(self, image: Any, info: ModelInfo) -> None:
        self.limits = info.normalization.limits(image)
        starts = [max(0, (length - MEASURED_SIDE) // 2) for length in image.shape[1:]]
        rows, columns = (
            slice(start, min(length, start + MEASURED_SIDE))
            for start, length in zip(starts, image.shape[1:], strict=True)
        )
        self.pixels = read_block(image, (rows, columns))

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[2]

    def predict(self, predictor: Predictor, window: tuple[slice, slice] | None = None) -> NDArray[Any]:
        pixels = self.pixels if window is None else self.pixels[:, *window]
        labels: NDArray[Any] = np.empty(pixels.shape[1:], predictor.label_dtype)
        predictor.predict_plane(pixels, limits=self.limits, labels_out=labels)
        return labels


def _spread(images: Sequence[Any]) -> list[Any]:
    """Return at most four images, evenly spread over the sequence."""
    chosen = np.linspace(0, len(images) - 1, min(_MOST_IMAGES, len(images))).round().astype(int)
    return [images[n] for n in chosen]


def _differences_by_distance(
    predictor: Any, crops: Sequence[_Crop], whole: Sequence[NDArray[Any]], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count pixels of other labels, and all pixels, by their distance from a window's inner edge."""
    reach = most + _CORE
    differing, seen = np.zeros(reach, np.int64), np.zeros(reach, np.int64)
    one_tile = predictor(MEASURED_SIDE + reach, 0)
    for crop, expected in zip(crops, whole, strict=True):
        for axis, window in _windows(crop.shape, one_tile.info.strides[0]):
            wrong = crop.predict(one_tile, window) != expected[window]
            distance = _distance(window[axis], crop.shape[axis], reach)
            lines = wrong.sum(axis=1 - axis)
            differing += np.bincount(distance, lines, minlength=reach + 1)[:reach].astype(np.int64)
            seen += np.bincount(distance, minlength=reach + 1)[:reach] * wrong.shape[1 - axis]
    return differing, seen


def _windows(shape: tuple[int, int], stride: int) -> list[tuple[int, tuple[slice, slice]]]:
    """Cut an image into two halves, along each axis that is long enough: four windows, one inner edge each."""
    found = []
    for axis, length in enumerate(shape):
        middle = length // 2 // stride * stride
        if middle == 0:
            continue
        for part in (slice(0, middle), slice(middle, length)):
            window = [slice(0, shape[0]), slice(0, shape[1])]
            window[axis] = part
            found.append((axis, (window[0], window[1])))
    return found


def _distance(part: slice, length: int, reach: int) -> NDArray[np.int64]:
    """Return how far each line of a window is from its inner edge, capped at `reach`."""
    lines = np.arange(part.start, part.stop)
    distance = part.stop - 1 - lines if part.stop < length else lines - part.start
    capped: NDArray[np.int64] = np.minimum(distance, reach)
    return capped


def _smallest(differing: NDArray[np.int64], seen: NDArray[np.int64], most: int, stride: int) -> int:
    rate = differing / np.maximum(seen, 1)
    for halo in range(0, most, stride):
        # A core has four sides of its own length: so many of its pixels are one step further from a seam.
        if 4 / _CORE * rate[halo : halo + _CORE // 2].sum() <= TOLERANCE:
            return halo
    return most


def _share_differing(predictor: Predictor, crops: Sequence[_Crop], whole: Sequence[NDArray[Any]]) -> float:
    wrong = sum(int((crop.predict(predictor) != expected).sum()) for crop, expected in zip(crops, whole, strict=True))
    return wrong / sum(expected.size for expected in whole)
