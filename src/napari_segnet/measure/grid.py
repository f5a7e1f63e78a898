"""Pixels in space: the size of one, and in which unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_segnet.errors import ConfigError, DataError

PIXEL = "pixel"
_MOST_UNEVEN = 1000


@dataclass(frozen=True)
class Grid:
    """The size of a pixel along [Z], Y and X, and its unit."""

    spacing: tuple[float, ...]
    units: str = PIXEL

    @property
    def pixel(self) -> float:
        """Area of a pixel, or volume of a voxel."""
        return math.prod(self.spacing)


def make_grid(
    ndim: int, spacing: float | Sequence[float] | None = None, units: str | None = None, name: str = "The labels"
) -> Grid:
    """Return the grid of a plane (`ndim` 2) or a volume (3).

    Parameters
    ----------
    ndim : {2, 3}
    spacing : float or sequence of float, optional
        Size of a pixel: the same along all axes, or along [Z], Y and X. Planes don't heed that of Z.
    units : str, optional
        Of `spacing`.
    name : str
        What to call the labels in an error.

    Raises
    ------
    DataError
        If the size of a volume's pixels is known in the plane only.
    ConfigError
        If a size isn't above 0, there are too many, or they are of different units.
    """
    if spacing is None:
        return Grid((1.0,) * ndim)
    sizes = (float(spacing),) * ndim if isinstance(spacing, int | float) else tuple(float(s) for s in spacing)
    if not 2 <= len(sizes) <= 3 or not all(0 < s < math.inf for s in sizes):
        raise ConfigError(f"The pixel size {list(sizes)} can't be.", "Give a number, or one for each of [Z], Y, X.")
    if len(sizes) < ndim:
        raise DataError(
            f"{name}: the size of a pixel is known along Y and X, but not along Z.",
            "Say it: --pixel-size Z,Y,X (from Python: spacing), or measure each plane by itself: --planes.",
        )
    sizes = sizes[-ndim:]
    if max(sizes) > _MOST_UNEVEN * min(sizes):
        raise ConfigError(
            f"{name}: the sides of a pixel, {list(sizes)}, differ more than {_MOST_UNEVEN}-fold.",
            "Give them in the same unit: --pixel-size Z,Y,X (from Python: spacing).",
        )
    return Grid(sizes, units or "unit")
