"""GeoJSON of labels, as QuPath reads it: polygons with holes along the edges of pixels, classes with colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_segnet.annotations.contours import polygons
from napari_segnet.annotations.labelled import LabelledImage, LabelledRegion
from napari_segnet.annotations.model import Points
from napari_segnet.annotations.options import ExportOptions
from napari_segnet.run import write_atomically


def write(image: LabelledImage, path: Path, options: ExportOptions) -> int:
    """Write the regions of an image as a collection of features; returns how many there are."""
    features = [_feature(region, options.tolerance) for region in image.regions()]
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    write_atomically(path, text)
    return len(features)


def _feature(region: LabelledRegion, tolerance: float) -> dict[str, Any]:
    parts = [[_closed(ring) for ring in rings] for rings in polygons(region.piece, tolerance)]
    geometry: dict[str, Any] = {
        "type": "Polygon" if len(parts) == 1 else "MultiPolygon",
        "coordinates": parts[0] if len(parts) == 1 else parts,
    }
    if region.plane is not None:
        geometry["plane"] = {"c": -1, "z": region.plane[1], "t": region.plane[0]}
    colour = region.drawn.colour
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "classification": {"name": region.drawn.name, "color": [int(colour[i : i + 2], 16) for i in (1, 3, 5)]},
        # QuPath keeps these with the object, as texts.
        "metadata": {key: str(value) for key, value in region.notes().items()},
    }
    if region.number is not None:
        properties["name"] = f"{region.drawn.name} {region.number}"
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _closed(ring: Points) -> list[list[int]]:
    corners: list[list[int]] = ring.astype(int).tolist()
    return [*corners, corners[0]]
