"""Label images, as they are written in formats of other programs: their regions, with class, number and plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations import fields
from napari_segnet.annotations.classes import UNNAMED
from napari_segnet.annotations.contours import Piece, pieces
from napari_segnet.annotations.model import Problem
from napari_segnet.annotations.tally import Tally
from napari_segnet.axes import to_stack
from napari_segnet.config import LabelClass, Task
from napari_segnet.data.labels import PALETTE
from napari_segnet.errors import DataError
from napari_segnet.io.class_file import CLASS_FILE, ClassTable
from napari_segnet.io.images import ImageFile

_LARGEST_VALUE = 65535
_IGNORED = "ignored"

ClassOf = Callable[[int], LabelClass]
"""Says the class of a value of labels."""


@dataclass(frozen=True)
class LabelledRegion:
    """An object, or a connected piece of a class.

    `number` is None where labels hold classes. `plane` is time and depth; None: the image has one plane.
    """

    piece: Piece
    drawn: LabelClass
    number: int | None
    plane: tuple[int, int] | None

    def notes(self) -> dict[str, int]:
        """Return what our own importer wants to know besides the outline."""
        notes = {fields.VALUE_KEY: self.drawn.value}
        return notes if self.number is None else notes | {fields.NUMBER_KEY: self.number}


@dataclass(frozen=True)
class LabelledImage:
    """Labels of an image.

    Attributes
    ----------
    name : str
        Name of the image file; where it isn't known, of the label file.
    labels : ImageFile
    image : ImageFile or None
    task : {"semantic", "instances"}
    class_of : callable
        Says the class of a value.
    """

    name: str
    labels: ImageFile
    image: ImageFile | None
    task: Task
    class_of: ClassOf

    def regions(self) -> Iterator[LabelledRegion]:
        """Yield the regions of all planes."""
        for plane, labels in planes_of(self.labels):
            for piece in pieces(labels, self.task):
                number = piece.value if self.task == "instances" else None
                yield LabelledRegion(piece, self.class_of(piece.value), number, plane)


def planes_of(labels: ImageFile) -> Iterator[tuple[tuple[int, int] | None, NDArray[np.unsignedinteger]]]:
    """Yield time and depth (None: there is one plane) and the labels (Y, X) of each plane."""
    stack = to_stack(labels.array, labels.axes)
    for i in range(len(stack)):
        place = dict(zip(stack.leading_axes, stack.index(i), strict=True))
        plane = (place.get("T", 0), place.get("Z", 0)) if place else None
        yield plane, np.asarray(stack[i])[0]


class Names:
    """Knows the classes of label files, and remembers which of them were asked for.

    Parameters
    ----------
    task : {"semantic", "instances"}
    table : ClassTable or None
        What ``classes.json`` says.
    objects : mapping of str to mapping of int to str
        Class of each numbered object of each image, by its stem, from ``objects.csv``.
    """

    def __init__(self, task: Task, table: ClassTable | None, objects: Mapping[str, Mapping[int, str]]) -> None:
        self._task, self._table, self._objects = task, table, objects
        self._known = {c.value: c for c in table.classes} if table is not None else {}
        self._by_name = {c.name: c for c in self._known.values()}
        self._used: dict[int, LabelClass] = {}
        self._tally = Tally(CLASS_FILE, "value")

    def of_image(self, stem: str) -> ClassOf:
        """Return what says the class of a value in the labels of an image."""
        if self._task == "semantic":
            return self._of_value
        named = self._objects.get(stem, {})
        return lambda number: self._of_object(named.get(number, ""))

    def used(self) -> tuple[LabelClass, ...]:
        """Return the classes that were asked for, in the order of their values."""
        return tuple(self._used[value] for value in sorted(self._used))

    def problems(self) -> tuple[Problem, ...]:
        """Return which values nobody has named."""
        return self._tally.problems()

    def _of_value(self, value: int) -> LabelClass:
        if value in self._used:
            return self._used[value]
        if value > _LARGEST_VALUE:
            raise DataError(f"The labels hold the value {value}, which is no class.", "Choose --task instances.")
        found = self._known.get(value)
        if found is None and self._table is not None and value in self._table.ignored:
            found = LabelClass(value=value, name=_IGNORED, colour=PALETTE[-1])
        if found is None:
            found = _new_class(value, f"class {value}")
            if self._table is not None:
                self._tally.add(f"not in {CLASS_FILE}", "called by its number", str(value))
        return self._used.setdefault(value, found)

    def _of_object(self, name: str) -> LabelClass:
        if name not in self._by_name:
            others = [c for c in self._known.values() if c.value]
            if not name and others:
                name = others[0].name
            else:
                value = max(self._known, default=0) + 1
                self._by_name[name] = self._known[value] = _new_class(value, name or UNNAMED)
        found = self._by_name[name]
        return self._used.setdefault(found.value, found)


def _new_class(value: int, name: str) -> LabelClass:
    return LabelClass(value=value, name=name[:80], colour=PALETTE[value % len(PALETTE)])
