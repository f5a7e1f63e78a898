"""Which files belong together: labels, images, probabilities, regions, and what says the classes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.model import Region
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.class_file import ClassTable, classes_beside, read_classes
from napari_segnet.io.formats import SUFFIXES
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.io.pairing import (
    PROBABILITIES,
    Paths,
    file_stem,
    is_label_output,
    list_images,
    pair_files,
    pairing_key,
)
from napari_segnet.io.records import check_sizes
from napari_segnet.measure.regions import region_of
from napari_segnet.models.info import read_info

_OBJECT_TABLE = "objects.csv"
_SHAPES_HEADER = ["index", "shape-type", "vertex-index"]


def list_labels(labels: Paths, images: Sequence[Paths] = ()) -> list[Path]:
    """Return label files; those that end with ``_probabilities`` or ``_uncertainty`` are none.

    Parameters
    ----------
    labels : Path, or several
    images : sequence of paths
        Where their images are: in a folder that holds both, labels are those with a word of labels in their names.

    Raises
    ------
    DataError
        If there are none.
    """
    if any(source == labels for source in images):
        files = [label for _, label in pair_files(labels, labels).pairs]
    else:
        files = list_images(labels)
    kept = [path for path in files if is_label_output(path)]
    if not kept:
        raise DataError(f"There are no label images, only {files[0].name} and the like.", "Name the labels.")
    return kept


def find_classes(source: Path | None, labels: Sequence[Path]) -> ClassTable | None:
    """Return what label values mean: from a ``classes.json`` or a model that is named, else from beside the labels.

    Raises
    ------
    ConfigError, ModelFileError
        If what was named can't be used.
    """
    if source is None:
        return classes_beside(labels[0]) if len({path.parent for path in labels}) == 1 else None
    if not source.exists():
        raise ConfigError(f"There is no file {source}.", "Name a classes.json or a model.")
    if source.suffix.lower() == ".json":
        return read_classes(source)
    info = read_info(source)
    return ClassTable(classes=info.classes, task=info.task)


def object_classes(labels: Path, table: ClassTable | None) -> dict[int, int] | None:
    """Return the class of each numbered object, from the ``objects.csv`` that import-annotations writes beside labels.

    Returns
    -------
    dict of int to int, or None
        Number of the object -> value of its class in `table`. None if there is no such file, or it says nothing of
        these labels.
    """
    path = labels.parent / _OBJECT_TABLE
    if table is None or not path.is_file():
        return None
    values = {c.name: c.value for c in table.classes}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"image", "object", "class"} <= set(rows.fieldnames or ()):
            return None
        keys = {labels.name, file_stem(labels)}
        found = {
            int(row["object"]): values.get(row["class"], 0)
            for row in rows
            if row["image"] in keys and (row["object"] or "").isdecimal()
        }
    return found or None


@dataclass(frozen=True)
class Images:
    """Images to be measured: a name for their columns, and which goes with which labels."""

    name: str
    of: Mapping[Path, Path]

    def open(self, labels: ImageFile) -> ImageFile | None:
        """Open the image of some labels; None if there is none.

        Raises
        ------
        DataError
            If its size isn't that of the labels.
        """
        path = self.of.get(labels.path)
        if path is None:
            return None
        image = open_image(path)
        check_sizes(image, labels)
        return image


def named_sources(images: Mapping[str, Paths] | Sequence[Paths] | Paths) -> dict[str, Paths]:
    """Return sources of images by name: a single one is called "intensity", several by their folders."""
    if isinstance(images, Mapping):
        return dict(images)
    if isinstance(images, str | Path):
        return {"intensity": images}
    if len(images) == 1:
        return {"intensity": images[0]}
    names = [Path(source).name if isinstance(source, str | Path) else "images" for source in images]
    names = [name if names.count(name) == 1 else f"{name}_{n}" for n, name in enumerate(names, start=1)]
    return dict(zip(names, images, strict=True))


def pair_images(images: Mapping[str, Paths] | Sequence[Paths] | Paths, labels: Sequence[Path]) -> list[Images]:
    """Pair images with labels by name.

    Parameters
    ----------
    images : files or folders, several of them, or a mapping of names to them
        See `named_sources`.
    labels : sequence of Path

    Raises
    ------
    DataError
        If no image of a source goes with any labels.
    """
    found = []
    for name, source in named_sources(images).items():
        # In a folder that holds both, labels are no images of themselves.
        files = [path for path in list_images(source, check_stems=False) if path not in set(labels)]
        pairs = pair_files(files or source, list(labels)).pairs
        found.append(Images(name, {label: image for image, label in pairs}))
    return found


def pair_probabilities(source: Paths, labels: Sequence[Path]) -> dict[Path, Path]:
    """Return the probabilities of label files: ``STEM_probabilities.tif`` of ``STEM.tif``, else by name as images.

    Raises
    ------
    DataError
        If none go with any labels.
    """
    files = list_images(source, check_stems=False)
    marked = [path for path in files if file_stem(path).lower().endswith(PROBABILITIES)]
    by_key = {pairing_key(_unmarked(path)): path for path in marked or files}
    found = {label: by_key[pairing_key(label)] for label in labels if pairing_key(label) in by_key}
    if not found:
        raise DataError(
            f"None of the probabilities, such as {files[0].name}, belong to the labels, such as {labels[0].name}.",
            "Probabilities of STEM.tif are called STEM_probabilities.tif.",
        )
    return found


def _unmarked(path: Path) -> str:
    stem = file_stem(path)
    return stem[: -len(PROBABILITIES)] if stem.lower().endswith(PROBABILITIES) else stem


class RegionFiles:
    """Regions of label files: label images, Shapes that napari saved as CSV, or annotations of other programs.

    Parameters
    ----------
    source : Path
        Label images are paired by name. Shapes of one CSV file hold for all images, those of a folder for images of
        the same name. Annotations name their images.
    labels : sequence of Path

    Raises
    ------
    DataError
        If nothing can be read, or nothing belongs to any labels.
    """

    def __init__(self, source: Path, labels: Sequence[Path]) -> None:
        self._images: dict[Path, Path] = {}
        self._drawn: dict[Path, list[Region]] = {}
        if not source.exists():
            raise DataError(f"There is no file or folder {source}.", "Check the name.")
        inside = sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
        shapes = [path for path in inside if is_shapes_file(path)]
        if shapes:
            by_key = {pairing_key(path): path for path in shapes}
            for label in labels:
                path = shapes[0] if shapes == [source] else by_key.get(pairing_key(label))
                if path is not None:
                    self._drawn[label] = read_shapes(path)
        elif any(path.name.lower().endswith(SUFFIXES) for path in inside):
            self._images = {label: image for image, label in pair_files(source, list(labels)).pairs}
        else:
            self._drawn = _annotated(source, labels)
        if not self._images and not self._drawn:
            raise DataError(f"None of the regions in {source} belong to the labels.", "Give both the same name.")

    def __contains__(self, labels: Path) -> bool:
        return labels in self._drawn or labels in self._images

    def of(self, labels: ImageFile) -> list[Region] | ImageFile | None:
        """Return the regions of some labels: as drawn, or as a label image; None if there are none.

        Raises
        ------
        DataError
            If the label image of regions is of another size.
        """
        if labels.path in self._drawn:
            return self._drawn[labels.path]
        if labels.path not in self._images:
            return None
        regions = open_labels(self._images[labels.path], labels.axes)
        check_sizes(labels, regions)
        return regions


def _annotated(source: Path, labels: Sequence[Path]) -> dict[Path, list[Region]]:
    from napari_segnet.annotations import read_annotations

    images = [image for image in read_annotations(source).images if image.regions]
    if len(images) == len(labels) == 1:
        return {labels[0]: list(images[0].regions)}
    by_key = {pairing_key(Path(image.name).name): list(image.regions) for image in images}
    return {label: by_key[pairing_key(label)] for label in labels if pairing_key(label) in by_key}


def is_shapes_file(path: Path) -> bool:
    """Say whether a file is a Shapes layer that napari saved."""
    if path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline(200).split(",")[:3] == _SHAPES_HEADER


def read_shapes(path: Path) -> list[Region]:
    """Read the shapes of a layer that napari saved as CSV.

    Coordinates are pixels of the layer: it has to have the scale of the image.

    Raises
    ------
    DataError
        If the file is damaged, or a shape encloses no area.
    """
    corners: dict[int, list[NDArray[np.float64]]] = {}
    kinds: dict[int, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            next(rows)
            for row in rows:
                number = int(float(row[0]))
                kinds[number] = row[1]
                corners.setdefault(number, []).append(np.array(row[3:], dtype=np.float64))
        found = [region_of(np.stack(points), kinds[number]) for number, points in corners.items()]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(f"{path} is no Shapes layer of napari: {error}.", "Save the layer again.") from error
    if not found:
        raise DataError(f"There are no shapes in {path}.", "Draw some, and save the layer again.")
    return found
