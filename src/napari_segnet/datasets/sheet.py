"""Pictures of a data set: each image, its labels, and the labels over the image."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_segnet.axes import ArrayLike, times
from napari_segnet.config import LabelClass
from napari_segnet.datasets.facts import ImageFacts
from napari_segnet.errors import SegNetError
from napari_segnet.evaluation.scores import Labels, Rules
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.reports.colours import class_colours
from napari_segnet.reports.panels import colour_labels, show_image

_SIDE = 200
"""Longest side of a picture, pixels."""
_GAP = 4
_OPACITY = 0.45
_COLUMNS, _MANY = 2, 12
"""Images beside each other; of more than so many, one more."""
_LINE = 15
_INK, _PALE, _WARNING = (20, 20, 20), (110, 110, 110), (180, 60, 0)


@dataclass(frozen=True, eq=False)
class Shown:
    """One image of the sheet: its pictures (Y, X, 3) uint8 (image, labels, labels over the image), and its words."""

    title: str
    words: str
    remark: str
    pictures: tuple[NDArray[np.uint8], ...]

    def strip(self) -> NDArray[np.uint8]:
        """Return the pictures in one row, white between them."""
        height = self.pictures[0].shape[0]
        gap = np.full((height, _GAP, 3), 255, np.uint8)
        row = [part for picture in self.pictures for part in (picture, gap)][:-1]
        return np.concatenate(row, axis=1)


def choose(facts: Sequence[ImageFacts], remarks: Sequence[str], most: int) -> list[int]:
    """Return the numbers of the images to draw, in order: those with a remark first, then some of all.

    Parameters
    ----------
    facts : sequence of ImageFacts
    remarks : sequence of str
    most : int
        How many at most.
    """
    possible = [i for i, f in enumerate(facts) if f.trouble != "image"]
    if len(possible) <= most:
        return possible
    odd = [i for i in possible if remarks[i]]
    # At least half of the sheet shows what is usual.
    chosen = set(_evenly(odd, max(most // 2, most - (len(possible) - len(odd)))))
    rest = [i for i in possible if not remarks[i]]
    return sorted(chosen | set(_evenly(rest, most - len(chosen))))


def _evenly(numbers: Sequence[int], most: int) -> list[int]:
    if most <= 0 or not numbers:
        return []
    places = np.unique(np.linspace(0, len(numbers) - 1, min(most, len(numbers))).round().astype(int))
    return [numbers[i] for i in places.tolist()]


def draw(facts: ImageFacts, classes: Sequence[LabelClass], remark: str = "", *, objects: bool = False) -> Shown | None:
    """Draw one image with its labels; of a volume or film the plane in the middle.

    Parameters
    ----------
    facts : ImageFacts
    classes : sequence of LabelClass
        Whose colours are used; 0 is black, and not drawn over the image.
    remark : str
        What is odd about it.
    objects : bool
        Whether labels are numbers of objects: neighbours get colours of their own.

    Returns
    -------
    Shown or None
        None if the image can't be read (any more).
    """
    try:
        image = open_image(facts.image, facts.axes)
        stack = image.stack()
        place = stack.index(len(stack) // 2)
        thinned = max(1, max(stack.item_shape) // (2 * _SIDE))
        with np.errstate(over="ignore", invalid="ignore"):
            picture = _fitted(show_image(image.array, image.axes, place, thinned), stack.item_shape)
        pictures = [picture]
        if facts.labels and not facts.trouble:
            labels = open_labels(facts.labels, facts.axes).array
            small = _small_labels(labels[place] if place else labels, picture.shape[:2])
            drawn = _drawn(small, classes, objects)
            inside = small != 0
            mixed = picture.astype(np.float32)
            mixed[inside] = (1 - _OPACITY) * mixed[inside] + _OPACITY * drawn[inside]
            pictures += [drawn, mixed.round().astype(np.uint8)]
    except SegNetError:
        return None
    planes = f", plane {len(stack) // 2} of {len(stack)}" if len(stack) > 1 else ""
    painted = f", {facts.painted:.1%} painted" if facts.painted is not None and facts.labels else ""
    words = f"{times(facts.shape)} {facts.dtype}{planes}{painted}"
    return Shown(facts.title, words, remark, tuple(pictures))


def _fitted(picture: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a picture whose longest side is that of the sheet; small images are drawn larger."""
    factor = _SIDE / max(shape)
    height, width = (max(1, round(n * factor)) for n in shape)
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((width, height), method))


def _small_labels(plane: ArrayLike, shape: tuple[int, ...]) -> Labels:
    rows, columns = ((np.arange(n) * m // n) for n, m in zip(shape, plane.shape, strict=True))
    # Read row by row where it is lazy: a whole slide doesn't fit into memory.
    return np.stack([np.asarray(plane[int(row)])[columns] for row in rows])


def _drawn(labels: Labels, classes: Sequence[LabelClass], objects: bool) -> NDArray[np.uint8]:
    values = tuple(c.value for c in classes)
    rules = Rules("background", objects, False, values)
    picture = colour_labels(labels, rules, class_colours(values, classes)).copy()
    picture[labels == 0] = 0
    return picture


def sheet(shown: Sequence[Shown]) -> bytes:
    """Return all pictures as one PNG, each strip with its name, its size and what is odd about it below."""
    font = ImageFont.load_default(12)
    strips = [one.strip() for one in shown]
    columns = min(_COLUMNS + (len(strips) > _MANY), len(strips))
    width = max(max(strip.shape[1] for strip in strips), 3 * _SIDE // 2)
    rows = math.ceil(len(strips) / columns)
    heights = [
        max(strip.shape[0] for strip in strips[row * columns : (row + 1) * columns]) + 3 * _LINE + 14
        for row in range(rows)
    ]
    page = Image.new("RGB", (columns * (width + 20) + 20, sum(heights) + 20), "white")
    pen = ImageDraw.Draw(page)
    y = 20
    for row, height in enumerate(heights):
        for column, number in enumerate(range(row * columns, min((row + 1) * columns, len(strips)))):
            x, one, strip = 20 + column * (width + 20), shown[number], strips[number]
            page.paste(Image.fromarray(strip), (x, y))
            below = y + strip.shape[0] + 4
            for words, colour in ((one.title, _INK), (one.words, _PALE), (one.remark, _WARNING)):
                pen.text((x, below), _cut(words, pen, font, width), fill=colour, font=font)
                below += _LINE
        y += height
    file = io.BytesIO()
    page.save(file, "PNG", optimize=True)
    return file.getvalue()


def _cut(words: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut words to a width."""
    if pen.textlength(words, font=font) <= width:
        return words
    while words and pen.textlength(words + "...", font=font) > width:
        words = words[:-1]
    return words + "..."
