"""Canopies against the sky: ``images/`` (colour, JPEG, 288 x 192), ``masks/`` (255 sky, 0 canopy)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.tutorials.drawing import as_picture, blend, clouds, save

_SHAPE = (192, 288)


def write(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Draw photographs of canopies that are more and less closed."""
    for number in range(1, count + 1):
        image, sky = draw(rng, openness=(number - 0.5) / count)
        save(folder / "images" / f"plot_{number:02d}.jpg", image)
        save(folder / "masks" / f"plot_{number:02d}.png", np.where(sky, 255, 0).astype(np.uint8))


def draw(rng: np.random.Generator, openness: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a photograph (Y, X, 3) and where the sky is; `openness` is about the share of the sky."""
    leaves = clouds(rng, _SHAPE, 2.2) + 1.3 * clouds(rng, _SHAPE, 14)
    sky = leaves < np.quantile(leaves, 0.08 + 0.8 * openness)
    for _ in range(int(rng.integers(2, 5))):
        sky &= ~_branch(rng)
    sky = ndimage.binary_opening(sky, iterations=1)
    light = 205 + 30 * rng.random() + 12 * clouds(rng, _SHAPE, 30)
    air = np.stack([light - 35 * rng.random(), light - 8, light + 12], axis=-1)
    shade = 62 + 20 * clouds(rng, _SHAPE, 1.2) + 22 * clouds(rng, _SHAPE, 10)
    green = np.stack([shade * 0.75, shade * 1.05, shade * 0.55], axis=-1)
    return as_picture(blend(air, green, ~sky, softness=0.9), rng), sky


def _branch(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a bent branch from an edge of the image to its other side."""
    y = np.linspace(0, 1, 600)
    start, stop = rng.uniform(-0.1, 1.1, 2) * _SHAPE[1]
    x = start + (stop - start) * y + 14 * np.sin(y * rng.uniform(3, 8) + rng.uniform(0, 6))
    line = np.zeros(_SHAPE, bool)
    rows, columns = (y * (_SHAPE[0] - 1)).astype(int), x.astype(int)
    inside = (columns >= 0) & (columns < _SHAPE[1])
    line[rows[inside], columns[inside]] = True
    return np.asarray(ndimage.binary_dilation(line, iterations=int(rng.integers(1, 4))))
