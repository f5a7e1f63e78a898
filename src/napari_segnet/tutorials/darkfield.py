"""Blood in dark field: ``images/`` (grey, 192 x 192), ``masks/`` in colour, and ``colours.csv``, which names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.tutorials.drawing import as_picture, clouds, ellipse, save

_SHAPE = (192, 192)
_COLOURS = (("background", (0, 0, 0)), ("erythrocyte", (220, 60, 60)), ("spirochaete", (250, 210, 40)))


def write(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Draw fields of view with blood cells and some bacteria."""
    palette = np.array([colour for _, colour in _COLOURS], np.uint8)
    for number in range(1, count + 1):
        image, classes = draw(rng)
        save(folder / "images" / f"field_{number:02d}.png", image)
        save(folder / "masks" / f"field_{number:02d}.png", palette[classes])
    lines = [f"{name},{red},{green},{blue}" for name, (red, green, blue) in _COLOURS]
    (folder / "colours.csv").write_text("name,r,g,b\n" + "\n".join(lines) + "\n", encoding="utf-8")


def draw(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a field of view (Y, X), and the class of each pixel: 0 background, 1 cell, 2 bacterium."""
    image = 26 + 5 * clouds(rng, _SHAPE, 25)
    classes = np.zeros(_SHAPE, np.uint8)
    for _ in range(int(rng.integers(6, 14))):
        centre = (rng.uniform(0, _SHAPE[0]), rng.uniform(0, _SHAPE[1]))
        radius = rng.uniform(12, 17)
        depth = ellipse(_SHAPE, centre, (radius, radius * rng.uniform(0.85, 1)), rng.uniform(0, 3))
        cell = depth > 0
        # Cells shine at their rim, and a little in the middle.
        image = np.maximum(image, np.where(cell, 52 + 85 * np.exp(-((depth / 0.13) ** 2)), 0))
        classes[cell] = 1
    for _ in range(int(rng.integers(2, 6))):
        bacterium = _spiral(rng)
        image = np.where(bacterium, 150 + 18 * clouds(rng, _SHAPE, 2), image)
        classes[bacterium] = 2
    return as_picture(ndimage.gaussian_filter(image, 0.7), rng), classes


def _spiral(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a spirochaete: a wave as wide as three pixels."""
    t = np.linspace(-1, 1, 500)
    length, angle = rng.uniform(16, 30), rng.uniform(0, 6.3)
    along, across = length * t, 3.2 * np.sin(9 * t + rng.uniform(0, 6)) + 4 * t**2
    y = rng.uniform(25, 167) + along * np.sin(angle) + across * np.cos(angle)
    x = rng.uniform(25, 167) + along * np.cos(angle) - across * np.sin(angle)
    line = np.zeros(_SHAPE, bool)
    inside = (y >= 0) & (y < _SHAPE[0]) & (x >= 0) & (x < _SHAPE[1])
    line[y[inside].astype(int), x[inside].astype(int)] = True
    return np.asarray(ndimage.binary_dilation(line))
