"""GeoJSON, as QuPath exports and imports it; plain GeoJSON in pixels as well. One file an image, named like it.

Coordinates count from the upper left corner of the upper left pixel of the full resolution, as QuPath's do. A polygon
is a list of rings: the outline, and holes (RFC 7946). QuPath writes classes as ``properties.classification`` (a
name, or names of a derived class, and a colour: a list, or ``colorRGB`` before version 0.4), planes of a stack as
``geometry.plane`` (z and t from 0 on; those of the first plane have none), and ellipses as polygons with
``isEllipse``, which stand for the ellipse of their box (ROITypeAdapters.java, PathObjectTypeAdapters.java, and
GsonTools.java in qupath-core).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_segnet.annotations import fields
from napari_segnet.annotations.documents import is_json, read_json
from napari_segnet.annotations.model import (
    AnnotatedImage,
    Annotations,
    DrawnClass,
    Ellipse,
    Line,
    Point,
    Polygon,
    Region,
    Shape,
)
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.annotations.tally import Tally
from napari_segnet.errors import DataError

_USUAL_NAMES = ("class", "label", "category", "type", "name")
_SUFFIXES = (".geojson", ".json")
_Plane = tuple[int, int]


def recognizes(path: Path) -> bool:
    """Say whether this is GeoJSON: a collection of features, one feature, or a list of them."""
    if not is_json(path, _SUFFIXES):
        return False
    return _features(read_json(path)) is not None


def read(path: Path, options: ImportOptions) -> Annotations:
    """Read a GeoJSON file.

    Parameters
    ----------
    path : Path
    options : ImportOptions
        Its `attribute` names the property that is the class. Without it this is QuPath's classification, or, where no
        feature has one and QuPath didn't write the file, a property with a usual name.

    Returns
    -------
    Annotations
        Of one image, named like the file. Nuclei within QuPath's cells and collections of geometries are left out,
        and counted.

    Raises
    ------
    DataError
        If the file is no GeoJSON, or no feature has the property that is asked for.
    """
    features = _features(read_json(path))
    if features is None:
        raise DataError(f"{path} is no GeoJSON: it has no features.", "Export it as GeoJSON.")
    tally = Tally(path.name, "feature")
    properties = [_part(feature, "properties") for feature in features]
    attribute = _class_property(properties, options.attribute, path)
    stack = any(_part(_part(feature, "geometry"), "plane") for feature in features)
    classes: dict[str, DrawnClass] = {}
    regions: list[Region] = []
    for place, (feature, said) in enumerate(zip(features, properties, strict=True), start=1):
        name, colour = _class(said, attribute)
        which = f"{place} {name}".strip()
        if said.get("objectType") == "root":
            continue
        if isinstance(feature, dict) and "nucleusGeometry" in feature:
            tally.add("a nucleus in a cell", "the cell is drawn", which)
        geometry = _part(feature, "geometry")
        try:
            shapes = _shapes(geometry)
        except ValueError as error:
            tally.add(str(error), "left out", which)
            continue
        own = _part(said, "metadata")
        value, number = fields.whole(own.get(fields.VALUE_KEY)), fields.whole(own.get(fields.NUMBER_KEY))
        if name:
            known = classes.get(name, DrawnClass(name))
            classes[name] = DrawnClass(name, known.value or value, known.colour or colour)
        plane = _plane(geometry) if stack else None
        regions += [Region(name, part, plane, number) for part in shapes]
    image = AnnotatedImage(path.stem, path.name, regions=tuple(regions), named=False)
    return Annotations((image,), tuple(classes.values()), tally.problems())


def _features(tree: Any) -> list[Any] | None:
    """Return the features of a file; None if it holds none."""
    if isinstance(tree, dict) and tree.get("type") == "FeatureCollection":
        return tree["features"] if isinstance(tree.get("features"), list) else None
    if isinstance(tree, dict) and tree.get("type") == "Feature":
        return [tree]
    if isinstance(tree, list) and tree and all(isinstance(f, dict) and f.get("type") == "Feature" for f in tree):
        return tree
    return None


def _part(tree: Any, key: str) -> Mapping[str, Any]:
    found = tree.get(key) if isinstance(tree, Mapping) else None
    return found if isinstance(found, dict) else {}


def _class_property(properties: list[Mapping[str, Any]], wanted: str | None, path: Path) -> str | None:
    """Return the property that names the class; None: QuPath's classification, or none."""
    if wanted is not None:
        if properties and not any(wanted in said for said in properties):
            known = ", ".join(sorted({key for said in properties for key in said})[:12]) or "none"
            raise DataError(f"{path}: no feature has a property {wanted[:60]!r}.", f"There are: {known}.")
        return wanted
    if any("classification" in said or "objectType" in said for said in properties):
        return None
    return next((name for name in _USUAL_NAMES if any(fields.text(said.get(name)) for said in properties)), None)


def _class(said: Mapping[str, Any], attribute: str | None) -> tuple[str, str | None]:
    """Return name and colour of the class of a feature."""
    given = said.get(attribute or "classification")
    if not isinstance(given, dict):
        return fields.text(given), None
    name = fields.text(given.get("name"))
    names = given.get("names")
    if not name and isinstance(names, list):
        name = fields.text(": ".join(filter(None, (fields.text(part) for part in names[:20]))))
    return name, fields.colour(given.get("color")) or fields.colour(given.get("colorRGB"))


def _plane(geometry: Mapping[str, Any]) -> _Plane:
    """Return time and depth; without a plane it is the first."""
    plane = _part(geometry, "plane")
    return fields.whole(plane.get("t")) or 0, fields.whole(plane.get("z")) or 0


def _shapes(geometry: Mapping[str, Any]) -> list[tuple[Shape, ...]]:
    """Return the shapes of each object: one, or as many as there are points."""
    kind, given = fields.text(geometry.get("type")), geometry.get("coordinates")
    if geometry.get("isEllipse") is True and kind == "Polygon":
        return [(_ellipse(_rings(given)),)]
    if kind == "Polygon":
        return [(_rings(given),)]
    if kind == "MultiPolygon":
        return [tuple(_rings(polygon) for polygon in _list(given))]
    if kind == "LineString":
        return [(Line(fields.points(given, 2)),)]
    if kind == "MultiLineString":
        return [tuple(Line(fields.points(line, 2)) for line in _list(given))]
    if kind in ("Point", "MultiPoint"):
        points = fields.points([given] if kind == "Point" else given)
        return [(Point(x, y),) for x, y in points.tolist()]
    raise ValueError(f"a {kind}, not a shape" if kind else "no geometry")


def _list(given: Any) -> Iterator[Any]:
    if not isinstance(given, list) or not given:
        raise ValueError("no coordinates")
    yield from given


def _rings(given: Any) -> Polygon:
    return Polygon(tuple(fields.points(ring, 3) for ring in _list(given)))


def _ellipse(polygon: Polygon) -> Ellipse:
    low, high = polygon.rings[0].min(axis=0), polygon.rings[0].max(axis=0)
    (x, y), (radius_x, radius_y) = ((low + high) / 2).tolist(), ((high - low) / 2).tolist()
    return Ellipse(x, y, radius_x, radius_y)
