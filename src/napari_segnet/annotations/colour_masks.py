"""Masks whose colours stand for classes, by a colour map that is given or guessed.

JPEG changes colours: each pixel is taken for the nearest colour of the map, and how many were changed is said.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.mask_files import is_mask_file, mask_groups, mask_image
from napari_segnet.annotations.model import Annotations, DrawnClass, LabelArray, Problem
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.value_masks import is_colour
from napari_segnet.axes import counted
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image

_MOST_COLOURS = 64
_MOST_FILES = 40
# Colours of a JPEG that are rarer than this, or nearer to a more frequent one, are its artefacts.
_RAREST = 0.002
_NEAREST = 60.0
# A pixel farther than this from all classes is no artefact of compression, unless there are as few of them as this.
_FAR = 100.0
_FEW = 0.005

Colours = NDArray[np.int64]
"""(N, 3) red, green, blue."""


def recognizes(path: Path) -> bool:
    """Say whether these are masks in colour."""
    return is_mask_file(path) and is_colour(mask_groups(path)[0][1][0])


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read masks in colour; files are opened when it is their turn.

    Returns
    -------
    Annotations
        Black, where there is some, is 0. Other colours have the values 1, 2 ... in the order of the colour map; of
        a guessed one, from dark to bright.

    Raises
    ------
    DataError
        If no colour map is given and there are too many colours to guess one, or it can't be read.
    """
    groups = mask_groups(path)
    if options.colour_map is not None:
        named = read_colour_map(Path(options.colour_map))
        problems: list[Problem] = []
    else:
        named = guess_colour_map([file for _, files in groups for file in files])
        colours = ", ".join(_hex(colour) for _, colour in named)
        what = f"No colour map was given; the colours are {colours}."
        problems = [Problem(path.name, what, "each is a class (--set colour_map=FILE names them)")]
    palette = np.array([colour for _, colour in named], np.int64)
    values = _values(palette)
    classes = tuple(
        DrawnClass(name, int(value), _hex(colour)) for (name, colour), value in zip(named, values, strict=True)
    )

    def read_file(file: Path) -> LabelArray:
        return _snap(file, palette, values)

    images = tuple(mask_image(name, files, "semantic", read_file) for name, files in groups)
    return Annotations(images, classes, tuple(problems), "semantic")


def _values(palette: Colours) -> NDArray[np.uint8]:
    """Return a value for each colour: 0 for black, 1, 2 ... for the others."""
    black = (palette == 0).all(axis=1)
    values = np.cumsum(~black)
    return np.where(black, 0, values).astype(np.uint8)


def _snap(file: Path, palette: Colours, values: NDArray[np.uint8]) -> LabelArray:
    pixels = _rgb(file)
    packed, index = np.unique(_pack(pixels), return_inverse=True)
    counts = np.bincount(index.ravel())
    found = _unpack(packed)
    nearest, distance = np.empty(len(found), np.int64), np.empty(len(found))
    for start in range(0, len(found), 65536):
        part = slice(start, start + 65536)
        apart = ((found[part, None] - palette[None]) ** 2).sum(axis=-1)
        nearest[part] = apart.argmin(axis=1)
        distance[part] = np.sqrt(apart.min(axis=1))
    problems = []
    changed, far = int(counts[distance > 0].sum()), distance > _FAR
    if changed:
        what = f"{counted(changed, 'pixel')} ({changed / counts.sum():.1%}) of colours that are no class."
        problems.append(Problem(file.name, what, "taken for the nearest colour"))
    if counts[far].sum() > _FEW * counts.sum():
        often = found[far][counts[far].argmax()]
        what = f"{counted(int(counts[far].sum()), 'pixel')} far from every class, such as {_hex(often)}."
        problems.append(Problem(file.name, what, "taken for the nearest colour: is one missing in the colour map?"))
    return LabelArray(values[nearest][index.reshape(pixels.shape[:-1])], tuple(problems))


def _rgb(file: Path) -> NDArray[np.uint8]:
    """Return (..., Y, X, 3) colours of 8 bits."""
    image = open_image(file)
    array = np.asarray(image.array)
    if array.dtype != np.uint8:
        raise DataError(f"{file.name} has values of type {array.dtype}.", "Masks in colour have 8 bits a channel.")
    if "C" not in image.axes:
        return np.repeat(array[..., None], 3, axis=-1)
    array = np.moveaxis(array, image.axes.index("C"), -1)
    if array.shape[-1] != 3:
        raise DataError(f"{file.name} has {array.shape[-1]} channels.", "Masks in colour have three.")
    return array


def _pack(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    return red << 16 | green << 8 | blue


def _unpack(packed: NDArray[np.int64]) -> Colours:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1)


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def guess_colour_map(files: list[Path]) -> list[tuple[str, tuple[int, int, int]]]:
    """Find the colours of masks: all there are, or where a JPEG has blurred them the frequent ones.

    Parameters
    ----------
    files : list of Path
        At most forty of them, evenly chosen, are looked at.

    Returns
    -------
    list of (str, (int, int, int))
        Name (``#rrggbb``) and colour, black first and from dark to bright: the same colours always have one order.

    Raises
    ------
    DataError
        If there are more than 64 colours, and none are frequent: these are no masks.
    """
    seen: Counter[int] = Counter()
    chosen = files[:: max(1, -(-len(files) // _MOST_FILES))]
    for file in chosen:
        packed, counts = np.unique(_pack(_rgb(file)), return_counts=True)
        seen.update(dict(zip(packed.tolist(), counts.tolist(), strict=True)))
    kept = [colour for colour, _ in seen.most_common()]
    if len(kept) > _MOST_COLOURS:
        kept = _peaks(seen)
    if not kept or len(kept) > _MOST_COLOURS:
        raise DataError(
            f"The masks have {len(seen)} colours, and no few of them stand out.",
            "Name a colour map with --set colour_map=FILE; or are these photographs?",
        )
    colours = _unpack(np.array(sorted(kept, key=lambda packed: (sum(_unpack(np.array(packed))), packed))))
    return [(_hex(colour), (int(colour[0]), int(colour[1]), int(colour[2]))) for colour in colours]


def _peaks(seen: Counter[int]) -> list[int]:
    """Return colours that are frequent and apart from more frequent ones, most frequent first."""
    total = seen.total()
    kept: list[int] = []
    for packed, count in seen.most_common():
        if count < _RAREST * total or len(kept) > _MOST_COLOURS:
            break
        colour = _unpack(np.array([packed]))
        if not kept or np.sqrt(((_unpack(np.array(kept)) - colour) ** 2).sum(axis=1)).min() > _NEAREST:
            kept.append(packed)
    return kept


_LINE = re.compile(r"\b(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})\b")


def read_colour_map(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Read which colour stands for which class.

    Parameters
    ----------
    path : Path
        JSON, ``{"road": [128, 64, 128]}`` or ``{"#804080": "road"}`` or a ``classes.json``; or a text with a class a
        line, its name before or after red, green and blue (``128 64 128 Road``, ``road,128,64,128``). Other lines
        are left out.

    Returns
    -------
    list of (str, (int, int, int))
        Name and colour, in the file's order.

    Raises
    ------
    DataError
        If it holds no colours, or one colour twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        named = _from_json(json.loads(text)) if text.lstrip()[:1] in ("{", "[") else _from_lines(text)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _no_map(path, str(error)) from error
    if not named or any(not 0 <= part <= 255 for _, colour in named for part in colour):
        raise _no_map(path, "it names no colours from 0 to 255")
    twice = [colour for colour, count in Counter(colour for _, colour in named).items() if count > 1]
    if twice:
        raise _no_map(path, f"{_hex(twice[0])} stands for two classes")
    return named


def _no_map(path: Path, why: str) -> DataError:
    return DataError(f"{path} can't be used as a colour map: {why}.", "Write a class a line: road,128,64,128.")


def _from_json(tree: Any) -> list[tuple[str, tuple[int, int, int]]]:
    named = []
    for key, value in tree.items():
        if isinstance(value, dict):
            named.append((str(value["name"]), _from_hex(value.get("colour") or value["color"])))
        elif isinstance(value, str):
            named.append((value, _from_hex(key)) if key.startswith("#") else (str(key), _from_hex(value)))
        else:
            red, green, blue = (int(part) for part in value)
            named.append((str(key), (red, green, blue)))
    return named


def _from_hex(text: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def _from_lines(text: str) -> list[tuple[str, tuple[int, int, int]]]:
    named = []
    for line in text.splitlines():
        found = _LINE.search(line)
        if found:
            name = (line[: found.start()] + line[found.end() :]).strip(" \t,;:\"'[](){}=")
            colour = (int(found[1]), int(found[2]), int(found[3]))
            named.append((name or _hex(colour), colour))
    return named
