"""Annotations to label files: pair with images, draw, write; and a table of what didn't fit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_segnet.annotations import read_annotations
from napari_segnet.annotations.classes import class_entries
from napari_segnet.annotations.drawing import Draftsman
from napari_segnet.annotations.matching import base_name, pair_images
from napari_segnet.annotations.model import AnnotatedImage, Problem
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.config import LabelClass, Task
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.class_file import CLASS_FILE, ClassEntry, write_classes
from napari_segnet.io.images import open_image
from napari_segnet.io.pairing import Paths, file_stem, is_label_name, list_images
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
    draftsman = Draftsman(found, options)
    files = list_images(images)
    if Path(path).is_dir() and {file.parent for file in files} == {Path(path)}:
        files = [file for file in files if not is_label_name(file)]  # images and masks lie side by side
    pairs = list(pair_images(found.images, files, draftsman.say))
    if not pairs:
        annotated = ", ".join(base_name(image.name) for image in found.images[:3]) or "none"
        raise DataError(
            f"No annotation of {path} belongs to an image: annotated are {annotated}; images are "
            f"{', '.join(file.name for file in files[:3])}.",
            "Name the folder of the images that were annotated.",
        )
    _check_place(out, [file for _, file in pairs], options.overwrite)
    writer = _Writer(out, draftsman)
    for number, (drawn, file) in enumerate(pairs, start=1):
        writer.write(drawn, file)
        on_progress(number, len(pairs))
    return writer.finish(class_entries(draftsman.values, draftsman.task, options, found.ignored))


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


class _Writer:
    """Writes labels image by image, and in the end what goes with them."""

    def __init__(self, out: Path, draftsman: Draftsman) -> None:
        self._out, self._draftsman = out, draftsman
        self._colours = {c.value: c.colour for c in draftsman.classes}
        self._files: list[Path] = []

    def write(self, annotated: AnnotatedImage, path: Path) -> None:
        """Write the labels of one image; what can't be read or doesn't fit goes into the problems."""
        try:
            image = open_image(path)
        except SegNetError as error:
            self._draftsman.say(path.name, error.problem, "left out")
            return
        labels = self._draftsman.draw(annotated, image.shape_without_channels, path.name)
        if labels is None:
            return
        colours = None
        if self._draftsman.task == "semantic":
            most = min(256, max(self._colours, default=0) + 1)
            colours = [self._colours.get(value, "#000000") for value in range(most)]
        file = _label_file(self._out, path)
        write_tiff(file, labels, image.axes.replace("C", ""), image.pixel_size, image.units, colours)
        self._files.append(file)

    def finish(self, entries: Mapping[int, ClassEntry]) -> Imported:
        """Write ``classes.json``, ``objects.csv`` and ``problems.csv``."""
        draftsman = self._draftsman
        if not self._files:
            last = draftsman.problems[-1]
            raise DataError(f"No labels could be made; {last.file}: {last.problem}", last.done.capitalize() + ".")
        write_classes(self._out / CLASS_FILE, entries)
        if draftsman.objects:
            rows = [(file_stem(image), number, name) for image, number, name in draftsman.objects]
            write_atomically(self._out / "objects.csv", _table(("image", "object", "class"), rows))
        problems = [(p.file, p.problem, p.done) for p in draftsman.problems]
        write_atomically(self._out / "problems.csv", _table(("file", "problem", "done"), problems))
        return Imported(
            tuple(self._files), draftsman.classes, tuple(draftsman.problems), draftsman.task, draftsman.regions
        )


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
