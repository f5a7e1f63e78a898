"""Horses on grass and gravel: ``images/`` (colour, JPEG, 240 x 192), ``trimaps/`` and a ``sea.jpg`` to put them on.

In trimaps 1 is the horse, 2 the background and 3 the border between them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data
from skimage.transform import AffineTransform, resize, warp

from napari_segnet.tutorials.drawing import as_picture, blend, clouds, save

_SHAPE = (192, 240)
_COATS = ((118, 74, 40), (60, 42, 32), (205, 196, 184), (150, 112, 74))


def write(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Draw horses of different coats, sizes and places, and a sea."""
    for number in range(1, count + 1):
        image, horse = draw(rng)
        border = ndimage.binary_dilation(horse, iterations=2) & ~ndimage.binary_erosion(horse, iterations=2)
        trimap = np.where(border, 3, np.where(horse, 1, 2)).astype(np.uint8)
        save(folder / "images" / f"horse_{number:02d}.jpg", image)
        save(folder / "trimaps" / f"horse_{number:02d}.png", trimap)
    save(folder / "sea.jpg", _sea(rng))


def draw(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a photograph (Y, X, 3) and where the horse is."""
    silhouette = resize((~data.horse().astype(bool)).astype(float), (164, 200))
    size = rng.uniform(0.62, 0.95)
    turn = AffineTransform(
        scale=(size * rng.choice([-1, 1]), size), rotation=rng.uniform(-0.12, 0.12), shear=rng.uniform(-0.15, 0.15)
    )
    middle = AffineTransform(translation=(-100, -82))
    place = AffineTransform(translation=(120 + rng.uniform(-18, 18), 100 + rng.uniform(-10, 16)))
    horse = warp(silhouette, (middle + turn + place).inverse, output_shape=_SHAPE) > 0.5
    ground = _ground(rng)
    coat = np.array(_COATS[int(rng.integers(len(_COATS)))], float)
    light = 1 + 0.16 * clouds(rng, _SHAPE, 9) + 0.05 * clouds(rng, _SHAPE, 1)
    return as_picture(blend(ground, coat * light[..., None], horse), rng), horse


def _ground(rng: np.random.Generator) -> NDArray[np.float64]:
    texture, colour = (data.grass(), (0.62, 0.85, 0.42)) if rng.random() < 0.6 else (data.gravel(), (0.92, 0.86, 0.8))
    top, left = (int(rng.integers(n - m)) for n, m in zip(texture.shape, _SHAPE, strict=True))
    part = texture[top : top + _SHAPE[0], left : left + _SHAPE[1]].astype(float)
    return np.asarray((70 + 0.75 * part)[..., None] * np.array(colour))


def _sea(rng: np.random.Generator) -> NDArray[np.uint8]:
    y = np.linspace(0, 1, 300)[:, None]
    waves = clouds(rng, (300, 400), 4) * 10 * (y > 0.45) + 4 * clouds(rng, (300, 400), 40)
    sky, water = np.array([150, 196, 235.0]), np.array([30, 95, 140.0])
    colour = np.where(y[..., None] < 0.45, sky + 60 * y[..., None], water + 50 * (1 - y[..., None]))
    return as_picture(colour + waves[..., None], rng, grain=2)
