"""Folders of masks: which files belong to which image, and how several of one image are combined."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.model import AnnotatedImage, LabelArray, Problem
from napari_segnet.axes import counted, times
from napari_segnet.config import Task
from napari_segnet.errors import DataError
from napari_segnet.io.formats import SUFFIXES
from napari_segnet.io.pairing import file_stem, is_label_name, list_images

Values = NDArray[np.unsignedinteger]
# cell_mask_2.png is one more mask of cell.png, as is "cell (1)_mask-2.png".
_NUMBERED = re.compile(r"(?<=[^_\-. ])[_\-. ]+(masks?|labels?|seg|annotations?)[_\-. ]?\(?(\d+)\)?$", re.IGNORECASE)


def is_mask_file(path: Path) -> bool:
    """Say whether a file, or all images of a folder, can be masks: by their names alone."""
    if path.is_dir():
        return any(is_mask_file(file) for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return path.name.lower().endswith(SUFFIXES) and not path.name.lower().endswith((".npy", ".zarr"))


def mask_groups(path: Path) -> list[tuple[str, list[Path]]]:
    """Return the masks of each image: its name without an ending, and the files in the order of their numbers.

    ``cell_mask.png``, ``cell_mask_1.png`` and ``cell_mask_2.png`` belong to one image. (They are read as
    ``cell_mask``: what an image and its mask have in common is found when they are paired.)
    """
    groups: dict[str, list[tuple[int, Path]]] = {}
    files = list_images(path, check_stems=False)
    named = [file for file in files if is_label_name(file) or _NUMBERED.search(file_stem(file))]
    # Images and masks may lie side by side.
    for file in named if path.is_dir() and 0 < len(named) < len(files) else files:
        stem = file_stem(file)
        numbered = _NUMBERED.search(stem)
        number = int(numbered[2]) if numbered else 0
        name = f"{stem[: numbered.start()]}_{numbered[1]}" if numbered else stem
        key = next((known for known in groups if known.lower() == name.lower()), name)
        groups.setdefault(key, []).append((number, file))
    return [(name, [file for _, file in sorted(files)]) for name, files in groups.items()]


def mask_image(
    name: str,
    files: Sequence[Path],
    task: Task,
    read: Callable[[Path], LabelArray],
) -> AnnotatedImage:
    """Make an annotated image whose masks are read when it is their turn.

    Parameters
    ----------
    name : str
        Of the image, without an ending.
    files : sequence of Path
        Its masks; later ones lie over earlier ones. As objects, each of several files holds its own.
    task : {"semantic", "instances"}
    read : callable
        Returns the values of a file.
    """

    def labels() -> LabelArray:
        found = [read(file) for file in files]
        problems = [problem for part in found for problem in part.problems]
        if len(found) == 1:
            return LabelArray(found[0].values, tuple(problems))
        return _combine(name, files, found, task, problems)

    return AnnotatedImage(name, files[0].name, labels=labels)


def _combine(
    name: str, files: Sequence[Path], found: Sequence[LabelArray], task: Task, problems: list[Problem]
) -> LabelArray:
    shape = found[0].values.shape
    combined = np.zeros(shape, np.uint32)
    shared = 0
    for part in found:
        values = part.values
        if values.shape != shape:
            what = f"The masks of {name} have {times(values.shape)} and {times(shape)} pixels."
            raise DataError(what, "Masks of one image need one size.")
        inside = values != 0
        if task == "instances":
            found_values, numbers = np.unique(values, return_inverse=True)
            values = numbers.reshape(shape).astype(np.uint32) + (found_values[0] != 0) + combined.max()
        shared += int(np.count_nonzero(inside & (combined != 0) & (combined != values)))
        combined[inside] = values[inside]
    if shared:
        what = f"Its {counted(len(files), 'mask')} share {counted(shared, 'pixel')}."
        problems.append(Problem(name, what, "the later ones are on top"))
    return LabelArray(combined, tuple(problems))
