"""ImageJ's regions of interest: ``.roi`` files, and ``RoiSet.zip`` of its ROI Manager, one an image.

Coordinates of areas count from the upper left corner of the upper left pixel; those of lines and points from its
centre, so that half a pixel is added here (useLineSubpixelConvention in ij/gui/Roi.java). Ovals hold the pixels whose
centres are inside (OvalRoi.java). The bytes are read by the package roifile; the paths of composite regions here,
with their curves.

ImageJ knows no classes. `ImportOptions.attribute` says what stands for one: ``"group"`` (the number of a ROI's
group), ``"name"`` (without the digits at its end: ``cell-12`` is a cell), ``"color"``, or a property of the ROIs.
Without it this is the property ``class`` if any ROI has it, or the group if any has one, or the name, unless names
are those that ImageJ gives itself (``0123-0456``), or nearly as many as ROIs. Names that occur several times are kept
as they are: their numbers tell classes, not objects.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.annotations import fields
from napari_segnet.annotations.model import (
    AnnotatedImage,
    Annotations,
    DrawnClass,
    Ellipse,
    Line,
    Point,
    Points,
    Polygon,
    Region,
    Shape,
)
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.tally import Tally
from napari_segnet.errors import DataError

_MAGIC = b"Iout"
_LARGEST_ROI = 64 * 2**20
_LARGEST_SET = 2**29
_MOST_ROIS = 200_000
_MOVE, _CLOSE = 0.0, 4.0
_POINTS_OF = {_MOVE: 1, 1.0: 1, 2.0: 2, 3.0: 3, _CLOSE: 0}
_CURVE_STEPS = np.linspace(0, 1, 17)[1:, None]
_ROI_SET = re.compile(r"[_\-. ]*roi[_\-. ]?sets?$|^roi[_\-. ]?sets?[_\-. ]+|[_\-. ]+rois?$", re.IGNORECASE)
# 0123-0456 with a slice before and a number behind; F01-C12 and UUIDs are what Python programs write.
_AUTOMATIC = re.compile(
    r"\d+(-\d+)*(-[a-z])?|F\d+-C\d*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|roi[_\- ]?\d*", re.IGNORECASE
)
_NUMBER_BEHIND = re.compile(r"[\s_\-.#(:]*\d+\)?$")
_MANY_NAMES = 12
_HALF = 0.5
_DAMAGE = (
    OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError, RuntimeError, MemoryError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def recognizes(path: Path) -> bool:
    """Say whether this is a ROI of ImageJ, or a zip file with some; an empty one is a set of none."""
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                return not names or any(name.lower().endswith(".roi") for name in names)
        with path.open("rb") as file:
            return file.read(4) == _MAGIC
    except _DAMAGE:
        return False


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read a ROI, or a set of them.

    Returns
    -------
    Annotations
        Of one image, named like the file, without ``RoiSet``. Each point of a multi-point is a region. Texts, images
        and damaged ROIs are left out, and counted.

    Raises
    ------
    DataError
        If the file is damaged or holds no ROI, or no ROI has the attribute that is asked for.
    """
    tally = Tally(path.name, "ROI")
    found: list[_Roi] = []
    for name, data in _entries(path, tally):
        try:
            found.append(_roi(name, data, tally))
        except _NotDrawnError as reason:
            tally.add(str(reason), "left out", name)
        except _DAMAGE:
            tally.add("damaged, or of no known kind", "left out", name)
    classes, names = _classes(found, options.attribute, path, tally)
    regions = tuple(
        Region(name, shapes, plane, roi.number)
        for roi, name in zip(found, names, strict=True)
        for shapes, plane in roi.objects
    )
    stem = _ROI_SET.sub("", path.stem) or path.stem
    image = AnnotatedImage(stem, path.name, regions=regions, named=False)
    return Annotations((image,), tuple(classes), tally.problems())


class _NotDrawnError(Exception):
    """A ROI that is nothing to draw."""


@dataclass(frozen=True)
class _Roi:
    """What a ROI says: its objects with their planes, and all that a class could be made of."""

    name: str
    objects: tuple[tuple[tuple[Shape, ...], int | tuple[int, int] | None], ...]
    group: int
    colour: str | None
    properties: dict[str, str]

    @property
    def number(self) -> int | None:
        return fields.whole(self.properties.get(fields.NUMBER_KEY))


def _entries(path: Path, tally: Tally) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of ROIs; no more of them than memory holds, whatever a zip file says."""
    try:
        if not path.name.lower().endswith(".zip"):
            yield path.stem, _read(path)
            return
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".roi")]
            if len(names) > _MOST_ROIS:
                raise DataError(f"{path} holds {len(names)} ROIs.", f"Split it: {_MOST_ROIS} can be read.")
            total = 0
            for name in names:
                try:
                    with archive.open(name) as file:
                        data = file.read(_LARGEST_ROI + 1)
                except _DAMAGE:
                    tally.add("damaged in the zip file", "left out", name)
                    continue
                total += len(data)
                if len(data) > _LARGEST_ROI or total > _LARGEST_SET:
                    raise DataError(f"{path} unpacks to more than ROIs can be.", "Save them again from ImageJ.")
                yield name[:-4], data
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is damaged: {error}.", "Save it again from ImageJ.") from error


def _read(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_ROI:
        raise DataError(f"{path} is too large for a ROI.", "Save it again from ImageJ.")
    return path.read_bytes()


def _roi(name: str, data: bytes, tally: Tally) -> _Roi:
    from roifile import ROI_OPTIONS, ImagejRoi

    roi = ImagejRoi.frombytes(data)
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        tally.add("a curve through points (spline)", "drawn with straight edges", name)
    objects = tuple(_objects(roi, tally, name))
    properties = dict(line.split(":", 1) for line in roi.props.splitlines() if ":" in line)
    colour = next((c for c in (roi.stroke_color, roi.fill_color) if any(c)), None)
    return _Roi(
        fields.text(roi.name or name),
        objects,
        int(roi.group),
        None if colour is None else f"#{colour[1:].hex()}",
        {fields.text(key): fields.text(value) for key, value in properties.items()},
    )


def _objects(roi: Any, tally: Tally, name: str) -> Iterator[tuple[tuple[Shape, ...], int | tuple[int, int] | None]]:
    """Yield the objects of a ROI: one, or as many as there are points."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    plane = _plane(roi)
    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        raise _NotDrawnError(f"{roi.subtype.name.lower()}, not a shape")
    if roi.roitype != ROI_TYPE.POINT:
        yield (_shape(roi, tally, name),), plane
        return
    points = fields.points(roi.coordinates()) + _HALF
    planes = roi.counter_positions
    if roi.counters is not None and len(set(roi.counters.tolist())) > 1:
        tally.add("points of several counters", "drawn as one class", name)
    for place, (x, y) in enumerate(points.tolist()):
        own = int(planes[place]) if planes is not None and place < len(planes) else 0
        yield (Point(x, y),), own - 1 if own > 0 else plane


def _plane(roi: Any) -> int | tuple[int, int] | None:
    """Return the plane that a ROI belongs to: ImageJ counts from 1, and 0 means all."""
    if roi.z_position > 0 or roi.t_position > 0:
        return max(roi.t_position - 1, 0), max(roi.z_position - 1, 0)
    return int(roi.position) - 1 if roi.position > 0 else None


def _shape(roi: Any, tally: Tally, name: str) -> Shape:
    from roifile import ROI_SUBTYPE, ROI_TYPE

    kind = roi.roitype
    if roi.composite:
        return Polygon(tuple(_path(roi.multi_coordinates)))
    if kind in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        box = (roi.left, roi.top, roi.right, roi.bottom)
        if roi.subpixelrect:
            box = (roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd)
        left, top, right, bottom = (fields.number(float(side)) for side in box)
        if kind == ROI_TYPE.OVAL:
            return Ellipse((left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2)
        if roi.rounded_rect_arc_size > 0:
            tally.add("rounded corners", "drawn square", name)
        return fields.rectangle(left, top, right, bottom)
    if kind == ROI_TYPE.FREEHAND and roi.subtype == ROI_SUBTYPE.ELLIPSE:
        return _ellipse(roi)
    if kind in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        return Polygon((fields.points(roi.coordinates(), 3),))
    if kind in (ROI_TYPE.LINE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE, ROI_TYPE.ANGLE):
        return Line(fields.points(roi.coordinates(), 2) + _HALF)
    raise _NotDrawnError("of no known kind")


def _ellipse(roi: Any) -> Ellipse:
    """Return an ellipse that ImageJ keeps as the ends of its long axis and the ratio of the short one to it."""
    ends = [fields.number(float(end)) for end in (roi.x1, roi.y1, roi.x2, roi.y2)]
    # The ratio is a number of four bytes, where arrows have three smaller ones.
    packed = struct.pack(">BBh", roi.arrow_style_or_aspect_ratio, roi.arrow_head_size, roi.rounded_rect_arc_size)
    ratio = fields.number(struct.unpack(">f", packed)[0])
    across, down = ends[2] - ends[0], ends[3] - ends[1]
    half = math.hypot(across, down) / 2
    x, y = (ends[0] + ends[2]) / 2, (ends[1] + ends[3]) / 2
    return Ellipse(x, y, half, half * abs(ratio), math.atan2(down, across))


def _path(values: Any) -> Iterator[Points]:
    """Yield the rings of a composite ROI: commands of java.awt.geom.PathIterator, each with its points."""
    given = np.asarray(values, np.float64).tolist()
    ring: list[tuple[float, float]] = []
    place = 0
    while place < len(given):
        command = given[place]
        count = _POINTS_OF[command]
        numbers = given[place + 1 : place + 1 + 2 * count]
        place += 1 + 2 * count
        if len(numbers) < 2 * count or (not ring and command != _MOVE):
            raise ValueError("a path that is cut short")
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command in (_MOVE, _CLOSE):
            if len(ring) > 2:
                yield fields.points(ring)
            ring = points or ring[:1]
        else:
            ring += points if count == 1 else _curve([ring[-1], *points])
    if len(ring) > 2:
        yield fields.points(ring)


def _curve(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points along a Bezier curve of three or four corners (de Casteljau), without the first."""
    levels = [np.array([corner]) for corner in corners]
    while len(levels) > 1:
        levels = [one + (other - one) * _CURVE_STEPS for one, other in pairwise(levels)]
    return [(x, y) for x, y in levels[0].tolist()]


def _classes(
    found: Sequence[_Roi], attribute: str | None, path: Path, tally: Tally
) -> tuple[list[DrawnClass], list[str]]:
    """Return the classes, and the class of each ROI."""
    keys = {key for roi in found for key in roi.properties} - {fields.NUMBER_KEY, fields.VALUE_KEY}
    if attribute is None:
        attribute = "class" if "class" in keys else "group" if any(roi.group for roi in found) else "name"
        names = _named(found, attribute, path, tally)
        if attribute == "name" and len(set(names)) > max(_MANY_NAMES, len(found) / 3):
            tally.add(
                f"names of single objects, {len(set(names))} in all", "of one class, 'object' (see --set attribute)"
            )
            names = [""] * len(found)
    elif attribute not in ("group", "name", "color", "colour", *keys):
        known = ", ".join(("group", "name", "color", *sorted(keys)[:12]))
        raise DataError(f"{path}: no ROI has a property {attribute!r}.", f"There are: {known}.")
    else:
        names = _named(found, attribute, path, tally)
    classes: dict[str, DrawnClass] = {}
    for roi, name in zip(found, names, strict=True):
        value = fields.whole(roi.properties.get(fields.VALUE_KEY))
        if value is None and attribute == "group":
            value = roi.group or None
        known_class = classes.get(name, DrawnClass(name, value, roi.colour))
        classes[name] = known_class if known_class.colour else DrawnClass(name, known_class.value, roi.colour)
    classes.pop("", None)
    return list(classes.values()), names


def _named(found: Sequence[_Roi], attribute: str, path: Path, tally: Tally) -> list[str]:
    if attribute == "group":
        return [f"group {roi.group}" if roi.group else "" for roi in found]
    if attribute in ("color", "colour"):
        return [roi.colour or "" for roi in found]
    if attribute != "name":
        return [roi.properties.get(attribute, "") for roi in found]
    # ImageJ puts a hyphen and a number behind names that it knows already.
    names = [re.sub(r"-\d+$", "", roi.name) for roi in found]
    for place, roi in enumerate(found):
        if _AUTOMATIC.fullmatch(roi.name) or roi.name == path.stem:
            names[place] = ""
    given = [name for name in names if name]
    if len(set(given)) < len(given):
        return names
    for place, name in enumerate(names):
        names[place] = _NUMBER_BEHIND.sub("", name)
        if names[place] != name:
            tally.add("a number at the end of the name", "the class is the name without it", name)
    return names
