"""Arrays that the viewer hands over as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from napari_segnet.axes import ImageStack, to_stack, view
from napari_segnet.config import Frozen
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.write import write_tiff


class ArrayFile(Frozen):
    """An array in a file: ``.npy``, or an image file that the viewer itself only refers to; and its axes."""

    path: str
    axes: str = Field(pattern=r"^[TZCYX]+$")

    def image(self, spatial: str) -> ImageStack:
        """Return the planes or volumes of an image, (C, [Z], Y, X) each."""
        return to_stack(open_image(Path(self.path), self.axes).array, self.axes, spatial)

    def labels(self, spatial: str) -> ImageStack:
        """Return the planes or volumes of labels, (1, [Z], Y, X) each."""
        return to_stack(open_labels(Path(self.path), self.axes).array, self.axes, spatial)


def write_image(
    path: Path, files: Sequence[ArrayFile], pixel_size: Sequence[float] | None = None, units: str | None = None
) -> None:
    """Write an image as TIFF, as it would lie on disk: several files are its channels.

    Parameters
    ----------
    path : Path
    files : sequence of ArrayFile
        Of one size and the same axes.
    pixel_size, units : optional
        As for `napari_segnet.io.write.write_tiff`.
    """
    opened = [open_image(file.path, file.axes) for file in files]
    axes = opened[0].axes
    if "C" in axes or len(opened) > 1:
        # Channels lie before Y and X in TIFFs of several planes.
        plain = axes.replace("C", "")
        axes = f"{plain[:-2]}C{plain[-2:]}"
        parts = [np.asarray(view(one.array, one.axes, axes)) for one in opened]
        write_tiff(path, np.concatenate(parts, axis=len(plain) - 2), axes, pixel_size, units)
    else:
        write_tiff(path, opened[0].array, axes, pixel_size, units)
