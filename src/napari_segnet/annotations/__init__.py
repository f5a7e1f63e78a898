"""Annotations of other programs, made into label images; and label images made into theirs.

A format is one module with `recognizes(path)` and `read(path, options) -> Annotations`, and one entry in `FORMATS`.
What doesn't fit is left out and said, in one table; nothing in a file is ever executed. No torch, no Qt.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from napari_segnet.annotations.model import Annotations
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.errors import DataError, unknown_name

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
    for known in (AnnotationFormat("via", "VGG Image Annotator: JSON, CSV, projects", "via", (".json", ".csv")),)
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
    formats = list(FORMATS.values()) if options.format == "auto" else [FORMATS[options.format]]
    whole = next((known for known in formats if known.recognizes(path)), None)
    if whole is not None:
        return _read(whole, path, options)
    if not path.is_dir():
        raise _unknown(f"{path} holds no annotations that can be read.", formats)
    parts = []
    for file in sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")):
        known = next((known for known in formats if known.recognizes(file)), None)
        if known is not None:
            parts.append(_read(known, file, options))
    if not parts:
        raise _unknown(f"The folder {path} holds no annotations that can be read.", formats)
    return _join(parts, path)


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


def _unknown(problem: str, formats: list[AnnotationFormat]) -> DataError:
    return DataError(problem, f"These are: {'; '.join(known.reads for known in formats)}.")
