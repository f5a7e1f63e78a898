"""Training pairs: one plane of an image and its labels, opened lazily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import PlaneStack, to_planes
from napari_segnet.channels import join_channels
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.run import PairRecord

_OPEN_FILES = 8


class OpenedRecord:
    """The planes of one record; its files are opened when they are looked at, and soon closed again.

    Parameters
    ----------
    record : PairRecord
    """

    def __init__(self, record: PairRecord) -> None:
        self.record = record
        images = self.images
        self.planes = len(images)
        self.plane_shape = images.plane_shape
        self.channels = images.channels

    @property
    def images(self) -> PlaneStack:
        """The planes of the image; several files are its channels."""
        return join_channels(self.record.name, [_open_image(path, self.record.axes) for path in self.record.images])

    @property
    def labels(self) -> PlaneStack:
        """The stack of label planes."""
        labels = _open_labels(self.record.labels, self.record.axes.replace("C", ""))
        if (len(labels), *labels.plane_shape) != (self.planes, *self.plane_shape):
            raise DataError(
                f"The labels of {self.record.name} have {len(labels)} planes of {labels.plane_shape} pixels, "
                f"the image {self.planes} of {self.plane_shape}.",
                "Labels need the size of their image.",
            )
        return labels


# A folder may hold thousands of files: only the last few stay open, or decoded in memory.
@lru_cache(maxsize=_OPEN_FILES)
def _open_image(path: str, axes: str) -> PlaneStack:
    return to_planes(open_image(Path(path), axes).array, axes)


@lru_cache(maxsize=_OPEN_FILES)
def _open_labels(path: str, axes: str) -> PlaneStack:
    return to_planes(open_labels(Path(path), axes).array, axes)


def close_files() -> None:
    """Forget the files that are open: they may be written anew before the next run looks at them."""
    _open_image.cache_clear()
    _open_labels.cache_clear()


@dataclass(frozen=True)
class TrainingPair:
    """One plane: an image (C, Y, X) and its labels (Y, X)."""

    opened: OpenedRecord
    plane: int

    @property
    def name(self) -> str:
        """Name of the image, with the number of the plane where there are several."""
        many = self.opened.planes > 1
        return f"{self.opened.record.name}[{self.plane}]" if many else self.opened.record.name

    @property
    def group(self) -> str:
        """Planes of one image belong together: they are never split between training and validation by chance."""
        return self.opened.record.name

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.opened.plane_shape

    @property
    def channels(self) -> int:
        """Number of channels, over all files of the image."""
        return self.opened.channels

    def image(self) -> Any:
        """Return the image as an array-like (C, Y, X), lazy where the file allows it."""
        return self.opened.images[self.plane]

    def labels(self) -> NDArray[np.integer[Any]]:
        """Return the labels (Y, X)."""
        labels: NDArray[np.integer[Any]] = np.asarray(self.opened.labels[self.plane])[0]
        return labels


def open_pairs(records: Sequence[PairRecord]) -> list[TrainingPair]:
    """Open the planes of some records.

    Raises
    ------
    DataError
        If there are none, or if they have different numbers of channels.
    """
    close_files()
    if not records:
        raise DataError("There is nothing to learn from: no image with labels.", "Choose an image and its labels.")
    pairs = [TrainingPair(opened, plane) for opened in map(OpenedRecord, records) for plane in range(opened.planes)]
    first = pairs[0]
    for pair in pairs:
        if pair.channels != first.channels:
            raise DataError(
                f"{first.name} has {first.channels} channel(s), but {pair.name} has {pair.channels}.",
                "Images of one model need the same channels; leave one of the two out.",
            )
    return pairs
