"""Training pairs: one plane of an image and its labels, opened lazily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import PlaneStack, to_planes
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.run import PairRecord


class OpenedRecord:
    """The planes of one record; files are opened at the first look and stay open.

    Parameters
    ----------
    record : PairRecord
    """

    def __init__(self, record: PairRecord) -> None:
        self.record = record

    @cached_property
    def images(self) -> tuple[PlaneStack, ...]:
        """The stacks of planes of each image file."""
        stacks = tuple(
            to_planes(open_image(Path(p), self.record.axes).array, self.record.axes) for p in self.record.images
        )
        shapes = {(len(s), *s.plane_shape) for s in stacks}
        if len(shapes) > 1:
            raise DataError(f"The channels of {self.record.name} have different shapes: {sorted(shapes)}.")
        return stacks

    @cached_property
    def labels(self) -> PlaneStack:
        """The stack of label planes."""
        axes = self.record.axes.replace("C", "")
        labels = to_planes(open_labels(Path(self.record.labels), axes).array, axes)
        image = self.images[0]
        if (len(labels), *labels.plane_shape) != (len(image), *image.plane_shape):
            raise DataError(
                f"The labels of {self.record.name} have {len(labels)} planes of {labels.plane_shape} pixels, "
                f"the image {len(image)} of {image.plane_shape}.",
                "Labels need the size of their image.",
            )
        return labels


@dataclass(frozen=True)
class TrainingPair:
    """One plane: an image (C, Y, X) and its labels (Y, X)."""

    opened: OpenedRecord
    plane: int

    @property
    def name(self) -> str:
        """Name of the image, with the number of the plane where there are several."""
        many = len(self.opened.images[0]) > 1
        return f"{self.opened.record.name}[{self.plane}]" if many else self.opened.record.name

    @property
    def group(self) -> str:
        """Planes of one image belong together: they are never split between training and validation by chance."""
        return self.opened.record.name

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.opened.images[0].plane_shape

    @property
    def channels(self) -> int:
        """Number of channels, over all files of the image."""
        return sum(stack.channels for stack in self.opened.images)

    def image(self) -> Any:
        """Return the image as an array-like (C, Y, X), lazy where the file allows it."""
        planes = [stack[self.plane] for stack in self.opened.images]
        return planes[0] if len(planes) == 1 else np.concatenate([np.asarray(p) for p in planes])

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
    if not records:
        raise DataError("There is nothing to learn from: no image with labels.", "Choose an image and its labels.")
    pairs = [
        TrainingPair(opened, plane) for opened in map(OpenedRecord, records) for plane in range(len(opened.images[0]))
    ]
    first = pairs[0]
    for pair in pairs:
        if pair.channels != first.channels:
            raise DataError(
                f"{first.name} has {first.channels} channel(s), but {pair.name} has {pair.channels}.",
                "Images of one model need the same channels; leave one of the two out.",
            )
    return pairs
