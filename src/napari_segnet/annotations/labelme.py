"""LabelMe: one JSON an image, with its shapes; also what AnyLabeling and X-AnyLabeling write.

Coordinates count from the upper left corner of the upper left pixel: LabelMe shows the image from 0 to its width, and
keeps where the mouse was. (Its own scripts draw the outline of a shape, too, so that their masks are about a third of
a pixel larger on all sides: shape_to_mask in labelme/utils/shape.py.) Shapes of one label and one ``group_id`` are one
object, as there. Flags belong to an image or a shape as a whole, and draw nothing.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.annotations import fields, rle
from napari_segnet.annotations.documents import is_json, read_json
from napari_segnet.annotations.model import (
    AnnotatedImage,
    Annotations,
    Ellipse,
    Line,
    Point,
    Polygon,
    Region,
    Runs,
    Shape,
)
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.tally import Tally
from napari_segnet.axes import counted
from napari_segnet.errors import DataError

# Masks are pictures in the JSON: some bytes of them can be gigabytes of pixels.
_MOST_MASK_PIXELS = 2_000_000_000
_LARGEST_MASK = 2**28


def recognizes(path: Path) -> bool:
    """Say whether this is a JSON of LabelMe."""
    if not is_json(path):
        return False
    tree = read_json(path)
    return isinstance(tree, dict) and isinstance(tree.get("shapes"), list) and "imagePath" in tree


def read(path: Path, _options: ImportOptions) -> Annotations:
    """Read a file of LabelMe.

    Returns
    -------
    Annotations
        Of one image. Shapes that are no shapes are left out, and counted.

    Raises
    ------
    DataError
        If the file is none of LabelMe.
    """
    tree = read_json(path)
    if not isinstance(tree, dict) or not isinstance(tree.get("shapes"), list):
        raise DataError(f"{path} is none of LabelMe: it has no list of shapes.", "Save it again from LabelMe.")
    name, size = tree.get("imagePath"), fields.size(tree.get("imageHeight"), tree.get("imageWidth"))
    named = isinstance(name, str) and bool(name.strip())
    reader = _Shapes(path.name, size)
    for place, shape in enumerate(tree["shapes"], start=1):
        reader.add(shape, place)
    image = AnnotatedImage(str(name) if named else path.stem, path.name, size, reader.regions(), named=named)
    return Annotations((image,), problems=reader.tally.problems())


class _Shapes:
    """Collects the shapes of an image, those of a group together."""

    def __init__(self, file: str, size: tuple[int, int] | None) -> None:
        self._size = size
        self._parts: dict[tuple[str, Any], list[Shape]] = {}
        self._pixels = 0
        self.tally = Tally(file, "shape")

    def add(self, entry: Any, place: int) -> None:
        """Add a shape; `place` is its place in the list, from 1 on."""
        given: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
        name = fields.text(given.get("label"))
        which = f"{place} {name}".strip()
        try:
            shapes = self._shapes(given)
        except ValueError as error:
            self.tally.add(str(error), "left out", which)
            return
        group = fields.whole(given.get("group_id"))
        if group is not None:
            self._parts.setdefault((name, group), []).extend(shapes)
            return
        single = given.get("shape_type") != "points"
        for number, part in enumerate([shapes] if single else [[point] for point in shapes]):
            self._parts[name, (place, number)] = part

    def regions(self) -> tuple[Region, ...]:
        """Return what was collected, in the order of the file."""
        return tuple(Region(name, tuple(shapes)) for (name, _), shapes in self._parts.items())

    def _shapes(self, given: Mapping[str, Any]) -> list[Shape]:
        kind = given.get("shape_type") or "polygon"
        if kind == "mask":
            return [self._mask(given)]
        points = fields.points(given.get("points"))
        if kind in ("polygon", "rotation", "oriented_rectangle") and len(points) > 2:
            return [Polygon((points,))]
        if kind == "rectangle" and len(points) in (2, 4):
            return [fields.rectangle(*points.min(axis=0), *points.max(axis=0))]
        if kind == "circle" and len(points) == 2:
            (x, y), (rim_x, rim_y) = points.tolist()
            radius = math.hypot(rim_x - x, rim_y - y)
            return [Ellipse(x, y, radius, radius)]
        if kind in ("line", "linestrip") and len(points) > 1:
            return [Line(points)]
        if kind in ("point", "points"):
            return [Point(x, y) for x, y in points.tolist()]
        raise ValueError(f"a {fields.text(kind) or 'shape'} of {counted(len(points), 'point')}")

    def _mask(self, given: Mapping[str, Any]) -> Runs:
        """Return a mask, a PNG in base64, whose first pixel is the first of the points."""
        from PIL import Image

        if not isinstance(given.get("mask"), str):
            raise ValueError("a mask without pixels")
        left, top = np.floor(fields.points(given.get("points"))[0]).astype(int).tolist()
        try:
            with warnings.catch_warnings():
                # The limits below are ours.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                picture = Image.open(io.BytesIO(base64.b64decode(given["mask"], validate=True)), formats=("PNG",))
                box = picture.height, picture.width
                self._pixels += box[0] * box[1]
                limit = self._size or box
                if box[0] * box[1] > _LARGEST_MASK or box[0] > limit[0] or box[1] > limit[1]:
                    raise ValueError("a mask larger than the image")
                if self._pixels > _MOST_MASK_PIXELS:
                    raise ValueError("masks of too many pixels in one file")
                pixels = np.asarray(picture)
        except (binascii.Error, OSError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError) as error:
            raise ValueError("a mask that is no PNG") from error
        except Image.DecompressionBombError as error:
            raise ValueError("a mask larger than the image") from error
        if pixels.ndim > 2:  # some programs save it in colour
            pixels = pixels[..., 0]
        return rle.runs(rle.encode(pixels != 0), box, top, left)
