"""Regions to labels of one image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.classes import IGNORED, UNNAMED
from napari_segnet.annotations.model import (
    AnnotatedImage,
    Bitmap,
    Ellipse,
    Line,
    Point,
    Polygon,
    Problem,
    Region,
    Runs,
    Shape,
)
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.raster import Window, covered, effort, leaves
from napari_segnet.axes import counted, times
from napari_segnet.config import Task
from napari_segnet.errors import DataError

# What may be drawn in an image: pixels in the boxes of all shapes, or so many times the image. Half a minute of work.
_MOST_PIXELS = 2_000_000_000
_MOST_COVERS = 50
_LARGEST_BOX = 2**28
# Ends of a line this close together, in pixels, are meant to meet.
_MEETS = 1.5


@dataclass(frozen=True)
class Painted:
    """Labels of an image, the classes of its objects where they are numbered, and what didn't fit."""

    labels: NDArray[np.uint32]
    objects: tuple[tuple[int, str], ...]
    regions: int
    problems: tuple[Problem, ...]


def paint(
    image: AnnotatedImage,
    shape: tuple[int, ...],
    task: Task,
    values: Mapping[str, int],
    options: ImportOptions,
) -> Painted:
    """Draw the regions of an image, later ones over earlier ones.

    Parameters
    ----------
    image : AnnotatedImage
    shape : (Y, X), or (Z, Y, X)
        Of the image without channels. A region that names no plane is drawn on all planes.
    task : {"semantic", "instances"}
        Whether a region is drawn with the value of its class, or with a number of its own, from 1 on.
    values : mapping of str to int
        Value of each class. Regions of `options.ignore` become 255, or 0 among numbered objects; those of other
        classes are left out, and said.
    options : ImportOptions

    Returns
    -------
    Painted

    Raises
    ------
    DataError
        If the annotation is of another size than the image, and may not be stretched.
    """
    painter = _Painter(image, shape, task, values, options)
    for region in image.regions:
        painter.draw(region)
    return painter.result()


class _Painter:
    def __init__(
        self,
        image: AnnotatedImage,
        shape: tuple[int, ...],
        task: Task,
        values: Mapping[str, int],
        options: ImportOptions,
    ) -> None:
        self._image, self._task, self._values, self._options = image, task, values, options
        self._labels = np.zeros(shape, np.uint32)
        self._planes = self._labels.reshape(-1, *shape[-2:])
        self._size = (shape[-2], shape[-1])
        self._problems: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._objects: dict[int, str] = {}
        # Numbers of the file are kept if all have one: otherwise nobody knows which are free.
        self._numbered = all(region.number is not None and 0 < region.number < 2**32 for region in image.regions)
        self._pixels_left = max(_MOST_PIXELS, _MOST_COVERS * math.prod(shape))
        self._scale = self._stretch()

    def _stretch(self) -> tuple[float, float] | None:
        said = self._image.size
        if said is None or said == self._size:
            return None
        what = f"It was annotated as {times(said)} pixels, and has {times(self._size)}."
        if not self._options.rescale:
            raise DataError(what, "Use the images that were annotated, or --set rescale=true.")
        self._say(what, "stretched to the image")
        return self._size[0] / said[0], self._size[1] / said[1]

    def draw(self, region: Region) -> None:
        name = region.name or UNNAMED
        value = self._value(name, region.number)
        if value is None:
            self._counts[f"unknown {name}"] += 1
            return
        if self._pixels_left < 0:
            self._counts["too many"] += 1
            return
        try:
            parts = [part for shape in region.shapes for part in self._covered(shape)]
        except DataError as error:
            self._say(f"{name}: {error.problem}", "left out")
            return
        if not any(inside.any() for _, inside in parts):
            self._counts["nothing"] += 1
            return
        planes = self._planes_of(region)
        if planes is None:
            return
        overlaps = False
        for window, inside in parts:
            for plane in planes:
                place = self._planes[plane][window]
                under = place[inside]
                overlaps |= bool(np.any((under != 0) & (under != value)))
                place[inside] = value
        self._counts["overlapping"] += overlaps
        self._counts["drawn"] += 1
        if self._task == "instances" and value:
            self._objects.setdefault(value, name)

    def _value(self, name: str, number: int | None) -> int | None:
        if name in self._options.ignore:
            return IGNORED if self._task == "semantic" else 0
        if name not in self._values:
            return None
        if self._task == "semantic":
            return self._values[name]
        return number if self._numbered and number is not None else len(self._objects) + 1

    def _planes_of(self, region: Region) -> range | None:
        if region.plane is None:
            return range(len(self._planes))
        plane = region.plane if isinstance(region.plane, int) else self._plane_at(*region.plane)
        if not 0 <= plane < len(self._planes):
            self._counts["elsewhere"] += 1
            return None
        return range(plane, plane + 1)

    def _plane_at(self, time: int, depth: int) -> int:
        """Return the number of a plane, or -1; an image of one more axis has the one that is asked for."""
        leading = self._labels.shape[:-2]
        if len(leading) == 2:
            inside = 0 <= time < leading[0] and 0 <= depth < leading[1]
            return time * leading[1] + depth if inside else -1
        return depth if time == 0 else time if depth == 0 else -1

    def _covered(self, shape: Shape) -> list[tuple[Window, NDArray[np.bool_]]]:
        shape = self._fitted(shape)
        if leaves(shape, self._size):
            self._counts["leaving"] += 1
        window, inside = covered(shape, self._size, self._options.line_width, self._options.point_radius)
        self._pixels_left -= inside.size + effort(shape, self._size)
        return [(window, inside)] if inside.size else []

    def _fitted(self, shape: Shape) -> Shape:
        """Close the lines that are outlines, and stretch."""
        if isinstance(shape, Line):
            points = shape.points
            ends = float(np.hypot(*(points[0] - points[-1])))
            if len(points) > 2 and (self._options.fill_lines or (len(points) > 3 and ends <= _MEETS)):
                shape = Polygon((points,))
            else:
                self._counts["lines"] += 1
        return shape if self._scale is None else _stretched(shape, *self._scale)

    def result(self) -> Painted:
        counts = self._counts
        width = f"{self._options.line_width:g}"
        for key, problem, done in (
            ("leaving", "reach out of the image", "cut at its edge"),
            ("nothing", "hold no pixel of the image", "left out"),
            ("elsewhere", "are on planes that the image doesn't have", "left out"),
            ("overlapping", "lie over others", "the later ones are on top"),
            ("too many", "come after others of too many pixels", "left out"),
            ("lines", "are lines that don't end where they began", f"drawn {width} pixels wide (see fill_lines)"),
        ):
            if counts[key]:
                self._say(f"Regions that {problem}: {counts[key]} of {len(self._image.regions)}.", done)
        for key, number in counts.items():
            if key.startswith("unknown "):
                self._say(f"{counted(number, 'region')} of the unknown class {key[8:]!r}.", "left out")
        return Painted(self._labels, tuple(self._objects.items()), counts["drawn"], tuple(self._problems))

    def _say(self, problem: str, done: str) -> None:
        self._problems.append(Problem(self._image.name, problem, done))


def _stretched(shape: Shape, rows: float, columns: float) -> Shape:
    factor = np.array([columns, rows])
    if isinstance(shape, Polygon):
        return Polygon(tuple(ring * factor for ring in shape.rings))
    if isinstance(shape, Line):
        return Line(shape.points * factor)
    if isinstance(shape, Point):
        return Point(shape.x * columns, shape.y * rows)
    if isinstance(shape, Ellipse):
        angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        along, across = shape.radius_x * np.cos(angles), shape.radius_y * np.sin(angles)
        cos, sin = np.cos(shape.angle), np.sin(shape.angle)
        outline = np.column_stack([shape.x + along * cos - across * sin, shape.y + along * sin + across * cos])
        return Polygon((outline * factor,))
    if isinstance(shape, Runs):
        if shape.height * shape.width > _LARGEST_BOX:
            raise DataError(f"A mask of {times((shape.height, shape.width))} pixels is too large to be stretched.")
        box = replace(shape, row=0, column=0)
        shape = Bitmap(covered(box, (shape.height, shape.width))[1], shape.row, shape.column)
    old = shape.pixels.shape
    new = max(1, round(old[0] * rows)), max(1, round(old[1] * columns))
    place = np.ix_(*(np.arange(n) * m // n for n, m in zip(new, old, strict=True)))
    return Bitmap(shape.pixels[place], round(shape.row * rows), round(shape.column * columns))
