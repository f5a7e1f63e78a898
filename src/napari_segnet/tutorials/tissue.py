"""Stacks of cells: ``images/`` and ``labels/`` (TIFF, 20 x 72 x 72, voxels of 1.5 x 0.5 x 0.5 micrometers)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.io.write import write_tiff
from napari_segnet.tutorials.drawing import as_picture, clouds

_SHAPE = (20, 72, 72)
_VOXEL = (1.5, 0.5, 0.5)
_RADIUS = 4.2


def write(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Draw stacks whose cells (1) have a nucleus (2)."""
    for number in range(1, count + 1):
        image, classes = draw(rng)
        for kind, array in (("images", image), ("labels", classes)):
            write_tiff(folder / kind / f"stack_{number}.tif", array, "ZYX", _VOXEL, "micrometer")


def draw(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a stack (Z, Y, X), and the class of each voxel: 0 outside, 1 cell, 2 nucleus."""
    grid = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(_SHAPE, _VOXEL, strict=True)), indexing="ij"), -1)
    extent = np.array(_SHAPE) * _VOXEL
    classes = np.zeros(_SHAPE, np.uint8)
    centres: list[NDArray[np.float64]] = []
    for _ in range(400):
        centre = rng.uniform(2, extent - 2)
        if all(np.linalg.norm(centre - other) > 1.9 * _RADIUS for other in centres):
            centres.append(centre)
    for centre in centres:
        distance = np.linalg.norm((grid - centre) / rng.uniform(0.85, 1.1, 3), axis=-1)
        classes[distance < _RADIUS] = 1
        classes[distance < 0.45 * _RADIUS] = 2
    body = 40 + 70 * (classes == 1) + 135 * (classes == 2)
    blurred = ndimage.gaussian_filter(body + 10 * clouds(rng, _SHAPE, 2), (0.6, 0.9, 0.9))
    # Deep planes are darker: light is lost on its way.
    depth = np.linspace(1, 0.7, _SHAPE[0])[:, None, None]
    return as_picture(blurred * depth, rng, grain=7), classes
