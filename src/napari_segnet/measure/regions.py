"""Area fractions and densities of objects over regions, such as those drawn as Shapes in the viewer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.model import Ellipse, Polygon, Region, Shape
from napari_segnet.annotations.raster import covered
from napari_segnet.axes import ArrayLike
from napari_segnet.config import LabelClass, Task, Unlabelled
from napari_segnet.errors import DataError
from napari_segnet.measure.cover import class_rows
from napari_segnet.measure.grid import make_grid
from napari_segnet.measure.meaning import OBJECT, LabelMeaning, check_labels, check_size, find_meaning
from napari_segnet.measure.objects import Objects, measure_objects
from napari_segnet.measure.options import ObjectOptions

if TYPE_CHECKING:
    import pandas as pd

_CLOSED = ("polygon", "rectangle", "ellipse")
_CORNERS = 4


def region_of(vertices: ArrayLike, kind: str = "polygon", name: str = "") -> Region:
    """Make a region of what was drawn as a shape.

    Parameters
    ----------
    vertices : (N, 2), (N, 3) or (N, 4) float
        Corners ([t], [z], y, x) in pixels, as napari has them: the centre of the first pixel is at 0. An ellipse has
        the four corners of the box around it. With a z the region lies in one plane (and time), without in all.
    kind : {"polygon", "rectangle", "ellipse"}
    name : str

    Returns
    -------
    Region

    Raises
    ------
    DataError
        If the shape encloses no area, is oblique to the planes, or its coordinates can't be used.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if kind not in _CLOSED:
        raise DataError(f"A shape of the kind {kind!r} encloses no area.", f"Draw one of these: {', '.join(_CLOSED)}.")
    if points.ndim != 2 or points.shape[1] not in (2, 3, 4) or len(points) < 3 or not np.isfinite(points).all():
        raise DataError(
            f"A {kind} with vertices of the shape {points.shape} is no region.",
            "Give finite numbers: at least three corners (y, x).",
        )
    place = [round(float(number)) for number in points[0, :-2]]
    if np.any(np.ptp(points[:, :-2], axis=0) > 0.5):
        raise DataError(f"The {kind} around plane {place[-1]} lies in several planes.", "Draw it in one plane.")
    plane = (place[0], place[1]) if len(place) == 2 else place[0] if place else None
    # Pixel centres are at whole numbers here, and half a pixel farther in files of other programs.
    corners = points[:, :-3:-1] + 0.5
    return Region(name, (_ellipse(corners) if kind == "ellipse" else Polygon((corners,)),), plane)


def _ellipse(corners: NDArray[np.float64]) -> Shape:
    """Return the ellipse in a parallelogram: that of a turned or sheared box."""
    if len(corners) != _CORNERS:
        raise DataError(f"An ellipse has {_CORNERS} corners, not {len(corners)}.", "Give those of the box around it.")
    centre = corners.mean(axis=0)
    halves = np.stack([corners[1] - corners[0], corners[3] - corners[0]], axis=1) / 2
    directions, radii, _ = np.linalg.svd(halves)
    angle = math.atan2(directions[1, 0], directions[0, 0])
    return Ellipse(float(centre[0]), float(centre[1]), float(radii[0]), float(radii[1]), angle)


def measure_regions(
    labels: ArrayLike,
    regions: Sequence[Region] | ArrayLike,
    *,
    objects: Objects | None = None,
    spacing: float | Sequence[float] | None = None,
    units: str | None = None,
    task: Task | None = None,
    unlabelled: Unlabelled = "background",
    ignore_values: Sequence[int] = (),
    classes: Sequence[LabelClass] = (),
    meaning: LabelMeaning | None = None,
    options: ObjectOptions | None = None,
) -> pd.DataFrame:
    """Measure what lies in each region.

    Parameters
    ----------
    labels : ([Z], Y, X) whole numbers
    regions : sequence of Region, or ([Z], Y, X) whole numbers
        What was drawn (see `region_of`): regions may overlap, and are cut off at the edge of the image. Or a label
        image: each value but 0 is a region.
    objects : Objects, optional
        Those of the same labels, where they have been measured already.
    spacing, units, task, unlabelled, ignore_values, classes, meaning, options
        As for `napari_segnet.measure.objects.measure_objects`.

    Returns
    -------
    DataFrame
        A row a region and class: ``region`` (its number), ``region_name``, ``region_area`` (``region_volume``) in
        units, fraction and area of the class as in `napari_segnet.measure.cover.cover_fractions`; ``objects``: those of
        the class whose centroid is in the region; ``density``: objects per unit of the area that counts.

    Raises
    ------
    DataError
        If there are no regions, sizes don't agree, or a shape is too intricate to be drawn.
    """
    import pandas as pd

    values = check_labels(labels)
    grid = make_grid(values.ndim, spacing, units)
    meaning = meaning or find_meaning(
        [values], task=task, unlabelled=unlabelled, ignore_values=ignore_values, classes=classes
    )
    if objects is None:
        objects = measure_objects(values, spacing=spacing, units=units, meaning=meaning, options=options)
    letters = "zyx"[-values.ndim :]
    places = np.stack([objects.table[f"centroid_{letter}"] for letter in letters], axis=1) / np.array(grid.spacing)
    centres = np.rint(places.astype(np.float64)).astype(np.int64)
    # Numbered objects may have classes of their own, but cover is that of all.
    of_class = objects.table["class"].to_numpy() if meaning.task == "semantic" else np.full(len(places), OBJECT)
    semantic = meaning.semantic(values)
    size = "area" if values.ndim == 2 else "volume"
    rows: list[dict[str, Any]] = []
    for number, name, mask in _masks(regions, values.shape):
        inside = mask[tuple(centres.T)]
        for row in class_rows(semantic, meaning, grid, mask):
            count = int(np.count_nonzero(inside & (of_class == row["class"])))
            area = row["counted_pixels"] * grid.pixel
            rows.append(
                {
                    "region": number,
                    "region_name": name,
                    f"region_{size}": int(np.count_nonzero(mask)) * grid.pixel,
                    **row,
                    "objects": count,
                    "density": count / area if area else math.nan,
                }
            )
    if not rows:
        raise DataError("There are no regions.", "Draw some, or give a label image with values besides 0.")
    return pd.DataFrame(rows)


def _masks(
    regions: Sequence[Region] | ArrayLike, shape: tuple[int, ...]
) -> Iterator[tuple[int, str, NDArray[np.bool_]]]:
    """Yield number, name and pixels of each region."""
    if isinstance(regions, Sequence):
        for number, region in enumerate(regions, start=1):
            yield number, region.name or f"region {number}", region_mask(region, shape)
        return
    numbers = check_labels(regions)
    check_size(numbers.shape, np.empty(shape, np.uint8), "The image of regions")
    for value in np.unique(numbers).tolist():
        if value:
            yield value, f"region {value}", numbers == value


def region_mask(region: Region, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels of an image ([Z], Y, X) whose centres lie in a region, as bool.

    Raises
    ------
    DataError
        If a shape is too intricate to be drawn.
    """
    plane = np.zeros(shape[-2:], bool)
    for part in region.shapes:
        window, inside = covered(part, (shape[-2], shape[-1]))
        if inside.size:
            plane[window] |= inside
    if len(shape) == 2:
        return plane
    whole = np.zeros(shape, bool)
    depth = region.plane[1] if isinstance(region.plane, tuple) else region.plane
    if depth is None:
        whole[:] = plane
    elif 0 <= depth < shape[0]:
        whole[depth] = plane
    return whole
