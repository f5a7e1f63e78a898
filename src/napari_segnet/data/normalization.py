"""Intensities: from any range to about -1 .. 1, by robust percentiles a channel."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_segnet.config import Frozen
from napari_segnet.errors import DataError

_SAMPLES = 200_000
_CLIP = 3.0
_CLIP_SCORES = 5.0
"""Standard deviations beyond which z-scores are clipped: a metal clip must not outshine everything."""
_BLACK = 0.25
"""Share of zeros from which on they are taken for the air around a body, as nnU-Net does with images that cropping
makes so much smaller."""
_ALIKE = 0.35
"""Ranges that differ by less than this share are taken for those of one camera at one setting."""


Limits = tuple[NDArray[np.float32], NDArray[np.float32]]
"""What becomes -1 and 1 in each channel."""

WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-1350.0, 150.0),
    "abdomen": (-150.0, 250.0),
    "soft-tissue": (-125.0, 225.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
}
"""Usual windows of computed tomography, from - to, Hounsfield units.

Widths and levels are 1500 and -600, 400 and 50, 350 and 50, 1800 and 400, 80 and 40, as in Radiopaedia, "Windowing
(CT)", https://radiopaedia.org/articles/windowing-ct, where soft tissue is the mediastinum's.
"""


class Normalization(Frozen):
    """How intensities are scaled; stored in the model.

    ``"dataset"`` uses the limits of the training images (`low`, `high`, one a channel) for every image;
    ``"image"`` finds the limits anew in each image, from the same percentiles; ``"zscore"`` takes its mean minus and
    plus a standard deviation for them. Between the limits values become -1 .. 1; what lies far outside is clipped at
    `clip`.
    """

    mode: Literal["dataset", "image", "zscore", "none"] = "dataset"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    percentiles: tuple[float, float] = Field((0.5, 99.5))
    clip: float = Field(_CLIP, gt=0, le=1e6, description="Largest absolute value after scaling.")

    def limits(self, image: Any) -> Limits:
        """Return the limits that `image` is to be scaled by.

        Parameters
        ----------
        image : array-like (C, [Z], Y, X)
            The *whole* image: a tile must get the limits of its image, not its own.

        Returns
        -------
        low, high : (C,) float32
        """
        channels = image.shape[0]
        if self.mode == "dataset":
            return np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        if self.mode == "none":
            return np.full(channels, -1, np.float32), np.full(channels, 1, np.float32)
        if self.mode == "zscore":
            return _around(*mean_and_deviation(image))
        return image_limits(image, self.percentiles)


def sparsely(shape: tuple[int, ...], most: float) -> tuple[slice, ...]:
    """Return slices of an image (C, ...) that take every n-th pixel along each axis, about `most` a channel."""
    spatial = shape[1:]
    step = max(1, int((math.prod(spatial) / most) ** (1 / len(spatial))))
    return (slice(None), *(slice(None, None, step) for _ in spatial))


def image_limits(image: Any, percentiles: tuple[float, float] = (0.5, 99.5)) -> Limits:
    """Return robust limits of each channel of an image, from at most about 200,000 pixels of it.

    Parameters
    ----------
    image : array-like (C, [Z], Y, X)
        Any dtype, lazy or not; NaN and infinite values are left out.
    percentiles : (float, float)
        Percentiles of the lower and upper limit.

    Returns
    -------
    low, high : (C,) float32
        `high` is larger than `low`, also in a constant image (then a constant becomes zero).
    """
    sample = np.asarray(image[sparsely(image.shape, _SAMPLES)], np.float64).reshape(image.shape[0], -1)
    low, high = np.zeros(len(sample)), np.ones(len(sample))
    for c, values in enumerate(sample):
        finite = values[np.isfinite(values)]
        if finite.size == 0:
            continue
        low[c], high[c] = np.percentile(finite, percentiles)
        if high[c] <= low[c]:
            # More than 99 % of the pixels are the same: the rare others make the range.
            low[c], high[c] = finite.min(), finite.max()
        if high[c] <= low[c]:
            # Wide enough to survive float32, also for large values.
            room = max(1.0, 1e-3 * abs(low[c]))
            low[c], high[c] = low[c] - room, low[c] + room
    return low.astype(np.float32), high.astype(np.float32)


def mean_and_deviation(image: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel of an image, from at most about 200,000 pixels of it.

    Where more than a quarter of the pixels are exactly zero, they are the air around a body, and left out.

    Parameters
    ----------
    image : array-like (C, [Z], Y, X)
        Any dtype, lazy or not; NaN and infinite values are left out.

    Returns
    -------
    mean, deviation : (C,) float64
        The deviation is above 0, also in a constant image.
    """
    sample = np.asarray(image[sparsely(image.shape, _SAMPLES)], np.float64).reshape(image.shape[0], -1)
    mean, deviation = np.zeros(len(sample)), np.ones(len(sample))
    for c, values in enumerate(sample):
        finite = values[np.isfinite(values)]
        body = finite[finite != 0]
        if 0 < len(body) < (1 - _BLACK) * len(finite):
            finite = body
        if finite.size:
            mean[c], deviation[c] = finite.mean(), finite.std()
    # Wide enough to survive float32, also for large values.
    return mean, np.where(deviation > 1e-6 * np.abs(mean), deviation, np.maximum(1.0, 1e-3 * np.abs(mean)))


def _around(middle: NDArray[np.float64], reach: NDArray[np.float64]) -> Limits:
    return (middle - reach).astype(np.float32), (middle + reach).astype(np.float32)


def scale(
    block: NDArray[Any], low: NDArray[np.float32], high: NDArray[np.float32], clip: float = _CLIP
) -> NDArray[np.float32]:
    """Scale a block of an image by limits from `Normalization.limits`.

    Parameters
    ----------
    block : (C, ...) array
        Any dtype; NaN becomes the lower limit, infinite values are clipped.
    low, high : (C,) float32
    clip : float
        Largest absolute value of the result: `Normalization.clip`.

    Returns
    -------
    (C, ...) float32
    """
    shape = (-1,) + (1,) * (block.ndim - 1)
    centre, half = (high + low) / 2, np.maximum((high - low) / 2, np.finfo(np.float32).tiny)
    scaled = block.astype(np.float32)
    scaled -= centre.reshape(shape)
    scaled /= half.reshape(shape)
    if block.dtype.kind == "f":
        np.nan_to_num(scaled, copy=False, nan=-1.0, posinf=clip, neginf=-clip)
    return np.clip(scaled, -clip, clip, out=scaled)


def fit(
    images: Iterable[Any],
    mode: Literal["auto", "dataset", "image", "zscore", "zscore-dataset", "none"] = "auto",
    window: tuple[float, float] | str | None = None,
) -> Normalization:
    """Choose the normalization of a set of training images.

    With ``"auto"``, images whose intensity ranges differ much (other exposures, other scanners) are normalized
    one by one, alike images by common limits. Colour photographs (three channels of 8 bits) always share limits:
    stretching each channel of each image by itself would change the colours, which say what is what.

    Parameters
    ----------
    images : iterable of array-like (C, [Z], Y, X)
        Looked at one by one; at least one.
    mode : {"auto", "dataset", "image", "zscore", "zscore-dataset", "none"}
        ``"zscore"``: each image by its own mean and standard deviation, as is usual for magnetic resonance;
        ``"zscore-dataset"``: all by those of the training images, each of which counts the same.
    window : (float, float) or str, optional
        Limits for all channels, or a name in `WINDOWS`; what lies outside becomes -1 or 1. Then `mode` is not asked.

    Returns
    -------
    Normalization

    Raises
    ------
    DataError
        If the images have hardly a value in the window.
    """
    limits, moments, colour = [], [], True
    for image in images:
        limits.append(image_limits(image))
        moments.append(mean_and_deviation(image) if mode == "zscore-dataset" else ())
        colour = colour and image.shape[0] == 3 and np.dtype(image.dtype) == np.uint8
    lows, highs = np.array([low for low, _ in limits]), np.array([high for _, high in limits])
    if window is not None:
        return _of_window(window, lows, highs)
    if mode == "zscore":
        return Normalization(mode=mode, clip=_CLIP_SCORES)
    if mode == "zscore-dataset":
        means, deviations = (np.array(part) for part in zip(*moments, strict=True))
        deviation = np.sqrt((deviations**2).mean(axis=0) + means.var(axis=0))
        low, high = means.mean(axis=0) - deviation, means.mean(axis=0) + deviation
        return Normalization(low=tuple(low.tolist()), high=tuple(high.tolist()), clip=_CLIP_SCORES)
    if mode == "auto":
        mode = "dataset" if colour or _drift(lows, highs) <= _ALIKE else "image"
    return Normalization(
        mode=mode,
        low=tuple(float(v) for v in np.median(lows, axis=0)),
        high=tuple(float(v) for v in np.median(highs, axis=0)),
    )


def _of_window(
    window: tuple[float, float] | str, lows: NDArray[np.float32], highs: NDArray[np.float32]
) -> Normalization:
    low, high = WINDOWS[window] if isinstance(window, str) else window
    if highs.max() <= low or lows.min() >= high:
        raise DataError(
            f"The window from {low:g} to {high:g} shows nothing: values go from {lows.min():g} to {highs.max():g}.",
            "Those with a name are for computed tomography in Hounsfield units; give others as data.window=[from, to].",
        )
    channels = lows.shape[1]
    return Normalization(low=(low,) * channels, high=(high,) * channels, clip=1.0)


def _drift(lows: NDArray[np.float32], highs: NDArray[np.float32]) -> float:
    """Return how much limits (images, C) differ between images, as a share of the typical range."""
    spans, centres = highs - lows, (highs + lows) / 2
    typical = np.maximum(np.median(spans, axis=0), 1e-12)
    return float((np.maximum(spans.std(axis=0), centres.std(axis=0)) / typical).max())
