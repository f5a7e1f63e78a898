"""Annotations to label files: pair with images, draw, write; and a table of what didn't fit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations import read_annotations
from napari_segnet.annotations.classes import assign_values, class_entries
from napari_segnet.annotations.model import AnnotatedImage, LabelArray, Problem
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.paint import paint
from napari_segnet.axes import times
from napari_segnet.config import LabelClass, Task
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.class_file import CLASS_FILE, write_classes
from napari_segnet.io.images import ImageFile, open_image
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.io.pairing import Paths, file_stem, list_images, pairing_key
from napari_segnet.io.write import write_tiff
from napari_segnet.run import write_atomically


@dataclass(frozen=True)
class Imported:
    """What became of annotations.

    Attributes
    ----------
    files : tuple of Path
        The label files.
    classes : tuple of LabelClass
        What their values mean; for numbered objects what is in ``objects.csv``.
    problems : tuple of Problem
        As in ``problems.csv``.
    regions : int
        How many were drawn.
    """

    files: tuple[Path, ...]
    classes: tuple[LabelClass, ...]
    problems: tuple[Problem, ...]
    task: Task
    regions: int


def import_annotations(
    path: Path | str,
    images: Paths,
    out: Path | str,
    options: ImportOptions | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Imported:
    """Make label files of annotations.

    Parameters
    ----------
    path : Path
        An annotation file, or a folder of them.
    images : Path, or several
        The images that were annotated: they say how large labels are.
    out : Path
        Folder for a label TIFF an image, named by its stem, ``classes.json`` (value -> name, colour), for numbered
        objects ``objects.csv`` (image, number, class), and ``problems.csv`` (file, problem, what was done).
    options : ImportOptions, optional
        What the files don't say themselves.
    on_progress : callable, optional
        Called with the number of images done and of all.

    Returns
    -------
    Imported

    Raises
    ------
    DataError
        If nothing can be read, or no annotation belongs to an image.
    SegNetError
        If `out` can't be written.
    """
    out, options = Path(out), options or ImportOptions()
    found = read_annotations(path, options)
    task: Task = found.task or options.task or "semantic"
    if found.task is not None and options.task not in (None, found.task):
        raise DataError(f"{path} holds {found.task} labels, not {options.task}.", f"Leave out --task {options.task}.")
    problems = list(found.problems)
    files = list_images(images)
    pairs = list(_pair(found.images, files, problems))
    if not pairs:
        annotated = ", ".join(_base(image.name) for image in found.images[:3]) or "none"
        raise DataError(
            f"No annotation of {path} belongs to an image: annotated are {annotated}; images are "
            f"{', '.join(file.name for file in files[:3])}.",
            "Name the folder of the images that were annotated.",
        )
    _check_place(out, [file for _, file in pairs], options.overwrite)
    values = assign_values(found.classes, _used(found.images), options)
    writer = _Writer(out, options, task, values, problems)
    for number, (drawn, file) in enumerate(pairs, start=1):
        writer.write(drawn, file)
        on_progress(number, len(pairs))
    return writer.finish()


def _check_place(out: Path, images: Sequence[Path], overwrite: bool) -> None:
    """Raise `SegNetError` if labels would replace images, or labels that somebody may have corrected."""
    if any(image.parent.resolve() == out.resolve() for image in images):
        raise SegNetError(f"{out} is the folder of the images.", "Choose another --out: labels would replace them.")
    there = [file for image in images if (file := _label_file(out, image)).exists()]
    if there and not overwrite:
        raise SegNetError(
            f"{there[0]} is there already, {len(there)} such in all.",
            "Choose another --out, or replace them with --set overwrite=true.",
        )


def _label_file(out: Path, image: Path) -> Path:
    return out / f"{file_stem(image)}.tif"


def _used(images: Sequence[AnnotatedImage]) -> Iterator[str]:
    for image in images:
        for region in image.regions:
            yield region.name


class _Writer:
    """Writes labels image by image, and in the end what goes with them."""

    def __init__(
        self,
        out: Path,
        options: ImportOptions,
        task: Task,
        values: Mapping[str, tuple[int, str]],
        problems: list[Problem],
    ) -> None:
        self._out, self._options, self._task, self._values, self._problems = out, options, task, values, problems
        self._files: list[Path] = []
        self._objects: list[tuple[str, int, str]] = []
        self._regions = 0

    def write(self, annotated: AnnotatedImage, path: Path) -> None:
        """Write the labels of one image; what can't be read or doesn't fit goes into the problems."""
        try:
            image = open_image(path)
            labels = self._labels(annotated, image)
        except SegNetError as error:
            self._say(path.name, error.problem, "left out")
            return
        if labels is None:
            return
        colours = None
        if self._task == "semantic":
            by_value = dict(self._values.values())
            colours = [by_value.get(value, "#000000") for value in range(min(256, max(by_value, default=0) + 1))]
        file = _label_file(self._out, path)
        axes = image.axes.replace("C", "")
        write_tiff(file, labels, axes, image.pixel_size, image.units, colours)
        self._files.append(file)

    def _labels(self, annotated: AnnotatedImage, image: ImageFile) -> NDArray[np.unsignedinteger] | None:
        shape = image.shape_without_channels
        if annotated.labels is not None:
            return self._mask(annotated.labels(), annotated, shape)
        if not annotated.regions and not self._options.keep_empty:
            self._say(image.path.name, "Nothing is drawn on it.", "left out (--set keep_empty=true: background)")
            return None
        drawn = paint(annotated, shape, self._task, {n: v for n, (v, _) in self._values.items()}, self._options)
        self._problems += [replace(problem, file=image.path.name) for problem in drawn.problems]
        self._objects += [(file_stem(image.path), number, name) for number, name in drawn.objects]
        self._regions += drawn.regions
        return drawn.labels.astype(smallest_unsigned(int(drawn.labels.max())))

    def _mask(
        self, found: LabelArray, annotated: AnnotatedImage, shape: tuple[int, ...]
    ) -> NDArray[np.unsignedinteger] | None:
        self._problems += found.problems
        values = found.values
        if values.shape != shape:
            what = f"Its labels are {times(values.shape)}, the image is {times(shape)}."
            if not self._options.rescale or values.ndim != 2 or len(shape) != 2:
                self._say(annotated.source, what, "left out (--set rescale=true stretches planes)")
                return None
            rows, columns = (np.arange(n) * m // n for n, m in zip(shape, values.shape, strict=True))
            values = values[np.ix_(rows, columns)]
            self._say(annotated.source, what, "stretched to the image")
        if self._task == "instances":
            self._regions += int(np.count_nonzero(np.unique(values)))
        else:
            known = {value for value, _ in self._values.values()} | {0}
            self._regions += len(set(np.unique(values).tolist()) & known - {0})
        return values.astype(smallest_unsigned(int(values.max())))

    def finish(self) -> Imported:
        """Write ``classes.json``, ``objects.csv`` and ``problems.csv``."""
        if not self._files:
            first = self._problems[-1]
            raise DataError(f"No labels could be made; {first.file}: {first.problem}", first.done.capitalize() + ".")
        write_classes(self._out / CLASS_FILE, class_entries(self._values, self._task, self._options))
        if self._task == "instances" and self._objects:
            write_atomically(self._out / "objects.csv", _table(("image", "object", "class"), self._objects))
        rows = [(p.file, p.problem, p.done) for p in self._problems]
        write_atomically(self._out / "problems.csv", _table(("file", "problem", "done"), rows))
        classes = tuple(
            LabelClass(value=value, name=name[:80], colour=colour)
            for name, (value, colour) in sorted(self._values.items(), key=lambda item: item[1][0])
        )
        return Imported(tuple(self._files), classes, tuple(self._problems), self._task, self._regions)

    def _say(self, file: str, problem: str, done: str) -> None:
        self._problems.append(Problem(file, problem, done))


def _pair(
    annotated: Sequence[AnnotatedImage], files: Sequence[Path], problems: list[Problem]
) -> Iterator[tuple[AnnotatedImage, Path]]:
    """Pair by file name, then by stem, then by what a stem has in common with labels; say what has no partner."""
    keys: tuple[Callable[[str], str], ...] = (
        _base,
        lambda name: file_stem(_base(name)),
        lambda name: pairing_key(_base(name)),
    )
    tables = [_by_key(files, key) for key in keys]
    merged: dict[Path, AnnotatedImage] = {}
    for image in annotated:
        found = next((t[key(image.name)] for key, t in zip(keys, tables, strict=True) if key(image.name) in t), [])
        if not found:
            problems.append(Problem(image.source, f"There is no image {_base(image.name)!r}.", "left out"))
        elif len(found) > 1:
            what = f"{_base(image.name)!r} can be {found[0].name} or {found[1].name}."
            problems.append(Problem(image.source, what, "left out"))
        elif found[0] in merged:
            merged[found[0]] = _both(merged[found[0]], image, problems)
        else:
            merged[found[0]] = image
    for path in files:
        if path in merged:
            yield merged[path], path
        else:
            problems.append(Problem(path.name, "It has no annotation.", "left out"))


def _both(one: AnnotatedImage, other: AnnotatedImage, problems: list[Problem]) -> AnnotatedImage:
    """Join two annotations of an image; of two masks the first counts."""
    if one.labels is not None or other.labels is not None:
        problems.append(Problem(other.source, f"{one.source} has labels of {one.name!r} already.", "left out"))
        return one
    return replace(one, regions=(*one.regions, *other.regions))


def _by_key(files: Sequence[Path], key: Callable[[str], str]) -> dict[str, list[Path]]:
    table: dict[str, list[Path]] = {}
    for path in files:
        table.setdefault(key(path.name), []).append(path)
    return table


def _base(name: str) -> str:
    """Return the file name of a path or address that Windows or another system wrote, in lower case."""
    return PureWindowsPath(PurePosixPath(name.replace("\\", "/")).name).name.lower()


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
