"""COCO: polygons, run lengths and boxes of objects in one JSON for many images.

Coordinates count from the upper left corner of the upper left pixel (cocoapi, "bbox = [0 0 1 1] encloses first pixel"
in pycocotools/mask.py), as ours do. An object of several polygons is the union of them: COCO's polygons know no
holes, run lengths do. On polygons with whole numbers we and pycocotools agree; of slanted edges pycocotools draws a
copy five times as large, so that pixels whose centres lie just off an edge can differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_segnet.annotations import fields, rle
from napari_segnet.annotations.documents import is_json, read_json
from napari_segnet.annotations.model import (
    AnnotatedImage,
    Annotations,
    DrawnClass,
    Polygon,
    Problem,
    Region,
    Shape,
)
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.tally import Tally
from napari_segnet.errors import DataError

_LARGEST_VALUE = 65535
_BACKGROUNDS = ("background", "_background_", "bg")


def recognizes(path: Path) -> bool:
    """Say whether this is a JSON of COCO: images, and annotations of them."""
    if not is_json(path):
        return False
    tree = read_json(path)
    return isinstance(tree, dict) and isinstance(tree.get("images"), list) and isinstance(tree.get("annotations"), list)


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read a file of COCO.

    Returns
    -------
    Annotations
        The numbers of categories are the values of classes, where they can be. Crowds lie below objects, and are left
        out where objects are numbered. Objects with a box alone are drawn as rectangles. Keypoints are left out.

    Raises
    ------
    DataError
        If the file is no COCO, or a panoptic one, whose regions are in pictures of their own.
    """
    tree = read_json(path)
    images, annotations = (tree.get("images"), tree.get("annotations")) if isinstance(tree, dict) else (None, None)
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise DataError(f"{path} is no COCO: it has no images and annotations.", "Export it as COCO instances.")
    if any(isinstance(entry, dict) and "segments_info" in entry for entry in annotations[:1]):
        raise DataError(
            f"{path} is a panoptic COCO: its regions are in the PNG files beside it.",
            "Import the folder of these PNG files.",
        )
    problems: list[Problem] = []
    classes, names = _categories(tree.get("categories"), path.name, problems)
    files, sizes = _images(images, path.name, problems)
    reader = _Annotations(path.name, names, sizes, options)
    regions: dict[Any, list[Region]] = {}
    crowds: dict[Any, list[Region]] = {}
    for entry in annotations:
        image, region, crowd = reader.region(entry)
        if region is not None:
            (crowds if crowd else regions).setdefault(image, []).append(region)
    found = tuple(
        AnnotatedImage(name, path.name, sizes[key], (*crowds.get(key, ()), *regions.get(key, ())))
        for key, name in files.items()
    )
    return Annotations(found, (*classes, *reader.further), (*problems, *reader.problems()))


def _key(value: Any) -> Any:
    """Return an id as others may have written it: ``1``, ``1.0`` and ``"1"`` are one."""
    number = fields.whole(value)
    return number if number is not None else fields.text(value) or None


def _categories(entries: Any, file: str, problems: list[Problem]) -> tuple[list[DrawnClass], dict[Any, str]]:
    """Return the classes, and the name of each category id."""
    tally = Tally(file, "category")
    classes: list[DrawnClass] = []
    names: dict[Any, str] = {}
    called: set[str] = set()
    for entry in entries if isinstance(entries, list) else ():
        key = _key(entry.get("id")) if isinstance(entry, dict) else None
        if key is None or key in names:
            tally.add("no id, or one that another has", "left out", str(key))
            continue
        name = fields.text(entry.get("name")) or f"category {key}"
        if name in called:
            tally.add(f"another is called {name!r}, too", f"called {name} ({key})", str(key))
            name = f"{name} ({key})"
        names[key] = name
        called.add(name)
        background = name.lower() in _BACKGROUNDS
        if key == 0 and not background:
            tally.add(f"{name!r} has the id 0, which means background in labels", "given a free value")
        value = key if isinstance(key, int) and (key > 0 or background) and key <= _LARGEST_VALUE else None
        classes.append(DrawnClass(name, value, fields.colour(entry.get("color"))))
    problems += tally.problems()
    return classes, names


def _images(
    entries: list[Any], file: str, problems: list[Problem]
) -> tuple[dict[Any, str], dict[Any, tuple[int, int] | None]]:
    """Return the name and the size of each image id."""
    tally = Tally(file, "image")
    files: dict[Any, str] = {}
    sizes: dict[Any, tuple[int, int] | None] = {}
    for entry in entries:
        given: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
        key, name = _key(given.get("id")), given.get("file_name")
        if key is None or key in files or not isinstance(name, str) or not name.strip():
            tally.add("no file_name, no id, or one that another has", "left out", str(key))
            continue
        files[key], sizes[key] = name.strip(), fields.size(given.get("height"), given.get("width"))
    problems += tally.problems()
    return files, sizes


class _Annotations:
    """Makes regions of annotations, and counts what can't be one."""

    def __init__(
        self, file: str, names: dict[Any, str], sizes: dict[Any, tuple[int, int] | None], options: ImportOptions
    ) -> None:
        self._names, self._sizes, self._instances = names, sizes, options.task == "instances"
        self._tally = Tally(file, "annotation")
        self.further: list[DrawnClass] = []

    def region(self, entry: Any) -> tuple[Any, Region | None, bool]:
        """Return the id of the image, the region, and whether it is a crowd."""
        if not isinstance(entry, dict):
            self._tally.add("no object of JSON", "left out")
            return None, None, False
        image, which = _key(entry.get("image_id")), str(entry.get("id"))
        crowd = fields.whole(entry.get("iscrowd")) == 1
        if image not in self._sizes:
            self._tally.add("an image_id that no image has", "left out", which)
        elif crowd and self._instances:
            self._tally.add("a crowd (iscrowd) is several objects", "left out", which)
        else:
            try:
                shapes = tuple(self._shapes(entry, image, which))
            except ValueError as error:
                self._tally.add(str(error), "left out", which)
                return image, None, crowd
            if crowd:
                self._tally.add("a crowd (iscrowd)", "drawn below the others", which)
            own = entry.get("attributes")
            number = fields.whole(own.get(fields.NUMBER_KEY)) if isinstance(own, dict) else None
            return image, Region(self._name(entry.get("category_id"), which), shapes, number=number), crowd
        return image, None, crowd

    def _name(self, category: Any, which: str) -> str:
        key = _key(category)
        if key is None:
            self._tally.add("no category", "drawn as 'object'", which)
            return ""
        if key not in self._names:
            name = self._names[key] = f"category {key}"
            value = key if isinstance(key, int) and 0 < key <= _LARGEST_VALUE else None
            self.further.append(DrawnClass(name, value))
            self._tally.add(f"a category {key} that isn't defined", f"called {name!r}", which)
        return self._names[key]

    def _shapes(self, entry: Mapping[str, Any], image: Any, which: str) -> Iterator[Shape]:
        outline = entry.get("segmentation")
        if "keypoints" in entry:
            self._tally.add("keypoints", "these are not drawn", which)
        if isinstance(outline, dict):
            box = outline.get("size")
            size = fields.size(*box) if isinstance(box, list) and len(box) == 2 else None
            if size is None:
                raise ValueError("run lengths without a size")
            if self._sizes[image] is None:
                self._sizes[image] = size
            if size != self._sizes[image]:
                raise ValueError("run lengths of another size than the image has")
            yield rle.runs(outline.get("counts"), size, by_columns=True)
        elif isinstance(outline, list) and outline:
            # Some programs leave out the list around a single polygon.
            single = not isinstance(outline[0], list | dict)
            polygons = [outline] if single else outline
            made = [polygon for ring in polygons if (polygon := self._polygon(ring, which)) is not None]
            if not made:
                raise ValueError("no polygon of three corners")
            yield from made
        else:
            box = entry.get("bbox")
            if not isinstance(box, list) or len(box) != 4:
                raise ValueError("neither an outline nor a box")
            left, top, width, height = (fields.number(part) for part in box)
            self._tally.add("a box and no outline", "drawn as a rectangle", which)
            yield fields.rectangle(left, top, left + width, top + height)

    def _polygon(self, ring: Any, which: str) -> Polygon | None:
        if not isinstance(ring, list):
            raise ValueError("a polygon that is no list of x and y")
        if len(ring) < 6:
            self._tally.add("a polygon of fewer than three corners", "that polygon is left out", which)
            return None
        return Polygon((fields.flat_points(ring, 3),))

    def problems(self) -> tuple[Problem, ...]:
        """Return what couldn't be drawn."""
        return self._tally.problems()
