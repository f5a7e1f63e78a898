"""CVAT XML 1.1, for images and for videos.

Coordinates count from the upper left corner of the upper left pixel; rotations are degrees clockwise around the
centre, as CVAT draws them. Masks are run lengths along the rows of a box, first of pixels outside. Shapes with a
higher ``z_order`` lie above; shapes of one label and one ``group_id`` are one object (CVAT's documentation of its XML
format, and cvat/apps/dataset_manager/formats/cvat.py).

In the XML for videos each frame is called ``frame_000012``, as CVAT calls the images that it exports with it, and the
number of a track is the number of its object in all frames. CVAT writes a shape for every frame of a track, those
between keyframes too: nothing is interpolated here, and a frame that a track doesn't have has none of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from napari_segnet.annotations import fields, rle
from napari_segnet.annotations.documents import read_xml
from napari_segnet.annotations.model import (
    AnnotatedImage,
    Annotations,
    DrawnClass,
    Ellipse,
    Line,
    Point,
    Polygon,
    Problem,
    Region,
    Shape,
)
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.tally import Tally
from napari_segnet.errors import DataError

_HEAD = 65536
_SHAPES = ("box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid", "skeleton", "tag")


def recognizes(path: Path) -> bool:
    """Say whether this looks like an XML of CVAT: its first element is called ``annotations``."""
    if not path.name.lower().endswith(".xml"):
        return False
    with path.open("rb") as file:
        start = file.read(_HEAD)
    return b"<annotations" in start and (b"<version>" in start or b"<meta>" in start or b"<image" in start)


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read an XML of CVAT.

    Parameters
    ----------
    path : Path
    options : ImportOptions
        Its `attribute` names an attribute of the shapes that is their class, instead of the label.

    Returns
    -------
    Annotations
        Skeletons, cuboids and tags are left out, and counted.

    Raises
    ------
    DataError
        If the file is damaged, is none of CVAT, or no shape has the attribute that is asked for.
    """
    root = read_xml(path)
    if root.tag != "annotations":
        raise DataError(f"{path} is none of CVAT: it begins with <{root.tag[:40]}>.", "Export 'CVAT for images 1.1'.")
    reader = _Reader(path.name, options.attribute)
    images = [reader.image(element) for element in root.findall("image")]
    images += reader.frames(root)
    if options.attribute is not None and not reader.attributes.get(options.attribute):
        known = ", ".join(sorted(reader.attributes)[:12]) or "none"
        raise DataError(f"{path}: no shape has an attribute {options.attribute!r}.", f"There are: {known}.")
    classes = () if options.attribute is not None else _classes(root)
    return Annotations(tuple(image for image in images if image is not None), classes, reader.problems())


def _classes(root: ET.Element) -> tuple[DrawnClass, ...]:
    """Return the labels of a task, a job or a project."""
    labels: dict[str, DrawnClass] = {}
    for element in root.iterfind("./meta//labels/label"):
        name = fields.text(element.findtext("name"))
        if name:
            labels.setdefault(name, DrawnClass(name, None, fields.colour(element.findtext("color"))))
    return tuple(labels.values())


@dataclass(frozen=True)
class _Drawn:
    """A shape of the file: the objects that it is (several for points), how high it lies, and its group."""

    name: str
    objects: tuple[tuple[Shape, ...], ...]
    height: float
    group: int | None


class _Reader:
    """Makes regions of elements, and counts what can't be one."""

    def __init__(self, file: str, attribute: str | None) -> None:
        self._file, self._attribute = file, attribute
        self._tally, self._images = Tally(file, "shape"), Tally(file, "image")
        self.attributes: dict[str, int] = {}

    def problems(self) -> tuple[Problem, ...]:
        """Return what couldn't be drawn."""
        return (*self._images.problems(), *self._tally.problems())

    def image(self, element: ET.Element) -> AnnotatedImage | None:
        """Return an ``<image>`` and its shapes, the highest last."""
        name = (element.get("name") or "").strip()
        if not name:
            self._images.add("no name", "left out", element.get("id", ""))
            return None
        found: list[_Drawn] = []
        for shape in element:
            if shape.tag in _SHAPES:
                drawn = self._drawn(shape, shape.get("label"), name)
                found += [drawn] if drawn is not None else []
        size = fields.size(element.get("height"), element.get("width"))
        return AnnotatedImage(name, self._file, size, tuple(_regions(found)))

    def frames(self, root: ET.Element) -> Iterator[AnnotatedImage]:
        """Yield the frames of tracks."""
        task = root.find("./meta//original_size")
        size = None if task is None else fields.size(task.findtext("height"), task.findtext("width"))
        tracks = root.findall("track")
        frames: dict[int, list[tuple[float, Region]]] = {}
        for place, track in enumerate(tracks):
            label = track.get("label")
            if track.get("task_id") != tracks[0].get("task_id"):
                self._tally.add("frames of several tasks have the same names", "left out", f"track {place}")
                continue
            number = fields.whole(track.get("id"))
            for shape in track:
                frame = fields.whole(shape.get("frame"))
                if shape.tag not in _SHAPES or shape.get("outside") == "1":
                    continue
                if frame is None:
                    self._tally.add("no frame", "left out", f"{shape.tag} of {label}")
                    continue
                drawn = self._drawn(shape, label, f"frame {frame}")
                if drawn is None:
                    continue
                for shapes in drawn.objects:
                    # Tracks are numbered from 0 on, objects from 1.
                    region = Region(drawn.name, shapes, number=None if number is None else number + 1)
                    frames.setdefault(frame, []).append((drawn.height, region))
        for frame, found in sorted(frames.items()):
            regions = tuple(region for _, region in sorted(found, key=lambda item: item[0]))
            yield AnnotatedImage(f"frame_{frame:06d}", self._file, size, regions)

    def _drawn(self, element: ET.Element, label: str | None, where: str) -> _Drawn | None:
        which = f"{element.tag} {label or ''} of {where}"
        for child in element.findall("attribute"):
            key = child.get("name", "")
            self.attributes[key] = self.attributes.get(key, 0) + 1
        try:
            objects = tuple(_objects(element))
            height = fields.number(element.get("z_order", "0"))
        except ValueError as error:
            self._tally.add(str(error), "left out", which)
            return None
        name = fields.text(label)
        if self._attribute is not None:
            said = [c.text for c in element.findall("attribute") if c.get("name") == self._attribute]
            name = fields.text(said[0]) if said else ""
        return _Drawn(name, objects, height, fields.whole(element.get("group_id")) or None)


def _regions(found: list[_Drawn]) -> Iterator[Region]:
    """Yield the regions of an image from the lowest to the highest, those of a group as one."""
    together: dict[tuple[str, int] | int, list[_Drawn]] = {}
    for place, drawn in enumerate(found):
        key = place if drawn.group is None else (drawn.name, drawn.group)
        together.setdefault(key, []).append(drawn)
    for group in sorted(together.values(), key=lambda group: max(drawn.height for drawn in group)):
        objects = [shapes for drawn in group for shapes in drawn.objects]
        if group[0].group is not None:
            objects = [tuple(shape for shapes in objects for shape in shapes)]
        for shapes in objects:
            yield Region(group[0].name, shapes)


def _objects(element: ET.Element) -> Iterator[tuple[Shape, ...]]:
    kind, given = element.tag, element.attrib
    if kind == "box":
        left, top, right, bottom = (fields.number(given.get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
        ring = fields.rectangle(left, top, right, bottom).rings[0]
        angle = math.radians(fields.number(given.get("rotation", "0")))
        centre = ring.mean(axis=0)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        yield (Polygon(((ring - centre) @ turn + centre,)) if angle else Polygon((ring,)),)
    elif kind == "ellipse":
        x, y, radius_x, radius_y = (fields.number(given.get(key)) for key in ("cx", "cy", "rx", "ry"))
        angle = math.radians(fields.number(given.get("rotation", "0")))
        yield (Ellipse(x, y, abs(radius_x), abs(radius_y), angle),)
    elif kind == "mask":
        box = fields.size(given.get("height"), given.get("width"))
        left, top = fields.number(given.get("left")), fields.number(given.get("top"))
        if box is None:
            raise ValueError("a mask without a box")
        counts = [part.strip() for part in given.get("rle", "").split(",")]
        yield (rle.runs(counts, box, int(top), int(left)),)
    elif kind in ("polygon", "polyline", "points"):
        least = {"polygon": 3, "polyline": 2, "points": 1}[kind]
        points = fields.points([pair.split(",") for pair in given.get("points", "").split(";")], least)
        if kind == "points":
            yield from ((Point(x, y),) for x, y in points.tolist())
        else:
            yield (Polygon((points,)) if kind == "polygon" else Line(points),)
    else:
        raise ValueError(f"a {kind}, which covers no pixels of its own")
