"""Labels to objects, and objects to outlines along the edges of pixels: drawing these gives the labels back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.annotations.model import Points
from napari_segnet.config import Task

_ALL_NEIGHBOURS = np.ones((3, 3), bool)
_MOST_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Piece:
    """An object of a plane, or a connected piece of a class.

    Attributes
    ----------
    value : int
        Of the labels: the number of the object, or the value of the class.
    pixels : (Y, X) bool
        Of its box.
    row, column : int
        Of the box's first pixel.
    """

    value: int
    pixels: NDArray[np.bool_]
    row: int
    column: int


def pieces(labels: NDArray[np.unsignedinteger], task: Task) -> Iterator[Piece]:
    """Yield the objects of a plane in the order of their numbers; 0 is none.

    Parameters
    ----------
    labels : (Y, X) unsigned integers
    task : {"semantic", "instances"}
        Whether pixels of a value are one object, or as many as they form connected pieces (diagonals connect).
    """
    if task == "semantic":
        for value in np.unique(labels).tolist():
            if value:
                connected, _ = ndimage.label(labels == value, _ALL_NEIGHBOURS)
                yield from (replace(piece, value=value) for piece in _boxes(connected))
    elif labels.size and labels.max() > _MOST_NUMBERS:
        numbers, index = np.unique(labels, return_inverse=True)
        index = index.reshape(labels.shape) + int(numbers[0] != 0)
        numbers = numbers if numbers[0] == 0 else np.concatenate([[0], numbers])
        yield from (replace(piece, value=int(numbers[piece.value])) for piece in _boxes(index))
    else:
        yield from _boxes(labels)


def _boxes(numbers: NDArray[np.integer]) -> Iterator[Piece]:
    for number, box in enumerate(ndimage.find_objects(numbers.astype(np.int32)), start=1):
        if box is not None:
            yield Piece(number, numbers[box] == number, box[0].start, box[1].start)


def polygons(piece: Piece, tolerance: float = 0.0) -> list[tuple[Points, ...]]:
    """Return the outlines of an object, corners (x, y) in pixels from the upper left corner of the image.

    Along the edges of pixels no ring crosses or touches itself: where pixels meet at a corner only, rings do, too.

    Parameters
    ----------
    piece : Piece
    tolerance : float
        How far from the pixels' edges the outlines may be, pixels; 0: nowhere. (Douglas and Peucker 1973,
        Algorithms for the reduction of the number of points ..., Cartographica 10.) An outline that would lose its
        area is left exact.

    Returns
    -------
    list of tuple of (N, 2) float64
        For each part whose pixels share edges: its outline, and those of the holes in it.
    """
    mask = piece.pixels
    parts, _ = ndimage.label(mask)
    outer: dict[int, Points] = {}
    holes: dict[int, list[Points]] = {}
    for ring in _rings(mask):
        # Right below the leftmost of the uppermost corners is a pixel that lies in the ring.
        x, y = ring[np.lexsort((ring[:, 0], ring[:, 1]))[0]]
        corners = _simplified(ring.astype(np.float64), tolerance) + np.array([piece.column, piece.row])
        if mask[y, x]:
            outer[int(parts[y, x])] = corners
        else:
            holes.setdefault(int(parts[y - 1, x]), []).append(corners)
    return [(ring, *holes.get(part, ())) for part, ring in sorted(outer.items())]


def _simplified(ring: Points, tolerance: float) -> Points:
    if tolerance <= 0:
        return ring
    from skimage.measure import approximate_polygon

    # The two corners farthest apart stay: between them are two open lines, which have ends to hold on to.
    start = int(np.argmax(((ring - ring.mean(axis=0)) ** 2).sum(axis=1)))
    ring = np.roll(ring, -start, axis=0)
    middle = int(np.argmax(((ring - ring[0]) ** 2).sum(axis=1)))
    there = approximate_polygon(ring[: middle + 1], tolerance)
    back = approximate_polygon(np.vstack([ring[middle:], ring[:1]]), tolerance)
    made = np.vstack([there[:-1], back[:-1]])
    return made if len(made) > 2 else ring


def _rings(mask: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Yield the rings (N, 2) of (x, y) corners around a mask's pixels, and around its holes."""
    inside = np.pad(mask, 1).astype(np.int8)
    # Edges between pixels above and below run right where the lower one is inside, so that the inside is on the right;
    # those between pixels to the left and right run down where the left one is.
    across = _segments(inside[1:, :] - inside[:-1, :])
    down = _segments((inside[:, :-1] - inside[:, 1:]).T)
    # Edges have an offset of one pixel along themselves, because the mask was padded.
    row, first, last, right = across
    starts, ends = np.where(right, first, last) - 1, np.where(right, last, first) - 1
    across_from, across_to = np.column_stack([starts, row]), np.column_stack([ends, row])
    column, first, last, below = down
    starts, ends = np.where(below, first, last) - 1, np.where(below, last, first) - 1
    down_from, down_to = np.column_stack([column, starts]), np.column_stack([column, ends])
    width = mask.shape[1] + 1
    after_across = _followers(across_to, right, down_from, below, width)
    after_down = _followers(down_to, ~below, across_from, right, width)
    yield from _follow(across_from, down_from, after_across, after_down)


def _segments(
    edges: NDArray[np.int8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the runs of edges in one direction along each row: row, first, behind the last, and whether forwards."""
    padded = np.pad(edges, ((0, 0), (1, 1)))
    changes = padded[:, 1:] != padded[:, :-1]
    row, first = np.nonzero(changes & (padded[:, 1:] != 0))
    _, last = np.nonzero(changes & (padded[:, :-1] != 0))
    return row.astype(np.int64), first.astype(np.int64), last.astype(np.int64), edges[row, first] > 0


def _followers(
    ends: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    starts: NDArray[np.int64],
    forwards: NDArray[np.bool_],
    width: int,
) -> NDArray[np.int64]:
    """Return which segment begins where each one ends; of two, where pixels meet at a corner, the right turn."""
    keys = 2 * (starts[:, 1] * width + starts[:, 0]) + forwards
    order = np.argsort(keys)
    keys = keys[order]
    vertex = 2 * (ends[:, 1] * width + ends[:, 0])
    found = np.minimum(np.searchsorted(keys, vertex + wanted), len(keys) - 1)
    only = np.minimum(np.searchsorted(keys, vertex), len(keys) - 1)
    return order[np.where(keys[found] == vertex + wanted, found, only)]


def _follow(
    across_from: NDArray[np.int64],
    down_from: NDArray[np.int64],
    after_across: NDArray[np.int64],
    after_down: NDArray[np.int64],
) -> Iterator[NDArray[np.int64]]:
    """Walk along segments, across and down in turn, until each has been walked along."""
    next_down, next_across = after_across.tolist(), after_down.tolist()
    corners_across = list(map(tuple, across_from.tolist()))
    corners_down = list(map(tuple, down_from.tolist()))
    seen = [False] * len(next_down)
    for begin in range(len(seen)):
        ring: list[tuple[int, ...]] = []
        segment = begin
        while not seen[segment]:
            seen[segment] = True
            ring.append(corners_across[segment])
            ring.append(corners_down[next_down[segment]])
            segment = next_across[next_down[segment]]
        if ring:
            yield from _without_touching(ring)


def _without_touching(ring: list[tuple[int, ...]]) -> Iterator[NDArray[np.int64]]:
    """Split a ring that comes to a corner twice."""
    if len(set(ring)) == len(ring):
        yield np.array(ring)
        return
    places: dict[tuple[int, ...], int] = {}
    walked: list[tuple[int, ...]] = []
    for corner in ring:
        if corner in places:
            loop = walked[places[corner] :]
            for passed in loop:
                del places[passed]
            del walked[len(walked) - len(loop) :]
            yield np.array(loop)
        places[corner] = len(walked)
        walked.append(corner)
    yield np.array(walked)
