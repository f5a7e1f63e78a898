"""OME-Zarr (OME-NGFF 0.1 to 0.5) folders and plain zarr arrays, read chunk by chunk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import zarr

from napari_segnet.errors import DataError
from napari_segnet.io.formats import RawImage, unit_name

_OLD_AXES = [{"name": letter} for letter in "tczyx"]


def read_zarr(path: Path) -> RawImage:
    """Open the full resolution of an OME-Zarr image, or a plain zarr array.

    Raises
    ------
    DataError
        If the folder holds no image.
    """
    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        names = getattr(node.metadata, "dimension_names", None) or ()
        hint = "".join((name or "?")[:1].upper() for name in names)
        return RawImage(node, hint or None)
    multiscales = _multiscales(node)
    if multiscales is None and isinstance(node.get("0"), zarr.Group):
        # bioformats2raw puts each image of a file into a group with a number.
        node = node["0"]
        multiscales = _multiscales(node)
    if not multiscales:
        if isinstance(node.get("0"), zarr.Array):
            return RawImage(node["0"])
        raise DataError(
            f"{path} holds no OME-Zarr image: its metadata name no 'multiscales'.",
            "Name the folder of an image, or of one zarr array.",
        )
    first = multiscales[0]
    level = first["datasets"][0]
    array = node[level["path"]]
    axes = [a if isinstance(a, dict) else {"name": a} for a in first.get("axes", _OLD_AXES)]
    hint = "".join(str(a["name"])[:1].upper() for a in axes)
    sizes = _scale(first.get("coordinateTransformations", []), len(axes))
    sizes = [a * b for a, b in zip(sizes, _scale(level.get("coordinateTransformations", []), len(axes)), strict=True)]
    units = {unit_name(a.get("unit")) for a in axes if str(a["name"]).upper() in ("Y", "X")}
    if len(units) != 1 or None in units:
        return RawImage(array, hint)
    size = {letter: float(s) for letter, s in zip(hint, sizes, strict=True) if letter in "ZYX"}
    return RawImage(array, hint, size, units.pop())


def _multiscales(group: Any) -> list[Any] | None:
    attributes = dict(group.attrs)
    found = dict(attributes.get("ome", {})).get("multiscales") or attributes.get("multiscales")
    return list(found) if found else None


def _scale(transformations: list[dict[str, Any]], ndim: int) -> list[float]:
    for step in transformations:
        factors = step.get("scale")
        if step.get("type") == "scale" and isinstance(factors, list) and len(factors) == ndim:
            return [float(f) if math.isfinite(f) and f > 0 else 1.0 for f in factors]
    return [1.0] * ndim
