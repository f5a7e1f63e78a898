"""Annotations of other programs, made into label images; and label images made into theirs.

A format is one module with `recognizes(path)` and `read(path, options) -> Annotations`, and one entry in `FORMATS`.
What doesn't fit is left out and said, in one table; nothing in a file is ever executed. No torch, no Qt.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from napari_segnet.annotations.documents import damage
from napari_segnet.annotations.model import Annotations, Problem
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.errors import DataError, unknown_name
from napari_segnet.io.formats import SUFFIXES

__all__ = ["FORMATS", "AnnotationFormat", "ImportOptions", "read_annotations"]


@dataclass(frozen=True)
class AnnotationFormat:
    """A kind of annotations that can be read; `module` is one of this room.

    `suffixes` are the endings of its files. `folders`: whether a folder as a whole can be one.
    """

    name: str
    reads: str
    module: str
    suffixes: tuple[str, ...]
    folders: bool = False

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(f"napari_segnet.annotations.{self.module}")

    def recognizes(self, path: Path) -> bool:
        """Say whether a file, or a folder, is of this format."""
        if path.is_dir() and not self.folders:
            return False
        if path.is_file() and not path.name.lower().endswith(self.suffixes):
            return False
        return bool(self.load().recognizes(path))


FORMATS: dict[str, AnnotationFormat] = {
    known.name: known
    for known in (
        AnnotationFormat("via", "VGG Image Annotator: JSON, CSV, projects", "via", (".json", ".csv")),
        AnnotationFormat("coco", "COCO: JSON with polygons or run lengths", "coco", (".json",)),
        AnnotationFormat("labelme", "LabelMe: a JSON for each image", "labelme", (".json",)),
        AnnotationFormat("cvat", "CVAT: XML for images or videos", "cvat", (".xml",)),
        AnnotationFormat("geojson", "GeoJSON of QuPath", "geojson", (".geojson", ".json")),
        AnnotationFormat("imagej", "ImageJ: .roi files and RoiSet.zip", "imagej", (".roi", ".zip")),
        AnnotationFormat("cellpose", "Cellpose: _seg.npy, _cp_masks", "cellpose", (".npy", *SUFFIXES), folders=True),
        AnnotationFormat(
            "masks", "masks of grey values or palettes (Pascal VOC)", "value_masks", SUFFIXES, folders=True
        ),
        AnnotationFormat("colours", "masks in colour", "colour_masks", SUFFIXES, folders=True),
        AnnotationFormat("trimap", "trimaps (only when asked for)", "trimaps", SUFFIXES, folders=True),
    )
}
"""In the order in which they are asked whether a file is theirs."""


def read_annotations(path: Path | str, options: ImportOptions | None = None) -> Annotations:
    """Read the annotations of a file, or of all files of a folder.

    Parameters
    ----------
    path : Path
        A file, or a folder whose files (not deeper) are annotations of one or several formats; others in it are
        left alone.
    options : ImportOptions, optional
        What the files don't say themselves.

    Returns
    -------
    Annotations

    Raises
    ------
    DataError
        If there is no such file, it is damaged, or no format takes it.
    """
    path, options = Path(path), options or ImportOptions()
    if not path.exists():
        raise DataError(f"There is no file or folder {path}.", "Check the name.")
    if options.format != "auto" and options.format not in FORMATS:
        raise unknown_name("annotation format", options.format, FORMATS)
    if options.format != "auto":
        formats = [FORMATS[options.format]]
        if path.is_file() or formats[0].folders:
            return _read(formats[0], path, options)
    else:
        formats = list(FORMATS.values())
    parts, failed = _parts(path, [known for known in formats if not known.folders], options)
    if parts:
        return _with(_join(parts, path), failed)
    whole = next((known for known in formats if known.recognizes(path)), None)
    if whole is None and failed:
        raise failed[0][1]
    if whole is None:
        kind = "folder" if path.is_dir() else "file"
        known_formats = "; ".join(known.reads for known in formats)
        raise DataError(f"The {kind} {path} holds no annotations that can be read.", f"These are: {known_formats}.")
    return _with(_read(whole, path, options), failed)


def _parts(
    path: Path, formats: list[AnnotationFormat], options: ImportOptions
) -> tuple[list[Annotations], list[tuple[Path, DataError]]]:
    """Read a file, or the files of a folder, that are annotations of their own; and say which can't be read."""
    parts, failed = [], []
    files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")]
    for file in sorted(files):
        known = next((known for known in formats if known.recognizes(file)), None)
        error = damage(file) if known is None else None
        if known is not None:
            try:
                parts.append(_read(known, file, options))
            except DataError as found:
                error = found
        if error is not None:
            failed.append((file, error))
    return parts, failed


def _with(found: Annotations, failed: list[tuple[Path, DataError]]) -> Annotations:
    problems = (Problem(file.name, error.problem, "left out") for file, error in failed)
    return replace(found, problems=(*found.problems, *problems))


def _read(known: AnnotationFormat, path: Path, options: ImportOptions) -> Annotations:
    found: Annotations = known.load().read(path, options)
    return found


def _join(parts: list[Annotations], path: Path) -> Annotations:
    tasks = {part.task for part in parts}
    if len(tasks) > 1:
        raise DataError(f"The folder {path} holds both classes and numbered objects.", "Name one --format.")
    return Annotations(
        tuple(image for part in parts for image in part.images),
        tuple(dict.fromkeys(drawn for part in parts for drawn in part.classes)),
        tuple(problem for part in parts for problem in part.problems),
        tasks.pop(),
    )
