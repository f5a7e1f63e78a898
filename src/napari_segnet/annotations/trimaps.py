"""Trimaps: inside, outside and border, as of the Oxford-IIIT pets (see `value_masks`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_segnet.annotations.mask_files import is_mask_file, mask_groups, mask_image
from napari_segnet.annotations.model import Annotations, DrawnClass, LabelArray, Problem
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.axes import counted
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image

_INSIDE, _BORDER, _IGNORED = 1, 2, 255
# What programs write for inside, outside and border; JPEGs come near.
_WRITTEN = ((1, 2, 3), (255, 0, 128))


def recognizes(_path: Path) -> bool:
    """Never say so by itself: three classes look the same. A trimap is asked for."""
    return False


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read trimaps: the border becomes a class (`options.border` is ``"class"``), or 255, which doesn't count.

    Raises
    ------
    DataError
        If there is no file that could be a mask.
    """
    if not is_mask_file(path):
        raise DataError(f"{path} holds no masks.", "Trimaps are pictures, such as PNG.")
    border = _BORDER if options.border == "class" else _IGNORED
    images = tuple(
        mask_image(name, files, "semantic", lambda file: _read(file, border)) for name, files in mask_groups(path)
    )
    classes = [DrawnClass("foreground", _INSIDE)]
    if border == _BORDER:
        classes.append(DrawnClass("border", _BORDER))
    return Annotations(images, tuple(classes), task="semantic", ignored=() if border == _BORDER else (_IGNORED,))


def _read(file: Path, border: int) -> LabelArray:
    image = open_image(file)
    grey = np.asarray(image.array)
    if "C" in image.axes:
        grey = grey.max(axis=image.axes.index("C"))
    largest = int(grey.max())
    written = np.array(_WRITTEN[largest > max(_WRITTEN[0])])
    distance = np.abs(grey[..., None].astype(np.int64) - written)
    meaning = distance.argmin(axis=-1)
    changed = int(np.count_nonzero(distance.min(axis=-1)))
    problems = []
    if changed:
        what = f"{counted(changed, 'pixel')} of other values than {', '.join(map(str, sorted(written)))}."
        problems.append(Problem(file.name, what, "taken for the nearest"))
    return LabelArray(np.array([_INSIDE, 0, border], np.uint8)[meaning], tuple(problems))
