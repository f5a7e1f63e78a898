"""What a package of bioimage.io does to images before its network, and to answers after it, as a list of steps.

Two formats say it in other words (0.4 and 0.5); here it is said once. What looks at a whole image, a range of
percentiles or a mean and a deviation, becomes a `Normalization`, so that each tile gets the limits of its image.
Everything else looks at single pixels, and is done behind it, tile by tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_segnet.data.normalization import Limits, Normalization, sparsely
from napari_segnet.errors import ModelFileError

_SAMPLES = 200_000
_WIDEST = 1e6
"""Values beyond which scaled intensities are cut off, the most that a normalization can say: practically never."""
_NARROW = 1e-6
"""Least spread of an image, of its mean: below it nothing is left in float32."""


@dataclass(frozen=True)
class Affine:
    """x * gain + offset; one number of each, or one a channel."""

    gain: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True)
class Clip:
    """Cut off what lies below or above."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class Cast:
    """Another type of numbers, by numpy's name."""

    dtype: str


@dataclass(frozen=True)
class Threshold:
    """1 above, 0 elsewhere."""

    value: float


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True)
class Softmax:
    """Over the channels."""


Step = Affine | Clip | Cast | Threshold | Sigmoid | Softmax


class ImageStatistics(Normalization):
    """Limits of each image as packages of bioimage.io measure them.

    With the mode ``"image"`` the lower percentile becomes 0 and the upper 1; with ``"zscore"`` the mean becomes 0 and
    mean plus deviation 1. Nothing is left out: neither air, nor what lies far outside.
    """

    joint: bool = Field(False, description="Whether all channels have the same limits.")
    eps: float = Field(1e-6, gt=0, le=1, description="What is added to the spread.")

    def limits(self, image: Any) -> Limits:
        """Return the values that become -1 and 1 in each channel of an image (C, [Z], Y, X)."""
        sample = np.asarray(image[sparsely(image.shape, _SAMPLES)], np.float64).reshape(image.shape[0], -1)
        groups = sample.reshape(1, -1) if self.joint else sample
        middle, spread = zip(*(self._measure(values[np.isfinite(values)]) for values in groups), strict=True)
        zero = np.broadcast_to(np.array(middle), len(sample))
        reach = np.maximum(np.broadcast_to(np.array(spread), len(sample)) + self.eps, _NARROW * np.abs(zero))
        return (zero - reach).astype(np.float32), (zero + reach).astype(np.float32)

    def _measure(self, values: NDArray[np.float64]) -> tuple[float, float]:
        if values.size == 0:
            return 0.0, 1.0
        if self.mode == "zscore":
            return float(values.mean()), float(values.std())
        low, high = np.percentile(values, self.percentiles)
        return float(low), float(high - low)


@dataclass(frozen=True)
class Processing:
    """What is measured of each image, and what is done to its pixels then, in order."""

    normalization: Normalization
    steps: tuple[Step, ...]


def read_processing(entries: Any, axes: Mapping[str, str], tensor: str, where: str) -> Processing:
    """Read a list of processing steps, of format 0.4 or 0.5.

    Parameters
    ----------
    entries : list of dict
        Each with a name (0.4) or id (0.5), and kwargs.
    axes : mapping of str to str
        Name of an axis in this package -> its letter, among b, c, z, y and x.
    tensor : str
        Name of the image they are for.
    where : str
        What they are, for errors.

    Raises
    ------
    ModelFileError
        For a step that is not known here, or that can't be done tile by tile.
    """
    normalization: Normalization = Normalization(mode="none", clip=_WIDEST)
    steps: list[Step] = []
    for entry in entries or ():
        name = entry.get("id", entry.get("name"))
        options = entry.get("kwargs") or {}
        measured = name == "scale_range" or (name == "zero_mean_unit_variance" and "mean" not in options)
        if measured:
            if normalization.mode != "none" or any(not isinstance(step, Cast) for step in steps):
                raise _unknown(f"{name} after other steps", where)
            normalization = _statistics(name, options, axes, tensor, where)
        else:
            steps.append(_pointwise(name, options, axes, where))
    return Processing(normalization, tuple(steps))


def _statistics(
    name: str, options: Mapping[str, Any], axes: Mapping[str, str], tensor: str, where: str
) -> ImageStatistics:
    if options.get("reference_tensor") not in (None, tensor):
        raise _unknown(f"{name} of another tensor", where)
    over = _letters(options.get("axes"), axes)
    if not set(axes.values()) - {"b", "c"} <= over:
        raise _unknown(f"{name} over {''.join(sorted(over)) or 'no axes'} alone", where)
    how: dict[str, Any] = {"joint": "c" in over, "eps": float(options.get("eps", 1e-6)), "clip": _WIDEST}
    if name == "zero_mean_unit_variance":
        return ImageStatistics(mode="zscore", **how)
    ends = (float(options.get("min_percentile", 0)), float(options.get("max_percentile", 100)))
    return ImageStatistics(mode="image", percentiles=ends, **how)


def _pointwise(name: Any, options: Mapping[str, Any], axes: Mapping[str, str], where: str) -> Step:
    if name in ("fixed_zero_mean_unit_variance", "zero_mean_unit_variance"):
        mean, deviation = _numbers(options["mean"]), _numbers(options["std"])
        _check_axis(name, options, axes, where)
        eps = float(options.get("eps", 1e-6)) if name == "zero_mean_unit_variance" else 0.0
        gain = tuple(1 / (one + eps) for one in deviation)
        return Affine(gain, tuple(-m * g for m, g in zip(*_alike(mean, gain), strict=True)))
    if name == "scale_linear":
        _check_axis(name, options, axes, where)
        return Affine(*_alike(_numbers(options.get("gain", 1.0)), _numbers(options.get("offset", 0.0))))
    if name == "clip" and not {"min_percentile", "max_percentile"} & {k for k, v in options.items() if v is not None}:
        low, high = options.get("min"), options.get("max")
        return Clip(None if low is None else float(low), None if high is None else float(high))
    if name == "ensure_dtype":
        return Cast(np.dtype(str(options["dtype"])).name)
    if name == "binarize" and isinstance(options["threshold"], int | float):
        return Threshold(float(options["threshold"]))
    if name == "sigmoid":
        return Sigmoid()
    if name == "softmax" and axes.get(str(options.get("axis", "channel"))) == "c":
        return Softmax()
    raise _unknown(str(name)[:60], where)


def _check_axis(name: str, options: Mapping[str, Any], axes: Mapping[str, str], where: str) -> None:
    """Refuse numbers along another axis than the channels: 0.5 names that axis, 0.4 the others."""
    if "axis" in options and axes.get(str(options["axis"])) != "c":
        raise _unknown(f"{name} along {options['axis']!s:.20}", where)
    if options.get("axes") is not None and "c" in _letters(options["axes"], axes):
        several = [options[key] for key in ("gain", "offset", "mean", "std") if isinstance(options.get(key), list)]
        if any(len(numbers) > 1 for numbers in several):
            raise _unknown(f"{name} along other axes than the channels", where)


def _letters(names: Any, axes: Mapping[str, str]) -> set[str]:
    """Return axes as letters; all of them where none are named."""
    if names is None:
        return set(axes.values())
    return {axes.get(str(one), "?") for one in names}


def _numbers(value: Any) -> tuple[float, ...]:
    """Return a number, or a list of them that may be nested as arrays are, as a tuple."""
    return tuple(float(one) for one in np.asarray(value, np.float64).ravel())


def _alike(one: Sequence[float], other: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    longest = max(len(one), len(other))
    first = tuple(one) * longest if len(one) == 1 else tuple(one)
    second = tuple(other) * longest if len(other) == 1 else tuple(other)
    if len(first) != len(second):
        raise ValueError("lists of different lengths")
    return first, second


def _unknown(what: str, where: str) -> ModelFileError:
    return ModelFileError(
        f"{where} asks for {what}, which napari-segnet can't do.", "Predict with bioimageio.core, or with its own tool."
    )
