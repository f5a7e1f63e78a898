"""Masks whose grey values, or numbers of palette colours, stand for classes: plain masks, Pascal VOC, trimaps.

Pascal VOC (Everingham et al. 2010, The Pascal Visual Object Classes challenge) writes palette PNGs: the number of a
colour is the class, 255 a border that doesn't count. A trimap, as of the Oxford-IIIT pets (Parkhi et al. 2012, Cats
and dogs), has 1 inside, 2 outside and 3 on the border; some write 255, 0 and 128.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from napari_segnet.annotations.mask_files import is_mask_file, mask_groups, mask_image
from napari_segnet.annotations.model import Annotations, DrawnClass, LabelArray, Problem
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.axes import counted
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_VOID = 255
_FEW = 64


def recognizes(path: Path) -> bool:
    """Say whether these are masks of grey values or palette colours, not pictures in colour."""
    return is_mask_file(path) and not is_colour(mask_groups(path)[0][1][0])


def is_colour(file: Path) -> bool:
    """Say whether a mask has colours that stand for classes: channels that differ, or a lossy format."""
    if _palette(file) is not None:
        return False
    image = open_image(file)
    if "C" in image.axes:
        return True
    return file.name.lower().endswith((".jpg", ".jpeg")) and len(np.unique(np.asarray(image.array))) > 2


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read masks whose values are classes; files are opened when it is their turn.

    Returns
    -------
    Annotations
        With `options.task` ``"instances"`` values number objects. 255 is the one class where the only other value is
        0, and else doesn't count.

    Raises
    ------
    DataError
        If a file can't be read, or there are more values than classes can be.
    """
    groups = mask_groups(path)
    if options.task == "instances":
        images = tuple(
            mask_image(name, files, "instances", _numbers_or_pieces if len(files) == 1 else _numbers)
            for name, files in groups
        )
        return Annotations(images, task="instances")
    values: Counter[int] = Counter()
    for _, files in groups:
        for file in files:
            found, counts = np.unique(np.asarray(open_labels(file).array), return_counts=True)
            values.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    kept = sorted(set(values) - {0})
    white = kept == [_VOID]
    if len(kept) > _FEW:
        raise DataError(
            f"The masks of {path} hold {len(kept)} different values.", "If they number objects: --task instances."
        )
    names = _names(groups[0][1][0], kept)
    kept = [value for value in kept if value != _VOID] or ([1] if white else [])
    problems = []
    if values[_VOID] and not white:
        what = f"The value 255 is on {counted(values[_VOID], 'pixel')}."
        problems.append(Problem(path.name, what, "kept: it doesn't count (classes.json)"))
    if kept == [1, 2, 3] and 0 not in values:
        problems.append(Problem(path.name, "Values 1, 2 and 3 alone are as in a trimap.", "read as three classes"))

    def read_file(file: Path) -> LabelArray:
        labels = np.asarray(open_labels(file).array)
        return LabelArray((labels == _VOID).astype(np.uint8) if white else labels)

    images = tuple(mask_image(name, files, "semantic", read_file) for name, files in groups)
    classes = tuple(DrawnClass(*names.get(value, (f"class {value}", value, None))) for value in kept)
    ignored = (_VOID,) if values[_VOID] and not white else ()
    return Annotations(images, classes, tuple(problems), "semantic", ignored)


def _numbers(file: Path) -> LabelArray:
    return LabelArray(np.asarray(open_labels(file).array))


def _numbers_or_pieces(file: Path) -> LabelArray:
    """Return numbered objects; of a mask with one value its connected pieces."""
    values = np.asarray(open_labels(file).array)
    if len(np.unique(values[values != 0])) != 1:
        return LabelArray(values)
    pieces, number = ndimage.label(values, np.ones((3,) * values.ndim))
    what = Problem(
        file.name, "It has one value besides 0.", f"its {counted(number, 'connected piece')} are the objects"
    )
    return LabelArray(pieces.astype(np.uint32), (what,))


def _names(file: Path, values: list[int]) -> dict[int, tuple[str, int, str | None]]:
    """Return name, value and colour of each value: by the palette of a file, and VOC's names if it is VOC's."""
    palette = _palette(file)
    if palette is None:
        return {}
    is_voc = np.array_equal(palette[: len(VOC_NAMES)], voc_palette()[: len(palette)][: len(VOC_NAMES)])
    known: dict[int, tuple[str, int, str | None]] = {}
    for value in values:
        if value < len(palette) and value != _VOID:
            colour = "#" + "".join(f"{part:02x}" for part in palette[value])
            name = VOC_NAMES[value] if is_voc and value < len(VOC_NAMES) else f"class {value}"
            known[value] = (name, value, colour)
    return known


def _palette(file: Path) -> np.ndarray | None:
    """Return the (N, 3) colours of a palette picture; None for other files."""
    try:
        with Image.open(file) as image:
            colours = image.getpalette() if image.mode == "P" else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return None if colours is None else np.array(colours, np.uint8).reshape(-1, 3)


def voc_palette() -> np.ndarray:
    """Return the 256 colours of Pascal VOC: the bits of a number, spread over red, green and blue."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)
