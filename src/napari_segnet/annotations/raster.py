"""Shapes to pixels: which pixels' centres lie inside, in time and memory that hostile files can't blow up."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.model import Bitmap, Ellipse, Line, Point, Points, Polygon, Runs, Shape
from napari_segnet.errors import DataError

# Edges of a polygon cross rows of the image; counting more crossings than these would take minutes.
_MOST_CROSSINGS = 50_000_000
_PIXELS_A_CROSSING = 5
_CHUNK = 1_000_000
_FARTHEST = 1e9
_SMALLEST = 1e-9

Window = tuple[slice, slice]


def covered(
    shape: Shape, size: tuple[int, int], line_width: float = 3.0, point_radius: float = 3.0
) -> tuple[Window, NDArray[np.bool_]]:
    """Return which pixels of an image a shape covers.

    Parameters
    ----------
    shape : Polygon, Line, Ellipse, Point, Bitmap or Runs
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
    if isinstance(shape, Runs):
        return _runs(shape, size)
    return _bitmap(shape, size)


def effort(shape: Shape, size: tuple[int, int]) -> int:
    """Return how much work the edges of an outline or a line are, in pixels that could be filled in the same time."""
    if not isinstance(shape, Polygon | Line):
        return 0
    points = np.concatenate(shape.rings) if isinstance(shape, Polygon) else shape.points
    rows = np.abs(np.diff(np.clip(points[:, 1], 0, size[0]))).sum()
    return int(rows * _PIXELS_A_CROSSING) if np.isfinite(rows) else 0


def leaves(shape: Shape, size: tuple[int, int], tolerance: float = 1.0) -> bool:
    """Say whether a shape reaches out of an image by more than `tolerance` pixels."""
    low, high = _extent(shape)
    return bool(
        low.min() < -tolerance or high[0] > size[1] + tolerance or high[1] > size[0] + tolerance or (low > high).any()
    )


def _extent(shape: Shape) -> tuple[Points, Points]:
    """Return the smallest and the largest (x, y) of a shape."""
    if isinstance(shape, Bitmap | Runs):
        height, width = shape.pixels.shape if isinstance(shape, Bitmap) else (shape.height, shape.width)
        return np.array([shape.column, shape.row], float), np.array([shape.column + width, shape.row + height], float)
    if isinstance(shape, Ellipse):
        centre, reach = np.array([shape.x, shape.y], np.float64), np.array(_reach(shape), np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what that gives is refused
            return centre - reach, centre + reach
    if isinstance(shape, Point):
        return np.array([shape.x, shape.y]), np.array([shape.x, shape.y])
    points = np.concatenate(shape.rings) if isinstance(shape, Polygon) else shape.points
    return points.min(axis=0), points.max(axis=0)


def _reach(ellipse: Ellipse) -> tuple[float, float]:
    if not math.isfinite(ellipse.angle):
        return math.nan, math.nan
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
    window = _window(*_extent(ellipse), size)
    y, x = _centres(window)
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)
    along = (x - ellipse.x) * cos + (y - ellipse.y) * sin
    across = (y - ellipse.y) * cos - (x - ellipse.x) * sin
    if min(ellipse.radius_x, ellipse.radius_y) < _SMALLEST:
        return window, np.zeros(np.broadcast_shapes(y.shape, x.shape), bool)
    return window, (along / ellipse.radius_x) ** 2 + (across / ellipse.radius_y) ** 2 <= 1


def _bitmap(bitmap: Bitmap, size: tuple[int, int]) -> tuple[Window, NDArray[np.bool_]]:
    window = _window(*_extent(bitmap), size)
    rows, columns = window
    inside = bitmap.pixels[
        rows.start - bitmap.row : rows.stop - bitmap.row, columns.start - bitmap.column : columns.stop - bitmap.column
    ]
    return window, inside


def _runs(runs: Runs, size: tuple[int, int]) -> tuple[Window, NDArray[np.bool_]]:
    """Decode the part of the box that lies in the image; memory grows with that part, not with the box."""
    window = _window(*_extent(runs), size)
    # Runs go along lines of the box: rows, or columns. Of these the window holds some, and of each a part.
    lines, part = (window[1], window[0]) if runs.by_columns else window
    length = runs.height if runs.by_columns else runs.width
    first, before = (runs.column, runs.row) if runs.by_columns else (runs.row, runs.column)
    count, width = lines.stop - lines.start, part.stop - part.start
    edges = np.concatenate([[0], np.cumsum(runs.counts), [runs.height * runs.width]])
    line, place = np.divmod(edges, length)
    place = np.clip(place - (part.start - before), 0, width)
    # The ends of the runs in the window, pixel after pixel: runs outside of it have no length there.
    edges = np.clip((line - (lines.start - first)) * width + place, 0, count * width)
    inside = np.arange(len(edges) - 1) % 2 == 1
    inside[-1] = False
    pixels = np.repeat(inside, np.diff(edges)).reshape(count, width)
    return window, pixels.T if runs.by_columns else pixels


def _line(points: Points, size: tuple[int, int], half: float) -> tuple[Window, NDArray[np.bool_]]:
    """Fill the discs around all points, and the strips between them, row by row."""
    window = _window(points.min(axis=0) - half, points.max(axis=0) + half, size)
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if height <= 0 or width <= 0:
        return window, np.zeros((max(height, 0), max(width, 0)), bool)
    points = np.clip(points, -_FARTHEST, _FARTHEST)
    starts, stops = points[:-1], points[1:]
    lengths = np.hypot(*(stops - starts).T)
    long = lengths > _SMALLEST
    starts, stops, lengths = starts[long], stops[long], lengths[long]
    side = np.column_stack([starts[:, 1] - stops[:, 1], stops[:, 0] - starts[:, 0]]) * (half / lengths)[:, None]
    corners = np.stack([starts + side, stops + side, stops - side, starts - side], axis=1)
    depth = np.zeros(height * (width + 1), np.int16)
    _count_edges(depth, corners.reshape(-1, 2), np.roll(corners, -1, axis=1).reshape(-1, 2), window, "line")
    _count_discs(depth, points, half, window)
    # All strips are walked around in one direction, so that what is inside any of them has a depth above 0.
    crossed = depth.reshape(height, width + 1)
    np.cumsum(crossed, axis=1, dtype=np.int16, out=crossed)
    return window, crossed[:, :width] > 0


def _count_discs(depth: NDArray[np.signedinteger], centres: Points, radius: float, window: Window) -> None:
    """Add 1 where a row enters a disc, and take it away behind it."""
    rows, columns = window
    first, last = _rows_between(centres[:, 1] - radius, centres[:, 1] + radius, rows)
    _check_crossings(int((last - first).sum()), len(centres), "line")
    for disc, row in _crossings(first, last):
        reach = np.sqrt(np.maximum(radius**2 - (row + 0.5 - centres[disc, 1]) ** 2, 0))
        place = (row - rows.start) * (columns.stop - columns.start + 1)
        np.add.at(depth, place + _columns_from(centres[disc, 0] - reach, columns), 1)
        np.add.at(depth, place + _columns_from(centres[disc, 0] + reach, columns), -1)


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
    # Only odd or even depths count, so that bytes may overflow.
    depth = np.zeros(height * (width + 1), np.int8)
    _count_edges(depth, starts, stops, window, "polygon")
    crossed = np.cumsum(depth.reshape(height, width + 1), axis=1, dtype=np.int8)
    return window, (crossed[:, :width] & 1).astype(bool)


def _count_edges(depth: NDArray[np.signedinteger], starts: Points, stops: Points, window: Window, kind: str) -> None:
    """Add 1 to a row's first pixel right of each edge that goes down, and take 1 away for those that go up."""
    rows, columns = window
    up = starts[:, 1] > stops[:, 1]
    first, last = _rows_between(np.minimum(starts[:, 1], stops[:, 1]), np.maximum(starts[:, 1], stops[:, 1]), rows)
    _check_crossings(int((last - first).sum()), len(starts), kind)
    for edge, row in _crossings(first, last):
        share = (row + 0.5 - starts[edge, 1]) / (stops[edge, 1] - starts[edge, 1])
        x = starts[edge, 0] + share * (stops[edge, 0] - starts[edge, 0])
        place = (row - rows.start) * (columns.stop - columns.start + 1) + _columns_from(x, columns)
        np.add.at(depth, place, np.where(up[edge], -1, 1).astype(depth.dtype))


def _check_crossings(crossings: int, corners: int, kind: str) -> None:
    if crossings > _MOST_CROSSINGS:
        raise DataError(
            f"A {kind} of {corners} corners is too intricate to be drawn.", "Simplify it, or split it in parts."
        )


def _rows_between(low: Points, high: Points, rows: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row whose centre is at or behind `low`, and the first one at or behind `high`.

    A corner at the centre of a row counts for one of its two edges, then.
    """
    first = np.clip(np.ceil(low - 0.5), rows.start, rows.stop).astype(np.int64)
    return first, np.clip(np.ceil(high - 0.5), rows.start, rows.stop).astype(np.int64)


def _columns_from(x: Points, columns: slice) -> NDArray[np.int64]:
    """Return the first pixel, counted from the window's left, whose centre is at or right of `x`."""
    column = np.clip(np.ceil(x - 0.5), columns.start, columns.stop).astype(np.int64)
    return np.asarray(column - columns.start)


def _crossings(
    first: NDArray[np.int64], last: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of an edge and a row that it crosses, about a million at a time."""
    counts = last - first
    edges = np.flatnonzero(counts > 0)
    if not edges.size:
        return
    groups = np.cumsum(counts[edges]) // _CHUNK
    for chunk in np.split(edges, np.flatnonzero(np.diff(groups)) + 1):
        number = counts[chunk]
        edge = np.repeat(chunk, number)
        yield edge, np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + first[edge]
