"""The methods of `napari_segnet.measure.pre_annotation`: channels (C, [Z], Y, X) from 0 to 1 -> labels ([Z], Y, X)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.errors import DataError
from napari_segnet.measure.meaning import Labels
from napari_segnet.measure.pre_annotation import (
    CannyOptions,
    LocalOptions,
    MethodOptions,
    OtsuOptions,
    PieceOptions,
    Scene,
    WalkerOptions,
    WatershedOptions,
)

Channels = NDArray[np.float32]
# Steps of brightness that Otsu's threshold is looked for among.
_BINS = 1024


def otsu(channels: Channels, scene: Scene, options: OtsuOptions) -> Labels:
    """Return classes by brightness: thresholds between which the classes differ most from each other."""
    from skimage.filters import threshold_multiotsu, threshold_otsu

    grey = _smoothed(channels[0], scene, options)
    if options.objects == "dark":
        grey = 1 - grey
    try:
        thresholds = (
            [threshold_otsu(grey, _BINS)] if options.classes == 2 else threshold_multiotsu(grey, options.classes)
        )
    except ValueError as error:
        raise DataError(
            f"The image has too few different values for {options.classes} classes.", "Ask for fewer."
        ) from error
    # A pixel on a threshold belongs to the darker class.
    labels = np.digitize(grey, np.asarray(thresholds), right=True)
    return _cleaned(labels, options)


def local_threshold(channels: Channels, scene: Scene, options: LocalOptions) -> Labels:
    """Return 1 where a pixel is brighter (or darker) than its surroundings."""
    from skimage.filters import threshold_local, threshold_sauvola

    grey = _smoothed(channels[0], scene, options)
    if options.objects == "dark":
        grey = 1 - grey
    # Windows have a middle.
    window = tuple(2 * round((options.window / size - 1) / 2) + 1 for size in scene.spacing)
    window = tuple(max(3, side) for side in window)
    if options.statistic == "sauvola":
        # It was made for dark writing on light paper; 0.5 is the largest deviation there can be from 0 to 1.
        found = 1 - grey < threshold_sauvola(1 - grey, window, k=options.k, r=0.5)
    else:
        found = grey > threshold_local(grey, window, method=options.statistic, offset=-options.offset)
    return _cleaned(found.astype(np.uint8), options)


def canny(channels: Channels, _scene: Scene, options: CannyOptions) -> Labels:
    """Return edges, or what they enclose, as 1."""
    from skimage.feature import canny as find_edges
    from skimage.morphology import disk

    grey = channels[0]
    low, high = min(options.low, options.high), max(options.low, options.high)
    edges = find_edges(grey, options.smooth, low, high, use_quantiles=True, mode="nearest")
    if options.close:
        # Room around, or edges at the border would be eaten.
        wide = np.pad(edges, options.close)
        closed = ndimage.binary_closing(wide, disk(options.close))
        edges = closed[(slice(options.close, -options.close),) * 2]
    if options.result == "edges":
        return _cleaned(edges.astype(np.uint8), options)
    filled = ndimage.binary_fill_holes(edges)
    # Edges that enclose nothing are lines: away with them.
    filled = ndimage.binary_opening(filled, disk(options.close + 1))
    return _cleaned(filled.astype(np.uint8), options)


def watershed(channels: Channels, scene: Scene, options: WatershedOptions) -> Labels:
    """Return numbered objects, parted where they are narrow; or strokes, spread up to the edges between them."""
    from skimage.filters import threshold_otsu
    from skimage.segmentation import watershed as flood

    grey = _smoothed(channels[0], scene, options)
    if scene.strokes is not None:
        edges = ndimage.gaussian_gradient_magnitude(channels[0], _sigmas(max(options.smooth, 0.5), scene))
        spread: Labels = flood(edges, scene.strokes.astype(np.int32))
        return spread
    if options.objects == "dark":
        grey = 1 - grey
    mask = _cleaned((grey > threshold_otsu(grey, _BINS)).astype(np.uint8), options) > 0
    distance = ndimage.distance_transform_edt(mask, sampling=scene.spacing)
    # Without it plateaus and dents of a pixel would be middles.
    distance = ndimage.gaussian_filter(distance, _sigmas(1.0, scene))
    size = [2 * max(1, round(options.apart / side)) + 1 for side in scene.spacing]
    middles = (ndimage.maximum_filter(distance, size) == distance) & mask
    seeds, _ = ndimage.label(middles, np.ones((3,) * mask.ndim))
    objects: Labels = flood(-distance, seeds, mask=mask)
    return objects


def random_walker(channels: Channels, scene: Scene, options: WalkerOptions) -> Labels:
    """Return for each pixel the stroke that a random walker from there most likely meets first."""
    from skimage.measure import block_reduce
    from skimage.segmentation import random_walker as walk
    from skimage.transform import downscale_local_mean

    assert scene.strokes is not None
    smooth = np.stack([_smoothed(channel, scene, options) for channel in channels])
    values, index = np.unique(scene.strokes, return_inverse=True)
    strokes = np.asarray(index.reshape(scene.strokes.shape) + int(values[0] != 0), np.int32)
    names = values if values[0] == 0 else np.concatenate([[0], values])
    if (strokes > 0).all():
        return scene.strokes
    step = int(np.ceil((strokes.size / options.most_pixels) ** (1 / strokes.ndim)))
    small = smooth if step == 1 else downscale_local_mean(smooth, (1, *(step,) * strokes.ndim))
    seeds = strokes if step == 1 else block_reduce(strokes, step, np.max)
    found = walk(
        np.moveaxis(small, 0, -1),
        seeds,
        beta=options.beta,
        mode="cg_j",
        # Only which is largest matters: small excesses over 1 are no reason to warn.
        tol=1e-4,
        prob_tol=1.0,
        spacing=scene.spacing,
        channel_axis=-1,
    )
    if step > 1:
        for axis in range(strokes.ndim):
            found = np.repeat(found, step, axis)
        found = found[tuple(slice(n) for n in strokes.shape)]
    found = np.where(strokes > 0, strokes, found)
    # What is cut off from all strokes is -1.
    labels: Labels = names[np.maximum(found, 0)]
    return labels


def _sigmas(sigma: float, scene: Scene) -> list[float]:
    return [sigma / side for side in scene.spacing]


def _smoothed(grey: Channels, scene: Scene, options: MethodOptions) -> Channels:
    if options.smooth == 0:
        return grey
    smooth: Channels = ndimage.gaussian_filter(grey, _sigmas(options.smooth, scene), mode="nearest")
    return smooth


def _cleaned(labels: NDArray[Any], options: PieceOptions) -> Labels:
    """Leave small pieces out and fill holes, as the options say; class by class."""
    if not (options.minimum_pixels or options.fill_holes):
        return labels
    cleaned = labels.copy()
    for value in _values(labels):
        if options.minimum_pixels:
            pieces, _ = ndimage.label(cleaned == value, np.ones((3,) * labels.ndim))
            small = np.bincount(pieces.ravel()) < options.minimum_pixels
            small[0] = False
            cleaned[small[pieces]] = 0
        if options.fill_holes:
            cleaned[ndimage.binary_fill_holes(cleaned == value) & (cleaned == 0)] = value
    return cleaned


def _values(labels: NDArray[Any]) -> Sequence[int]:
    return [int(value) for value in np.unique(labels) if value]
