"""What an annotation file says, whichever program wrote it: images, regions drawn on them, classes, problems.

Coordinates are (x, y) in pixels from the upper left corner of the upper left pixel, as most programs have them: that
pixel covers 0 to 1, and its centre is at 0.5. A region holds the pixels whose centres lie in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_segnet.config import Task

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Polygon:
    """A closed outline; further rings are holes, or islands in them (a pixel is inside an odd number of rings).

    Attributes
    ----------
    rings : tuple of (N, 2) float64
        Corners (x, y); the last is joined to the first.
    """

    rings: tuple[Points, ...]


@dataclass(frozen=True)
class Line:
    """A line through points (N, 2), (x, y). It is drawn as wide as the options say."""

    points: Points


@dataclass(frozen=True)
class Ellipse:
    """An ellipse: centre (x, y), half axes, and the angle from x towards y of the first one, radians."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    angle: float = 0.0


@dataclass(frozen=True)
class Point:
    """A point (x, y). It is drawn as a disc of the radius that the options say."""

    x: float
    y: float


@dataclass(frozen=True)
class Bitmap:
    """Pixels, row by row: (Y, X) bool, and the row and column of the first one."""

    pixels: NDArray[np.bool_]
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Runs:
    """Pixels of a box as lengths of runs: of pixels outside, then inside, then outside ... until the box is full.

    Unlike a `Bitmap` they take no more memory than the file they come from. Make them with `rle.runs`, which checks
    them.

    Attributes
    ----------
    counts : (N,) int64
        Lengths; what they leave of the box is outside.
    height, width : int
        Of the box, pixels.
    row, column : int
        Of its first pixel.
    by_columns : bool
        Whether they go down column by column (COCO), or along row by row.
    """

    counts: NDArray[np.int64]
    height: int
    width: int
    row: int = 0
    column: int = 0
    by_columns: bool = False


Shape = Polygon | Line | Ellipse | Point | Bitmap | Runs


@dataclass(frozen=True)
class Region:
    """One thing that was drawn: its class (empty: the file names none) and its shapes, which belong together.

    `plane` is the plane of a stack, from 0 on, or its time and its depth; None: all of them, or the image has one.
    `number` is what the file calls the object by; regions of one number are one object. Where each region of an image
    has one, they are kept.
    """

    name: str
    shapes: tuple[Shape, ...]
    plane: int | tuple[int, int] | None = None
    number: int | None = None


@dataclass(frozen=True)
class Problem:
    """Something that isn't as it should be: in which file, what, and what was done about it."""

    file: str
    problem: str
    done: str


@dataclass(frozen=True)
class DrawnClass:
    """A class as a file has it; value and colour (``#rrggbb``) are None where it doesn't say."""

    name: str
    value: int | None = None
    colour: str | None = None


@dataclass(frozen=True)
class LabelArray:
    """Labels of a whole image, from a mask: values of the classes, or numbers of objects.

    Attributes
    ----------
    values : (Y, X) or (Z, Y, X) unsigned integers
    problems : sequence of Problem
        What was found while it was read.
    """

    values: NDArray[np.unsignedinteger]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and what was drawn on it.

    Attributes
    ----------
    name : str
        Name of the image file, as the annotation has it: with or without folders and ending.
    source : str
        Name of the annotation file.
    size : (int, int) or None
        Height and width that the annotation file gives.
    regions : sequence of Region
        Later ones lie over earlier ones.
    labels : callable or None
        Reads the labels of a mask, when it is their turn; then there are no regions.
    named : bool
        False where the file names no image, and `name` is its own: one such goes with one image of any name.
    """

    name: str
    source: str
    size: tuple[int, int] | None = None
    regions: Sequence[Region] = ()
    labels: Callable[[], LabelArray] | None = None
    named: bool = True


@dataclass(frozen=True)
class Annotations:
    """Everything that a file, or a folder of files, says.

    `task` is what the file can only mean; None: regions, which can be told apart or not. A class that only regions
    name need not be among `classes`. `ignored` are values of masks that don't count.
    """

    images: tuple[AnnotatedImage, ...]
    classes: tuple[DrawnClass, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    task: Task | None = None
    ignored: tuple[int, ...] = ()
