"""VGG Image Annotator (VIA): annotations as JSON or CSV, and projects, of versions 1, 2 and 3.

Versions 1 and 2 hold regions with ``shape_attributes`` and ``region_attributes``; version 3 numbers its shapes in a
list (Dutta and Zisserman 2019, The VIA annotation software for images, audio and video, ACM Multimedia).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from napari_segnet.annotations.documents import is_json, read_csv, read_json
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
from napari_segnet.errors import DataError

_COLUMNS = {"filename", "region_shape_attributes", "region_attributes"}
_USUAL_NAMES = ("class", "label", "name", "type", "category", "object", "species")
_POINT, _RECTANGLE, _CIRCLE, _ELLIPSE, _LINE, _POLYLINE, _POLYGON, _EXTREME_RECTANGLE, _EXTREME_CIRCLE = range(1, 10)


def recognizes(path: Path) -> bool:
    """Say whether this is a file of VIA."""
    if path.name.lower().endswith(".csv"):
        try:
            rows = read_csv(path)
        except DataError:
            return False
        return bool(rows) and rows[0].keys() >= _COLUMNS
    if not is_json(path):
        return False
    tree = read_json(path)
    if not isinstance(tree, dict):
        return False
    if "_via_img_metadata" in tree or {"file", "view", "metadata"} <= tree.keys():
        return True
    first = next(iter(tree.values()), None)
    return isinstance(first, dict) and "filename" in first and "regions" in first


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read a file of VIA.

    Returns
    -------
    Annotations
        Regions whose shape is missing or unknown are left out, and said.

    Raises
    ------
    DataError
        If the file is damaged, or has no attribute of the name that `options` asks for.
    """
    problems: list[Problem] = []
    declared: dict[str, list[str]] = {}
    if path.name.lower().endswith(".csv"):
        items = _rows(path, problems)
    else:
        tree = _table(read_json(path))
        if {"file", "view", "metadata"} <= tree.keys():
            items, declared = _version_3(tree, path, problems)
        else:
            declared = _declared(tree.get("_via_attributes"))
            items = _images(tree.get("_via_img_metadata", tree), path, problems)
    found = list(items)
    attribute = _class_attribute([r for _, regions in found for r in regions], options.attribute, path)
    names = list(dict.fromkeys(declared.get(attribute or "", [])))
    images = tuple(
        AnnotatedImage(name, path.name, regions=_regions(name, regions, attribute, problems)) for name, regions in found
    )
    return Annotations(images, tuple(DrawnClass(name) for name in names), tuple(problems))


Raw = tuple[Mapping[str, Any], Mapping[str, Any]]
"""The shape and the attributes of a region."""


def _images(entries: Any, path: Path, problems: list[Problem]) -> Iterator[tuple[str, list[Raw]]]:
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
            problems.append(Problem(path.name, f"The entry {str(key)[:60]!r} names no image.", "left out"))
            continue
        regions = entry.get("regions") or []
        if isinstance(regions, dict):  # version 1 numbers them
            regions = list(regions.values())
        raw: list[Raw] = []
        for region in regions if isinstance(regions, list) else ():
            shape = region.get("shape_attributes") if isinstance(region, dict) else None
            attributes = region.get("region_attributes") if isinstance(region, dict) else None
            raw.append((shape if isinstance(shape, dict) else {}, attributes if isinstance(attributes, dict) else {}))
        yield unquote(entry["filename"]), raw


def _rows(path: Path, problems: list[Problem]) -> Iterator[tuple[str, list[Raw]]]:
    images: dict[str, list[Raw]] = {}
    for number, row in enumerate(read_csv(path), start=2):
        regions = images.setdefault(unquote(row.get("filename", "")), [])
        if row.get("region_shape_attributes", "").strip() in ("", "{}"):
            continue  # an image without regions has one such row
        try:
            shape, attributes = json.loads(row["region_shape_attributes"]), json.loads(row["region_attributes"] or "{}")
        except (json.JSONDecodeError, RecursionError):
            problems.append(Problem(path.name, f"Line {number} holds no JSON.", "left out"))
            continue
        regions.append((shape if isinstance(shape, dict) else {}, attributes if isinstance(attributes, dict) else {}))
    yield from images.items()


def _version_3(
    tree: Mapping[str, Any], path: Path, problems: list[Problem]
) -> tuple[Iterator[tuple[str, list[Raw]]], dict[str, list[str]]]:
    """Return images and regions, and the options of each attribute, in the words of version 2."""
    attributes = {k: a for k, a in _table(tree.get("attribute")).items() if isinstance(a, dict)}
    titles = {key: str(a.get("aname", key)) for key, a in attributes.items()}
    choices = {key: a["options"] for key, a in attributes.items() if isinstance(a.get("options"), dict)}
    files = {str(k): f.get("fname") for k, f in _table(tree["file"]).items() if isinstance(f, dict)}
    views = {str(k): v.get("fid_list") for k, v in _table(tree["view"]).items() if isinstance(v, dict)}
    images: dict[str, list[Raw]] = {}
    for ids in views.values():
        if isinstance(ids, list) and len(ids) == 1 and files.get(str(ids[0])):
            images.setdefault(unquote(str(files[str(ids[0])])), [])
    for key, entry in _table(tree["metadata"]).items():
        ids = views.get(str(entry.get("vid"))) if isinstance(entry, dict) else None
        name = files.get(str(ids[0])) if isinstance(ids, list) and len(ids) == 1 else None
        if not name:
            problems.append(Problem(path.name, f"The region {str(key)[:60]!r} belongs to no image.", "left out"))
            continue
        values = _table(entry.get("av"))
        said = {
            titles.get(k, k): (choices.get(k) or {}).get(v, v) if isinstance(v, str) else v for k, v in values.items()
        }
        images[unquote(str(name))].append((_numbered_shape(entry.get("xy")), said))
    declared = {titles[k]: [str(text) for text in given.values()] for k, given in choices.items()}
    return iter(images.items()), declared


def _numbered_shape(xy: Any) -> dict[str, Any]:
    """Return the shape attributes of version 2 for a list of version 3: a number for the kind, then coordinates."""
    if not isinstance(xy, list) or not xy or not all(isinstance(v, int | float) for v in xy):
        return {}
    kind, rest = int(xy[0]), xy[1:]
    if kind in (_LINE, _POLYLINE, _POLYGON):
        name = "polygon" if kind == _POLYGON else "polyline"
        return {"name": name, "all_points_x": rest[::2], "all_points_y": rest[1::2]}
    fields = {
        _POINT: ("point", ("cx", "cy")),
        _RECTANGLE: ("rect", ("x", "y", "width", "height")),
        _EXTREME_RECTANGLE: ("rect", ("x", "y", "width", "height")),
        _CIRCLE: ("circle", ("cx", "cy", "r")),
        _EXTREME_CIRCLE: ("circle", ("cx", "cy", "r")),
        _ELLIPSE: ("ellipse", ("cx", "cy", "rx", "ry")),
    }
    name, keys = fields.get(kind, (f"shape {kind}", ()))
    return {"name": name, **dict(zip(keys, rest, strict=False))}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _declared(attributes: Any) -> dict[str, list[str]]:
    """Return the options that a project declares for each attribute of regions, in order."""
    regions = attributes.get("region") if isinstance(attributes, dict) else None
    given = regions.items() if isinstance(regions, dict) else ()
    return {
        str(name): [str(option) for option in entry["options"]]
        for name, entry in given
        if isinstance(entry, dict) and isinstance(entry.get("options"), dict)
    }


def _class_attribute(regions: Sequence[Raw], wanted: str | None, path: Path) -> str | None:
    """Return the attribute that names the class: the wanted one, one with a usual name, or the one most used."""
    counts: dict[str, int] = {}
    for _, attributes in regions:
        for name, value in attributes.items():
            counts[name] = counts.get(name, 0) + bool(_text(value))
    if wanted is not None:
        if regions and wanted not in counts:
            known = ", ".join(sorted(counts)) or "none"
            raise DataError(f"{path}: no region has an attribute {wanted!r}.", f"There are: {known}.")
        return wanted
    used = [name for name, count in counts.items() if count]
    usual = [name for word in _USUAL_NAMES for name in used if name.lower() == word]
    return usual[0] if usual else max(used, key=lambda name: counts[name], default=None)


def _text(value: Any) -> str:
    """Return a class name: the text itself, the option that is ticked, or several with a plus between."""
    if isinstance(value, dict):
        return "+".join(str(option) for option, ticked in value.items() if ticked)
    return "" if value is None or value == "undefined" else str(value).strip()


def _regions(image: str, raw: Sequence[Raw], attribute: str | None, problems: list[Problem]) -> tuple[Region, ...]:
    regions = []
    for number, (shape, attributes) in enumerate(raw, start=1):
        try:
            drawn = _shape(shape)
        except (KeyError, TypeError, ValueError, OverflowError):
            what = str(shape.get("name", "without a shape"))[:40]
            problems.append(Problem(image, f"Region {number} ({what}) can't be drawn.", "left out"))
            continue
        regions.append(Region(_text(attributes.get(attribute)) if attribute else "", (drawn,)))
    return tuple(regions)


def _shape(given: Mapping[str, Any]) -> Shape:
    name = given["name"]
    if name == "rect":
        x, y = float(given["x"]), float(given["y"])
        right, bottom = x + float(given["width"]), y + float(given["height"])
        return Polygon((np.array([[x, y], [right, y], [right, bottom], [x, bottom]]),))
    if name == "circle":
        return Ellipse(float(given["cx"]), float(given["cy"]), float(given["r"]), float(given["r"]))
    if name == "ellipse":
        x, y, radius_x, radius_y = (float(given[key]) for key in ("cx", "cy", "rx", "ry"))
        return Ellipse(x, y, radius_x, radius_y, float(given.get("theta", 0.0)))
    if name == "point":
        return Point(float(given["cx"]), float(given["cy"]))
    points = np.column_stack([np.asarray(given[key], float) for key in ("all_points_x", "all_points_y")])
    if name == "polygon" and len(points) > 2:
        return Polygon((points,))
    if name in ("polyline", "polygon") and len(points) > 1:
        return Line(points)
    raise ValueError(name)
