"""What an annotation says of an image, drawn as labels; and the table of what didn't fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.classes import IGNORED, assign_values
from napari_segnet.annotations.model import AnnotatedImage, Annotations, LabelArray, Problem
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.paint import paint
from napari_segnet.axes import counted, times
from napari_segnet.config import LabelClass, Task
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.labels import smallest_unsigned


class Draftsman:
    """Draws the labels of one image after another, and remembers what didn't fit.

    Parameters
    ----------
    found : Annotations
    options : ImportOptions

    Attributes
    ----------
    task : {"semantic", "instances"}
    values : dict of str to (int, str)
        Value and colour of each class.
    problems : list of Problem
    objects : list of (str, int, str)
        Image, number and class of each numbered object.
    regions : int
        How many were drawn.

    Raises
    ------
    DataError
        If the annotations can't be of the task that `options` asks for, or there are too many classes.
    """

    def __init__(self, found: Annotations, options: ImportOptions) -> None:
        if found.task is not None and options.task not in (None, found.task):
            raise DataError(f"These are {found.task} labels, not {options.task}.", f"Leave out --task {options.task}.")
        self._found, self._options = found, options
        self.task: Task = found.task or options.task or "semantic"
        self.values = assign_values(found.classes, _used(found.images), options, found.ignored)
        self.problems = list(found.problems)
        names = {c.name for c in found.classes} | set(_used(found.images))
        for name in options.ignore:
            if name not in names:
                self.say("", f"No class is called {name!r}.", "nothing is ignored for it")
        self.objects: list[tuple[str, int, str]] = []
        self.regions = 0

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in the order of their values."""
        known = sorted(self.values.items(), key=lambda item: item[1][0])
        return tuple(LabelClass(value=value, name=name[:80], colour=colour) for name, (value, colour) in known)

    def say(self, file: str, problem: str, done: str) -> None:
        """Put a line into the table of problems."""
        self.problems.append(Problem(file, problem, done))

    def draw(self, annotated: AnnotatedImage, shape: tuple[int, ...], name: str) -> NDArray[np.unsignedinteger] | None:
        """Draw the labels of an image.

        Parameters
        ----------
        annotated : AnnotatedImage
        shape : (Y, X), or (Z, Y, X)
            Of the image without channels.
        name : str
            What to call the image in the tables.

        Returns
        -------
        unsigned integer array of `shape`
            Of the smallest type; None if there is nothing, which the table of problems says.
        """
        try:
            if annotated.labels is not None:
                return self._mask(annotated.labels(), annotated, shape)
            if not annotated.regions and not self._options.keep_empty:
                self.say(name, "Nothing is drawn on it.", "left out (--set keep_empty=true: background)")
                return None
            numbers = {title: value for title, (value, _) in self.values.items()}
            drawn = paint(annotated, shape, self.task, numbers, self._options)
        except SegNetError as error:
            self.say(name, error.problem, "left out")
            return None
        if not drawn.regions and not self._options.keep_empty:
            self.say(name, "None of its regions could be drawn.", "left out (--set keep_empty=true: background)")
            self.problems += [replace(problem, file=name) for problem in drawn.problems]
            return None
        self.problems += [replace(problem, file=name) for problem in drawn.problems]
        self.objects += [(name, number, title) for number, title in drawn.objects]
        self.regions += drawn.regions
        return drawn.labels.astype(smallest_unsigned(int(drawn.labels.max())))

    def _mask(
        self, found: LabelArray, annotated: AnnotatedImage, shape: tuple[int, ...]
    ) -> NDArray[np.unsignedinteger] | None:
        self.problems += found.problems
        values = found.values
        if values.shape != shape:
            what = f"Its labels are {times(values.shape)}, the image is {times(shape)}."
            if not self._options.rescale or values.ndim != 2 or len(shape) != 2:
                self.say(annotated.source, what, "left out (--set rescale=true stretches planes)")
                return None
            rows, columns = (np.arange(n) * m // n for n, m in zip(shape, values.shape, strict=True))
            values = values[np.ix_(rows, columns)]
            self.say(annotated.source, what, "stretched to the image")
        if self.task == "semantic":
            values = self._renumbered(values, annotated.source)
        self.regions += len(set(np.unique(values).tolist()) - {0, IGNORED})
        return values.astype(smallest_unsigned(int(values.max())))

    def _renumbered(self, values: NDArray[np.unsignedinteger], source: str) -> NDArray[np.unsignedinteger]:
        """Give classes of a mask the values that they have here, and leave out those that nobody wants."""
        table = np.arange(int(values.max()) + 1, dtype=np.uint32)
        for drawn in self._found.classes:
            if drawn.value is None or drawn.value >= len(table):
                continue
            if drawn.name in self._options.ignore:
                table[drawn.value] = IGNORED
            elif drawn.name in self.values:
                table[drawn.value] = self.values[drawn.name][0]
            else:
                table[drawn.value] = 0
                number = int(np.count_nonzero(values == drawn.value))
                if number:
                    what = f"{counted(number, 'pixel')} of the unknown class {drawn.name!r}."
                    self.say(source, what, "left out (0)")
        renumbered: NDArray[np.unsignedinteger] = table[values]
        return renumbered


def _used(images: Sequence[AnnotatedImage]) -> Iterator[str]:
    for image in images:
        for region in image.regions:
            yield region.name
