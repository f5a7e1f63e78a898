"""The circle of a hemispherical photograph: which pixels count, and which angle from the zenith each one shows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import times
from napari_segnet.errors import DataError
from napari_segnet.measure.options import CircleOptions


def zenith_angles(shape: tuple[int, int], circle: CircleOptions) -> NDArray[np.float32]:
    """Return the angle between the zenith and what each pixel shows.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the photograph.
    circle : CircleOptions
        With a lens that maps the angle θ to a distance from the centre that grows as θ (equidistant, or polar), as
        sin(θ/2) (equisolid) or as tan(θ/2) (stereographic) [1]_.

    Returns
    -------
    (Y, X) float32
        Degrees; NaN outside the circle. A pixel is inside if its centre is.

    Raises
    ------
    DataError
        If the circle lies outside the image.

    References
    ----------
    .. [1] Schneider, D., Schwalbe, E., Maas, H.-G. (2009). Validation of geometric models for fisheye lenses. ISPRS
       Journal of Photogrammetry and Remote Sensing 64, 259-266.
    """
    row, column = circle.centre or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    radius = circle.radius or min(shape) / 2
    outside = not (-radius < row < shape[0] - 1 + radius and -radius < column < shape[1] - 1 + radius)
    y, x = np.ogrid[: shape[0], : shape[1]]
    share: NDArray[np.float32] = np.hypot(y - row, x - column).astype(np.float32) / np.float32(radius)
    share[share > 1] = np.nan
    if outside or np.isnan(share).all():
        raise DataError(
            f"The circle around row {row:g} and column {column:g} with a radius of {radius:g} pixels has no pixel of "
            f"the image of {times(shape)}.",
            "Give centre and radius in pixels of this image.",
        )
    edge = math.radians(circle.field_of_view / 2)
    if circle.projection == "equidistant":
        angles = share * np.float32(edge)
    elif circle.projection == "equisolid":
        angles = 2 * np.arcsin(share * np.float32(math.sin(edge / 2)))
    else:
        angles = 2 * np.arctan(share * np.float32(math.tan(edge / 2)))
    degrees: NDArray[np.float32] = np.degrees(angles, dtype=np.float32)
    return degrees


def solid_angles(angles: NDArray[np.float32], circle: CircleOptions) -> NDArray[np.float64]:
    """Return the relative part of the sky that pixels at some angles from the zenith show.

    Parameters
    ----------
    angles : array
        Degrees, see `zenith_angles`; none is NaN.

    Returns
    -------
    array of float64
        1 in the zenith.
    """
    theta = np.radians(angles, dtype=np.float64)
    if circle.projection == "equidistant":
        # np.sinc is sin(pi x) / (pi x).
        share: NDArray[np.float64] = np.sinc(theta / np.pi)
        return share
    if circle.projection == "equisolid":
        return np.ones_like(theta)
    stereographic: NDArray[np.float64] = np.cos(theta / 2) ** 4
    return stereographic


def ring_edges(circle: CircleOptions) -> NDArray[np.float64]:
    """Return the angles between which the rings lie, degrees: one more than there are rings."""
    start, stop = circle.zenith or (0.0, circle.field_of_view / 2)
    return np.linspace(start, stop, circle.rings + 1)


def ring_numbers(angles: NDArray[np.float32], circle: CircleOptions) -> NDArray[np.uint8]:
    """Return which ring each pixel is in, from 1 on; 0 outside all. The outermost edge belongs to the last ring."""
    edges = ring_edges(circle)
    inside = (angles >= edges[0]) & (angles <= edges[-1] * (1 + 1e-6))
    numbers = np.zeros(angles.shape, np.uint8)
    numbers[inside] = np.clip(np.searchsorted(edges, angles[inside], side="right"), 1, circle.rings)
    return numbers
