"""Shapes to pixels: which pixels' centres lie inside, in time and memory that hostile files can't blow up."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.model import Bitmap, Ellipse, Line, Point, Points, Polygon, Shape
from napari_segnet.errors import DataError

# Edges of a polygon cross rows of the image; counting more crossings than these would take minutes.
_MOST_CROSSINGS = 50_000_000
_CHUNK = 1_000_000
_MOST_POINTS = 20_000
_FARTHEST = 1e9

Window = tuple[slice, slice]


def covered(
    shape: Shape, size: tuple[int, int], line_width: float = 3.0, point_radius: float = 3.0
) -> tuple[Window, NDArray[np.bool_]]:
    """Return which pixels of an image a shape covers.

    Parameters
    ----------
    shape : Polygon, Line, Ellipse, Point or Bitmap
    size : (int, int)
        Height and width of the image, pixels.
    line_width, point_radius : float
        How wide lines and how large points are drawn, pixels.

    Returns
    -------
    window : (slice, slice)
        Rows and columns of the image around the shape; empty if it lies outside.
    inside : bool array
        Its size is the window's.

    Raises
    ------
    DataError
        If coordinates are no numbers, or the shape is too intricate to be drawn.
    """
    if isinstance(shape, Polygon):
        return _polygon(shape.rings, size)
    if isinstance(shape, Ellipse):
        return _ellipse(shape, size)
    if isinstance(shape, Point):
        return _ellipse(Ellipse(shape.x, shape.y, point_radius, point_radius), size)
    if isinstance(shape, Line):
        return _line(shape.points, size, line_width / 2)
    return _bitmap(shape, size)


def leaves(shape: Shape, size: tuple[int, int], tolerance: float = 1.0) -> bool:
    """Say whether a shape reaches out of an image by more than `tolerance` pixels."""
    low, high = _extent(shape)
    return bool(
        low.min() < -tolerance or high[0] > size[1] + tolerance or high[1] > size[0] + tolerance or (low > high).any()
    )


def _extent(shape: Shape) -> tuple[Points, Points]:
    """Return the smallest and the largest (x, y) of a shape."""
    if isinstance(shape, Bitmap):
        height, width = shape.pixels.shape
        return np.array([shape.column, shape.row], float), np.array([shape.column + width, shape.row + height], float)
    if isinstance(shape, Ellipse):
        centre, reach = np.array([shape.x, shape.y], np.float64), np.array(_reach(shape), np.float64)
        return centre - reach, centre + reach
    if isinstance(shape, Point):
        return np.array([shape.x, shape.y]), np.array([shape.x, shape.y])
    points = np.concatenate(shape.rings) if isinstance(shape, Polygon) else shape.points
    return points.min(axis=0), points.max(axis=0)


def _reach(ellipse: Ellipse) -> tuple[float, float]:
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)
    return (
        math.hypot(ellipse.radius_x * cos, ellipse.radius_y * sin),
        math.hypot(ellipse.radius_x * sin, ellipse.radius_y * cos),
    )


def _window(low: Points, high: Points, size: tuple[int, int]) -> Window:
    """Return the rows and columns whose centres can lie between two corners (x, y)."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError("A shape has coordinates that are no numbers.", "Draw it again.")
    low, high = np.clip(low, -_FARTHEST, _FARTHEST), np.clip(high, -_FARTHEST, _FARTHEST)
    spans = []
    for start, stop, length in ((low[1], high[1], size[0]), (low[0], high[0], size[1])):
        first = min(length, max(0, math.ceil(start - 0.5)))
        spans.append(slice(first, max(first, min(length, math.floor(stop - 0.5) + 1))))
    return spans[0], spans[1]


def _centres(window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return y of the rows (N, 1) and x of the columns (1, M) of a window."""
    rows, columns = window
    y, x = (np.arange(part.start, part.stop, dtype=np.float64) + 0.5 for part in (rows, columns))
    return y[:, None], x[None]


def _ellipse(ellipse: Ellipse, size: tuple[int, int]) -> tuple[Window, NDArray[np.bool_]]:
    centre, reach = np.array([ellipse.x, ellipse.y]), np.array(_reach(ellipse))
    window = _window(centre - reach, centre + reach, size)
    y, x = _centres(window)
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)
    along = (x - ellipse.x) * cos + (y - ellipse.y) * sin
    across = (y - ellipse.y) * cos - (x - ellipse.x) * sin
    if ellipse.radius_x <= 0 or ellipse.radius_y <= 0:
        return window, np.zeros(np.broadcast_shapes(y.shape, x.shape), bool)
    return window, (along / ellipse.radius_x) ** 2 + (across / ellipse.radius_y) ** 2 <= 1


def _bitmap(bitmap: Bitmap, size: tuple[int, int]) -> tuple[Window, NDArray[np.bool_]]:
    window = _window(*_extent(bitmap), size)
    rows, columns = window
    inside = bitmap.pixels[
        rows.start - bitmap.row : rows.stop - bitmap.row, columns.start - bitmap.column : columns.stop - bitmap.column
    ]
    return window, inside


def _line(points: Points, size: tuple[int, int], half: float) -> tuple[Window, NDArray[np.bool_]]:
    if len(points) > _MOST_POINTS:
        raise DataError(f"A line through {len(points)} points is too intricate to be drawn.", "Simplify it.")
    window = _window(points.min(axis=0) - half, points.max(axis=0) + half, size)
    inside = np.zeros((window[0].stop - window[0].start, window[1].stop - window[1].start), bool)
    parts: list[Shape] = [Ellipse(float(x), float(y), half, half) for x, y in points]
    for start, stop in pairwise(points):
        length = float(np.hypot(*(stop - start)))
        if length > 0:
            side = np.array([start[1] - stop[1], stop[0] - start[0]]) * (half / length)
            parts.append(Polygon((np.array([start + side, stop + side, stop - side, start - side]),)))
    for part in parts:
        (rows, columns), covers = covered(part, size)
        place = (
            slice(rows.start - window[0].start, rows.stop - window[0].start),
            slice(columns.start - window[1].start, columns.stop - window[1].start),
        )
        if covers.size:
            inside[place] |= covers
    return window, inside


def _polygon(rings: tuple[Points, ...], size: tuple[int, int]) -> tuple[Window, NDArray[np.bool_]]:
    """Fill by scan lines: each edge is counted where it crosses the line through the centres of a row."""
    points = np.concatenate(rings)
    window = _window(points.min(axis=0), points.max(axis=0), size)
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if height <= 0 or width <= 0:
        return window, np.zeros((max(height, 0), max(width, 0)), bool)
    starts = np.clip(points, -_FARTHEST, _FARTHEST)
    stops = np.clip(np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]), -_FARTHEST, _FARTHEST)
    low, high = np.minimum(starts[:, 1], stops[:, 1]), np.maximum(starts[:, 1], stops[:, 1])
    # Row r is crossed if its centre r + 0.5 is in [low, high): a corner counts for one of its two edges.
    first = np.clip(np.ceil(low - 0.5), rows.start, rows.stop).astype(np.int64)
    last = np.clip(np.ceil(high - 0.5), rows.start, rows.stop).astype(np.int64)
    counts = last - first
    if counts.sum() > _MOST_CROSSINGS:
        raise DataError(
            f"A polygon of {len(points)} corners is too intricate to be drawn.", "Simplify it, or split it in parts."
        )
    # How often a pixel's left side is crossed; only odd or even counts, so that bytes may overflow.
    flips = np.zeros(height * (width + 1), np.uint8)
    edges = np.flatnonzero(counts)
    for chunk in _chunks(edges, counts[edges]):
        number = counts[chunk]
        edge = np.repeat(chunk, number)
        row = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + first[edge]
        share = (row + 0.5 - starts[edge, 1]) / (stops[edge, 1] - starts[edge, 1])
        x = starts[edge, 0] + share * (stops[edge, 0] - starts[edge, 0])
        # The first pixel whose centre is right of the crossing.
        column = np.clip(np.ceil(x - 0.5), columns.start, columns.stop).astype(np.int64) - columns.start
        np.add.at(flips, (row - rows.start) * (width + 1) + column, 1)
    crossed = np.cumsum(flips.reshape(height, width + 1), axis=1, dtype=np.uint8)
    return window, (crossed[:, :width] & 1).astype(bool)


def _chunks(edges: NDArray[np.int64], counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split edges so that each part has about a million crossings."""
    if not edges.size:
        return []
    groups = np.cumsum(counts) // _CHUNK
    return np.split(edges, np.flatnonzero(np.diff(groups)) + 1)
