"""Training pairs: one plane, or one volume, of an image and its labels, opened lazily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ImageStack, to_stack
from napari_segnet.channels import join_channels
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.run import PairRecord

_OPEN_FILES = 8


class OpenedRecord:
    """The planes, or volumes, of one record; its files are opened when they are looked at, and soon closed again.

    Parameters
    ----------
    record : PairRecord
    spatial : {"YX", "ZYX"}
        Planes or volumes.
    """

    def __init__(self, record: PairRecord, spatial: str = "YX") -> None:
        self.record, self.spatial = record, spatial
        images = self.images
        self.items = len(images)
        self.item_shape = images.item_shape
        self.channels = images.channels

    @property
    def images(self) -> ImageStack:
        """The planes of the image; several files are its channels."""
        files = [_open_image(path, self.record.axes, self.spatial) for path in self.record.images]
        return join_channels(self.record.name, files)

    @property
    def labels(self) -> ImageStack:
        """The labels of each plane."""
        labels = _open_labels(self.record.labels, self.record.axes.replace("C", ""), self.spatial)
        if (len(labels), *labels.item_shape) != (self.items, *self.item_shape):
            what = "planes" if self.spatial == "YX" else "volumes"
            raise DataError(
                f"The labels of {self.record.name} have {len(labels)} {what} of {labels.item_shape} pixels, "
                f"the image {self.items} of {self.item_shape}.",
                "Labels need the size of their image.",
            )
        return labels


# A folder may hold thousands of files: only the last few stay open, or decoded in memory.
@lru_cache(maxsize=_OPEN_FILES)
def _open_image(path: str, axes: str, spatial: str) -> ImageStack:
    return to_stack(open_image(Path(path), axes).array, axes, spatial)


@lru_cache(maxsize=_OPEN_FILES)
def _open_labels(path: str, axes: str, spatial: str) -> ImageStack:
    return to_stack(open_labels(Path(path), axes).array, axes, spatial)


def close_files() -> None:
    """Forget the files that are open: they may be written anew before the next run looks at them."""
    _open_image.cache_clear()
    _open_labels.cache_clear()


@dataclass(frozen=True)
class TrainingPair:
    """One plane, an image (C, Y, X) and its labels (Y, X), or one volume, (C, Z, Y, X) and (Z, Y, X).

    `item` is its number among those of the image.
    """

    opened: OpenedRecord
    item: int

    @property
    def name(self) -> str:
        """Name of the image, with the number of the plane where there are several."""
        many = self.opened.items > 1
        return f"{self.opened.record.name}[{self.item}]" if many else self.opened.record.name

    @property
    def group(self) -> str:
        """Planes of one image belong together: they are never split between training and validation by chance."""
        return self.opened.record.name

    @property
    def shape(self) -> tuple[int, ...]:
        """[Depth,] height and width, pixels."""
        return self.opened.item_shape

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        """Size of a pixel along [Z], Y, X, where the file says it."""
        return self.opened.record.pixel_size

    @property
    def channels(self) -> int:
        """Number of channels, over all files of the image."""
        return self.opened.channels

    def image(self) -> Any:
        """Return the image as an array-like (C, [Z], Y, X), lazy where the file allows it."""
        return self.opened.images[self.item]

    def labels(self) -> NDArray[np.integer[Any]]:
        """Return the labels ([Z], Y, X)."""
        labels: NDArray[np.integer[Any]] = np.asarray(self.opened.labels[self.item])[0]
        return labels


def open_pairs(records: Sequence[PairRecord], spatial: str = "YX") -> list[TrainingPair]:
    """Open the planes, or the volumes, of some records.

    Raises
    ------
    DataError
        If there are none, if they have different numbers of channels, or planes are given where volumes are needed.
    """
    close_files()
    if not records:
        raise DataError("There is nothing to learn from: no image with labels.", "Choose an image and its labels.")
    opened = [OpenedRecord(record, spatial) for record in records]
    pairs = [TrainingPair(one, item) for one in opened for item in range(one.items)]
    first = pairs[0]
    for pair in pairs:
        if pair.channels != first.channels:
            raise DataError(
                f"{first.name} has {first.channels} channel(s), but {pair.name} has {pair.channels}.",
                "Images of one model need the same channels; leave one of the two out.",
            )
    return pairs
