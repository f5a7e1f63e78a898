"""What is measured of each image and its labels, and what is found in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.data.normalization import sparsely
from napari_segnet.errors import SegNetError
from napari_segnet.io.images import ImageFile

Status = Literal["ok", "warn", "fail"]
_SAMPLED = 1_000_000
"""Values of a channel that are looked at; of more, every n-th row and column."""
_MOST_ITEMS = 4
"""Times of a film that are looked at."""
_MOST_VALUES = 256
"""Label values of an image that are listed; more are objects, or no labels."""
_BLOCK = 2**24
"""Label pixels that are counted at once."""
_LARGEST = 1e300
"""Differences of values stay finite."""
_BITS = (10, 12, 14)
"""Of cameras that fill only a part of their 16 bits."""


@dataclass(frozen=True)
class Finding:
    """The answer to one question: its status, what was found, and what to do about it.

    ``"fail"``: it can't be learned from as it is. ``"warn"``: it can, but something is worth knowing.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """One image and its labels.

    Attributes
    ----------
    name, part : str
        The image's name without extension; ``"train"``, ``"val"``, ``"test"``, or empty.
    image, labels : str
        The files; no labels: empty.
    trouble : {"", "image", "labels", "size"}
        What can't be used: the image, its labels, or the two together, because their sizes differ.
    error : str
        Why; what is not known then is None or empty.
    axes : str
    shape : tuple of int
        Lengths of `axes` without C.
    channels : int
    dtype : str
    pixel_size : tuple of float or None
        Along [Z], Y, X in `units`.
    brightness, contrast : tuple of float
        Of each channel: the median, and from the 5th to the 95th percentile.
    lowest, highest : float
    not_finite, saturated : float
        Shares of values that are NaN or infinite, and that are as bright as the type can be.
    constant : bool
        Whether all values are the same.
    label_type : str
    label_values : int
        Number of different values.
    counts : dict of int to int
        Pixels of each value; empty if there are more than 256 values.
    painted : float or None
        Share of pixels that are not 0.
    object_size : float or None
        Median number of pixels of a value other than 0.
    tiny : int
        Values other than 0 with one or two pixels.
    """

    name: str
    part: str
    image: str
    labels: str = ""
    trouble: Literal["", "image", "labels", "size"] = ""
    error: str = ""
    axes: str = ""
    shape: tuple[int, ...] = ()
    channels: int = 0
    dtype: str = ""
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None
    brightness: tuple[float, ...] = ()
    contrast: tuple[float, ...] = ()
    lowest: float | None = None
    highest: float | None = None
    not_finite: float = 0.0
    saturated: float = 0.0
    constant: bool = False
    label_type: str = ""
    label_values: int = 0
    counts: dict[int, int] | None = None
    painted: float | None = None
    object_size: float | None = None
    tiny: int = 0

    @property
    def title(self) -> str:
        """The name, with the part where there are several."""
        return f"{self.part}/{self.name}" if self.part else self.name


def middle_item(image: ImageFile) -> ArrayLike:
    """Return the image (C, [Z], Y, X); of a film the one in the middle."""
    stack = image.stack("ZYX" if "Z" in image.axes else "YX")
    found: ArrayLike = stack[len(stack) // 2]
    return found


def image_facts(image: ImageFile) -> dict[str, Any]:
    """Return the fields of `ImageFacts` that come from the image; reads a sample of a large one."""
    stack = image.stack("ZYX" if "Z" in image.axes else "YX")
    some = np.unique(np.linspace(0, len(stack) - 1, min(len(stack), _MOST_ITEMS)).round().astype(int)).tolist()
    samples = []
    for number in some:
        item = stack[number]
        sample = np.asarray(item[sparsely(item.shape, _SAMPLED / len(some))])
        samples.append(sample.reshape(len(sample), -1))
    values = np.concatenate(samples, axis=1)
    facts: dict[str, Any] = {
        "axes": image.axes,
        "shape": image.shape_without_channels,
        "channels": stack.channels,
        "dtype": str(values.dtype),
        "pixel_size": image.pixel_size,
        "units": image.units,
    }
    finite = np.isfinite(values)
    facts["not_finite"] = float(1 - finite.mean())
    known = [
        channel[one].astype(np.float64).clip(-_LARGEST, _LARGEST)
        for channel, one in zip(values, finite, strict=True)
        if one.any()
    ]
    if not known:
        return facts
    low, middle, high = np.array([np.percentile(channel, (5, 50, 95)) for channel in known]).T
    lowest, highest = min(channel.min() for channel in known), max(channel.max() for channel in known)
    return facts | {
        "brightness": tuple(middle.tolist()),
        "contrast": tuple((high - low).tolist()),
        "lowest": float(lowest),
        "highest": float(highest),
        "saturated": _saturated(values),
        "constant": bool(lowest == highest),
    }


def _saturated(values: NDArray[Any]) -> float:
    """Return the share of values at the upper end of what the camera can tell: of the channel with most of them.

    A photograph is overexposed where all three colours are.
    """
    if values.dtype.kind not in "iu":
        return 0.0
    top = int(np.iinfo(values.dtype).max)
    highest = int(values.max())
    if values.dtype.itemsize > 1:
        top = next((2**bits - 1 for bits in _BITS if highest == 2**bits - 1), top)
    at_top = values == top
    if len(values) == 3 and values.dtype == np.uint8:
        return float(at_top.all(axis=0).mean())
    return float(at_top.mean(axis=1).max())


def label_facts(labels: ImageFile) -> tuple[dict[str, Any], dict[int, int]]:
    """Return the fields of `ImageFacts` that come from the labels, and the pixels of each value; reads all of them."""
    counts: dict[int, int] = {}
    total = 0
    for block in label_blocks(labels):
        values, numbers = np.unique(block, return_counts=True)
        total += block.size
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
    counts = dict(sorted(counts.items()))
    sizes = [number for value, number in counts.items() if value != 0]
    facts = {
        "label_type": str(np.dtype(labels.array.dtype)),
        "label_values": len(counts),
        "counts": counts if len(counts) <= _MOST_VALUES else {},
        "painted": sum(sizes) / max(total, 1),
        "object_size": float(np.median(sizes)) if sizes else None,
        "tiny": sum(size <= 2 for size in sizes),
    }
    return facts, counts


def label_blocks(labels: ImageFile) -> Iterator[NDArray[Any]]:
    """Yield labels plane by plane, and large planes in strips of rows."""
    stack = labels.stack()
    for plane in (stack[number] for number in range(len(stack))):
        rows = max(1, _BLOCK // max(1, plane.shape[-1]))
        for start in range(0, plane.shape[-2], rows):
            yield np.asarray(plane[:, start : start + rows])


def sentence(error: SegNetError) -> str:
    """Return what is wrong, with what to do about it."""
    return " ".join(str(error).split())
