"""What the tutorials' images are made of: smooth noise, ellipses, light, grain."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.float64]


def clouds(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> Grey:
    """Return smooth noise of some width, pixels, with mean 0 and deviation 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), width, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float], angle: float) -> Grey:
    """Return how deep inside an ellipse each pixel is: 1 at its centre, 0 on its edge, less outside.

    `centre` and `radii` are along Y and X before it is turned by `angle`, radians.
    """
    y, x = np.mgrid[: shape[0], : shape[1]]
    dy, dx = y - centre[0], x - centre[1]
    along = dy * np.cos(angle) + dx * np.sin(angle)
    across = dx * np.cos(angle) - dy * np.sin(angle)
    return np.asarray(1 - np.hypot(along / radii[0], across / radii[1]))


def blend(below: Grey, above: Grey, mask: NDArray[np.bool_], softness: float = 0.7) -> Grey:
    """Lay one picture (Y, X[, C]) over another where a mask says, with an edge as soft as a lens makes it."""
    share = ndimage.gaussian_filter(mask.astype(float), softness)
    return np.asarray(below + (above - below) * (share[..., None] if below.ndim == 3 else share))


def as_picture(image: Grey, rng: np.random.Generator, grain: float = 4.0) -> NDArray[np.uint8]:
    """Return 8 bits of an image from 0 to 255, with the grain of a sensor."""
    return np.clip(image + rng.normal(0, grain, image.shape), 0, 255).round().astype(np.uint8)


def save(path: Path, array: NDArray[np.uint8]) -> None:
    """Write a PNG or JPEG, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        iio.imwrite(path, array, quality=92)
    else:
        iio.imwrite(path, array)
