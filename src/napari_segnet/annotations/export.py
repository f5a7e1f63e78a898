"""Labels to annotations of other programs: COCO, GeoJSON (QuPath), ImageJ's ROI sets, OME-Zarr labels.

A format is one module with `write`, and one entry in `LABEL_FORMATS`. What is written can be read by `read_annotations`
(OME-Zarr: as an image), and gives the same labels: outlines follow the edges of pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np

from napari_segnet.annotations.documents import read_csv
from napari_segnet.annotations.labelled import LabelledImage, Names, planes_of
from napari_segnet.annotations.model import Problem
from napari_segnet.annotations.options import ExportOptions
from napari_segnet.axes import times
from napari_segnet.config import LabelClass, Task
from napari_segnet.data.labels import guess_meaning
from napari_segnet.errors import DataError, SegNetError, unknown_name
from napari_segnet.io.class_file import ClassTable, classes_beside, read_classes
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.io.pairing import Paths, file_stem, list_images, pair_files

__all__ = ["LABEL_FORMATS", "ExportOptions", "Exported", "LabelFormat", "export_labels"]

_MOST_GUESSED = 5
_MOST_CLASSES = 64


@dataclass(frozen=True)
class LabelFormat:
    """A format that labels can be written in; `module` is one of this room.

    `suffix` ends the names that it gives, `ending` those that a person gives. `one_file`: whether all images are in
    one file.
    """

    name: str
    writes: str
    module: str
    suffix: str
    ending: str
    one_file: bool = False

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(f"napari_segnet.annotations.{self.module}")


LABEL_FORMATS: dict[str, LabelFormat] = {
    known.name: known
    for known in (
        LabelFormat(
            "coco", "COCO: polygons or run lengths in one JSON", "export_coco", ".json", ".json", one_file=True
        ),
        LabelFormat("geojson", "GeoJSON of QuPath: one for each image", "export_geojson", ".geojson", ".geojson"),
        LabelFormat("imagej", "ImageJ: one RoiSet.zip for each image", "export_imagej", "_RoiSet.zip", ".zip"),
        LabelFormat(
            "ome-zarr",
            "OME-Zarr 0.5: labels, below their image if it is given",
            "export_ome_zarr",
            ".ome.zarr",
            ".zarr",
        ),
    )
}


@dataclass(frozen=True)
class Exported:
    """What became of labels.

    Attributes
    ----------
    files : tuple of Path
    classes : tuple of LabelClass
        Of the regions that were written.
    problems : tuple of Problem
        What couldn't be written.
    task : {"semantic", "instances"}
    guessed : str
        Why the labels were taken for classes, or for numbered objects; empty if that was known.
    regions : int
        How many were written; of OME-Zarr, how many labels there are.
    """

    files: tuple[Path, ...]
    classes: tuple[LabelClass, ...]
    problems: tuple[Problem, ...]
    task: Task
    guessed: str
    regions: int


def export_labels(
    labels: Paths,
    out: Path | str,
    options: ExportOptions,
    *,
    images: Paths | None = None,
    classes: Path | str | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Exported:
    """Write labels in a format of another program.

    Parameters
    ----------
    labels : Path, or several
        Label files, or folders of them.
    out : Path
        COCO: the JSON file. Others: a folder, or for one label file a name that ends as files of the format do.
    options : ExportOptions
    images : Path, or several, optional
        The images that are labelled, paired by name: their names are written. OME-Zarr: they are, too.
    classes : Path, optional
        A ``classes.json``; default: the one beside the label files, if there is one. An ``objects.csv`` beside it
        says which class a numbered object has.
    on_progress : callable, optional
        Called with the number of images done and of all.

    Returns
    -------
    Exported

    Raises
    ------
    DataError
        If there are no labels, none goes with an image, or nothing could be written.
    ConfigError
        If there is no such format, or the ``classes.json`` is damaged.
    SegNetError
        If `out` is there already, or can't be written.
    """
    if options.format not in LABEL_FORMATS:
        raise unknown_name("format of labels", options.format, LABEL_FORMATS)
    exporter = _Exporter(labels, Path(out), options, images, None if classes is None else Path(classes))
    return exporter.write(on_progress)


class _Exporter:
    def __init__(
        self, labels: Paths, out: Path, options: ExportOptions, images: Paths | None, classes: Path | None
    ) -> None:
        self._format, self._out, self._options = LABEL_FORMATS[options.format], out, options
        self._problems: list[Problem] = []
        self._pairs = self._paired(labels, images)
        folder = self._pairs[0][0].parent
        table = read_classes(classes) if classes is not None else classes_beside(self._pairs[0][0])
        self.task, self.guessed = self._task(table)
        objects = _objects((classes.parent if classes is not None else folder) / "objects.csv")
        self._names = Names(self.task, table, objects)

    def _paired(self, labels: Paths, images: Paths | None) -> list[tuple[Path, Path | None]]:
        """Return label files and their images."""
        if images is None:
            return [(file, None) for file in list_images(labels)]
        pairing = pair_files(images, labels)
        for file in pairing.unpaired_labels:
            self._say(file.name, "There is no image of this name.", "left out")
        for file in pairing.unpaired_images:
            self._say(file.name, "It has no labels.", "left out")
        return [(label, image) for image, label in pairing.pairs]

    def _task(self, table: ClassTable | None) -> tuple[Task, str]:
        if self._options.task is not None or table is not None:
            return self._options.task or (table.task if table is not None else "semantic"), ""
        planes = []
        for file, _ in self._pairs[:_MOST_GUESSED]:
            try:
                planes += [plane for _, plane in islice(planes_of(open_labels(file)), _MOST_GUESSED)]
            except SegNetError:
                continue  # said when it is its turn
        meaning = guess_meaning(planes)
        values = len(set().union(*(np.unique(plane).tolist() for plane in planes)) - {0})
        if meaning.task == "semantic" and values > _MOST_CLASSES:
            raise DataError(
                f"The labels hold {values} values besides 0: they look like images.",
                "Name label files; or say what the values are: --task semantic or --task instances.",
            )
        return meaning.task, meaning.words

    def write(self, on_progress: Callable[[int, int], None]) -> Exported:
        """Write all that can be written."""
        files = self._files()
        there = [file for file in files if file.exists()]
        if there and not self._options.overwrite:
            raise SegNetError(
                f"{there[0]} is there already, {len(there)} such in all.",
                "Choose another --out, or replace them with --set overwrite=true.",
            )
        module, regions = self._format.load(), 0
        written: list[Path] = []
        try:
            if self._format.one_file:
                files[0].parent.mkdir(parents=True, exist_ok=True)
                regions = module.write(self._images(on_progress), files[0], self._options)
                written = files
            else:
                by_name = dict(zip((file for file, _ in self._pairs), files, strict=True))
                for image in self._images(on_progress):
                    target = by_name[image.labels.path]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    regions += module.write(image, target, self._options)
                    written.append(target)
        except OSError as error:
            raise SegNetError(f"{self._out} can't be written: {error.strerror or error}.", "Choose another.") from error
        self._problems += self._names.problems()
        return Exported(tuple(written), self._names.used(), tuple(self._problems), self.task, self.guessed, regions)

    def _files(self) -> list[Path]:
        """Return the files to write: one, or one for each label file."""
        ending = self._format.ending
        if self._format.one_file:
            if self._out.suffix.lower() != ending or self._out.is_dir():
                raise SegNetError(f"{self._out} is no name for a {ending} file.", f"Name a {ending} file.")
            return [self._out]
        if self._out.name.lower().endswith(ending):
            if len(self._pairs) > 1:
                raise SegNetError(f"{self._out} is one file for {len(self._pairs)} label files.", "Name a folder.")
            return [self._out]
        stems = [file_stem(image or labels) for labels, image in self._pairs]
        return [self._out / f"{stem}{self._format.suffix}" for stem in stems]

    def _images(self, on_progress: Callable[[int, int], None]) -> Iterator[LabelledImage]:
        """Yield what can be read; raises `DataError` if that is nothing."""
        given = 0
        for done, (labels, image) in enumerate(self._pairs, start=1):
            try:
                found = self._open(labels, image)
            except SegNetError as error:
                self._say(labels.name, error.problem, "left out")
            else:
                yield found
                given += 1
            on_progress(done, len(self._pairs))
        if not given:
            first = self._problems[-1]
            raise DataError(
                f"No labels could be written; {first.file}: {first.problem}",
                "Choose other labels, or another --format.",
            )

    def _open(self, path: Path, image_path: Path | None) -> LabelledImage:
        labels: ImageFile = open_labels(path)
        image = open_image(image_path) if image_path is not None else None
        if image is not None and labels.shape != image.shape_without_channels:
            raise DataError(f"It is {times(labels.shape)}, its image {times(image.shape_without_channels)}.")
        if self._format.one_file and len(labels.axes) > 2:
            raise DataError(f"{self._format.name.upper()} knows no stacks (axes {labels.axes}).")
        stem = file_stem(image_path or path)
        name = (image_path or path).name
        return LabelledImage(name, labels, image, self.task, self._names.of_image(stem))

    def _say(self, file: str, problem: str, done: str) -> None:
        self._problems.append(Problem(file, problem, done))


def _objects(path: Path) -> dict[str, dict[int, str]]:
    """Return the class of each numbered object of each image, as ``objects.csv`` has it."""
    found: dict[str, dict[int, str]] = {}
    if path.is_file():
        for row in read_csv(path):
            number = row.get("object", "")
            if number.isdecimal():
                found.setdefault(row.get("image", ""), {})[int(number)] = row.get("class", "")
    return found
