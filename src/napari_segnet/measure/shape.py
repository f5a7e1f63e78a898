"""Size and shape of one object, from its mask and the size of a pixel along each axis.

A pixel is a little box, not a point: a row of 10 pixels is 10 long and 1 wide, and a rectangle fills its convex hull.
Everything is computed in physical space, so that a ball is a ball in a stack with thick sections.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
_LONGEST_STEP = 4
_BLOCK = 1024


def shape_of(mask: Mask, spacing: Sequence[float]) -> dict[str, float]:
    """Measure an object.

    Parameters
    ----------
    mask : ([Z], Y, X) bool
        The object, and nothing else; at least one pixel.
    spacing : sequence of float
        Size of a pixel along each axis.

    Returns
    -------
    dict of str to float
        In units, units squared or cubed, and degrees; what each means is said in `napari_segnet.measure.columns`.
        Planes have ``area``, ``perimeter``, ``circularity`` ..., volumes ``volume``, ``surface_area`` ...
    """
    pixels = int(np.count_nonzero(mask))
    size = pixels * math.prod(spacing)
    boundary = boundary_size(mask, spacing)
    hull, longest, narrowest = _hull(mask, spacing)
    lengths, directions = _axes_of_ellipse(mask, spacing)
    common = {
        "aspect_ratio": lengths[0] / lengths[-1],
        "feret_max": longest,
        "extent": pixels / mask.size,
        "solidity": min(1.0, size / hull),
        "euler_number": euler_number(mask),
    }
    if mask.ndim == 2:
        rise, run = -directions[0]
        return {
            "area": size,
            "perimeter": boundary,
            "equivalent_diameter": 2 * math.sqrt(size / math.pi),
            "axis_major": lengths[0],
            "axis_minor": lengths[1],
            "eccentricity": math.sqrt(max(0.0, 1 - (lengths[1] / lengths[0]) ** 2)),
            # Rows count downwards, angles upwards.
            "orientation": math.degrees(math.atan2(rise, -run)) % 180,
            "feret_min": narrowest,
            "circularity": 4 * math.pi * size / boundary**2,
            **common,
        }
    return {
        "volume": size,
        "surface_area": boundary,
        "equivalent_diameter": (6 * size / math.pi) ** (1 / 3),
        "axis_major": lengths[0],
        "axis_middle": lengths[1],
        "axis_minor": lengths[2],
        **{f"direction_{letter}": float(part) for letter, part in zip("zyx", directions[0], strict=True)},
        "sphericity": math.pi ** (1 / 3) * (6 * size) ** (2 / 3) / boundary,
        **common,
    }


def boundary_size(mask: Mask, spacing: Sequence[float]) -> float:
    """Return the perimeter of a plane object, or the surface area of a body.

    Straight lines cross a longer boundary more often: the crossings along the directions between neighbouring pixels
    (4 in a plane, 13 in a volume, more where pixels aren't square) are counted, and weighed by the angle that each
    direction stands for: Crofton's formula [1]_. Unlike the length of the staircase along pixel edges, this comes
    closer to the truth the finer the pixels are. A square along the axes comes out too short by 7 %, a cube by 10 %,
    round and oblique objects nearly right.

    Parameters
    ----------
    mask : ([Z], Y, X) bool
    spacing : sequence of float

    Returns
    -------
    float
        In units, or units squared. The edges of holes count, too. It is never less than that of a disc (or ball) of the
        same size, as no other has less; this matters for objects of a few pixels.

    References
    ----------
    .. [1] Legland, D., Kiêu, K., Devaux, M.-F. (2007). Computation of Minkowski measures on 2D and 3D binary images.
       Image Analysis and Stereology 26, 83-92. Here the directions are weighed for any spacing.
    """
    pixels = int(np.count_nonzero(mask))
    size = pixels * math.prod(spacing)
    least = 2 * math.sqrt(math.pi * size) if mask.ndim == 2 else math.pi ** (1 / 3) * (6 * size) ** (2 / 3)
    directions = _directions(tuple(float(s) for s in spacing))
    crossings = sum(weight * 2 * (pixels - _overlap(mask, step)) for step, weight in directions)
    return max(least, crossings)


def _overlap(mask: Mask, step: tuple[int, ...]) -> int:
    """Count the pixels whose neighbour one step away is in the object, too."""
    here = tuple(slice(max(0, -s), max(0, n - max(0, s))) for s, n in zip(step, mask.shape, strict=True))
    there = tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(step, mask.shape, strict=True))
    return int(np.count_nonzero(mask[here] & mask[there]))


@lru_cache(maxsize=32)
def _directions(spacing: tuple[float, ...]) -> tuple[tuple[tuple[int, ...], float], ...]:
    """Return the steps, and how much boundary a crossing along each stands for."""
    ndim = len(spacing)
    # Where sections are thick, steps to direct neighbours would nearly all lie in the plane.
    # A ratio of 1.5 counts as 1 in whatever unit it is computed.
    reach = [min(_LONGEST_STEP, int(max(spacing) / side + 0.499999)) for side in spacing]
    every = itertools.product(*(range(-far, far + 1) for far in reach))
    # Of a step and its opposite, one.
    steps = [step for step in every if math.gcd(*step) == 1 and step > (0,) * ndim]
    vectors = np.array(steps) * np.array(spacing)
    lengths = np.linalg.norm(vectors, axis=1)
    angles = _angles(vectors / lengths[:, np.newaxis])
    # The lines in a direction are one pixel's area (or volume) over the length of its step apart.
    weights = angles * math.prod(spacing) / lengths / (2 if ndim == 2 else math.pi)
    return tuple(zip(steps, weights.tolist(), strict=True))


def _angles(units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part of the half circle (pi), or half sphere (2 pi), that is nearest to each direction."""
    if units.shape[1] == 2:
        angles = np.arctan2(units[:, 0], units[:, 1]) % np.pi
        order = np.argsort(angles)
        ring = angles[order]
        gaps = np.diff(np.concatenate([ring[-1:] - np.pi, ring, ring[:1] + np.pi]))
        parts = np.empty_like(angles)
        parts[order] = (gaps[:-1] + gaps[1:]) / 2
        return parts
    from scipy.spatial import SphericalVoronoi

    areas = SphericalVoronoi(np.concatenate([units, -units])).calculate_areas()
    half: NDArray[np.float64] = areas[: len(units)]
    return half


def euler_number(mask: Mask) -> int:
    """Return pieces minus holes of a plane object; pieces minus tunnels plus cavities of a body.

    Corners minus edges plus faces (minus boxes) of the union of all pixels; pixels that share a corner hang together.
    """
    return _alternating(np.pad(mask, 1), 0)


def _alternating(cells: Mask, axis: int) -> int:
    """Count cells with the sign of their dimension, and those between them along `axis` and the axes after it."""
    if axis == cells.ndim:
        return int(np.count_nonzero(cells))
    before: tuple[slice, ...] = (slice(None),) * axis
    between = cells[(*before, slice(1, None))] | cells[(*before, slice(None, -1))]
    return _alternating(between, axis + 1) - _alternating(cells, axis + 1)


def _axes_of_ellipse(mask: Mask, spacing: Sequence[float]) -> tuple[list[float], NDArray[np.float64]]:
    """Return length and direction (a row each) of the axes of the ellipse with the same moments, longest first."""
    ndim, pixels = mask.ndim, np.count_nonzero(mask)
    places = [np.arange(n, dtype=float) for n in mask.shape]
    covariance = np.empty((ndim, ndim))
    for i in range(ndim):
        counts = mask.sum(axis=tuple(k for k in range(ndim) if k != i))
        places[i] -= places[i] @ counts / pixels
        # A pixel has a width of its own.
        covariance[i, i] = (places[i] ** 2) @ counts / pixels + 1 / 12
    for i, j in itertools.combinations(range(ndim), 2):
        joint = mask.sum(axis=tuple(k for k in range(ndim) if k not in (i, j)))
        covariance[i, j] = covariance[j, i] = places[i] @ joint @ places[j] / pixels
    values, vectors = np.linalg.eigh(covariance * np.outer(spacing, spacing))
    # Variance along an axis of length 2a: a²/4 in an ellipse, a²/5 in an ellipsoid.
    lengths = 2 * np.sqrt((ndim + 2) * values[::-1])
    return lengths.tolist(), vectors.T[::-1]


def _hull(mask: Mask, spacing: Sequence[float]) -> tuple[float, float, float]:
    """Return the size of the convex hull, its largest diameter, and (in planes) its smallest."""
    from scipy.spatial import ConvexHull

    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=mask.ndim)))
    points = (np.argwhere(_outermost(mask))[:, np.newaxis] + corners).reshape(-1, mask.ndim)
    # In pixels, because qhull's tolerance doesn't know that sections are thick.
    hull = ConvexHull(np.unique(points, axis=0))
    vertices = hull.points[hull.vertices] * np.asarray(spacing)
    narrowest = _narrowest(vertices) if mask.ndim == 2 else math.nan
    return float(hull.volume) * math.prod(spacing), _largest_distance(vertices), narrowest


def _outermost(mask: Mask) -> Mask:
    """Mark the pixels that are first or last along every axis: the hull has no other corners."""
    kept = mask.copy()
    for axis in range(mask.ndim):
        ends = np.zeros_like(mask)
        first = np.expand_dims(mask.argmax(axis), axis)
        last = np.expand_dims(mask.shape[axis] - 1 - np.flip(mask, axis).argmax(axis), axis)
        np.put_along_axis(ends, first, True, axis)
        np.put_along_axis(ends, last, True, axis)
        kept &= ends
    return kept


def _largest_distance(points: NDArray[np.float64]) -> float:
    from scipy.spatial.distance import cdist

    blocks = (points[start : start + _BLOCK] for start in range(0, len(points), _BLOCK))
    return max(float(cdist(block, points).max()) for block in blocks)


def _narrowest(corners: NDArray[np.float64]) -> float:
    """Return the least width of a convex polygon: one side of it lies on a line."""
    sides = np.roll(corners, -1, axis=0) - corners
    normals = np.stack([sides[:, 1], -sides[:, 0]], axis=1) / np.linalg.norm(sides, axis=1, keepdims=True)
    heights: NDArray[Any] = corners @ normals.T
    return float(np.ptp(heights, axis=0).min())
