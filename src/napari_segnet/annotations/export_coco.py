"""COCO of labels: polygons along the edges of pixels, and run lengths of objects with holes, which polygons lack."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.annotations import fields, rle
from napari_segnet.annotations.contours import Piece, polygons
from napari_segnet.annotations.labelled import LabelledImage, LabelledRegion
from napari_segnet.annotations.options import ExportOptions
from napari_segnet.config import LabelClass
from napari_segnet.run import write_atomically


def write(images: Iterable[LabelledImage], path: Path, options: ExportOptions) -> int:
    """Write one JSON for all images.

    Parameters
    ----------
    images : iterable of LabelledImage
        Planes.
    path : Path
    options : ExportOptions

    Returns
    -------
    int
        How many annotations it has.
    """
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes: dict[int, LabelClass] = {}
    for number, image in enumerate(images, start=1):
        height, width = image.labels.shape
        entries.append({"id": number, "file_name": image.name, "width": width, "height": height})
        for region in image.regions():
            classes[region.drawn.value] = region.drawn
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, **_annotation(region, (height, width), options)}
            )
    categories = [
        {"id": c.value, "name": c.name, "supercategory": "", "color": [int(c.colour[i : i + 2], 16) for i in (1, 3, 5)]}
        for c in sorted(classes.values(), key=lambda c: c.value)
    ]
    tree = {
        "info": {"description": "Labels, written by napari-segnet"},
        "images": entries,
        "annotations": annotations,
        "categories": categories,
    }
    write_atomically(path, json.dumps(tree, ensure_ascii=False))
    return len(annotations)


def _annotation(region: LabelledRegion, size: tuple[int, int], options: ExportOptions) -> dict[str, Any]:
    piece = region.piece
    rows, columns = np.nonzero(piece.pixels)
    left, top = piece.column + int(columns.min()), piece.row + int(rows.min())
    width, height = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    entry: dict[str, Any] = {
        "category_id": region.drawn.value,
        "segmentation": _segmentation(piece, size, options),
        "area": len(rows),
        "bbox": [left, top, width, height],
        "iscrowd": 0,
    }
    if region.number is not None:
        entry["attributes"] = {fields.NUMBER_KEY: region.number}
    return entry


def _segmentation(piece: Piece, size: tuple[int, int], options: ExportOptions) -> list[list[float]] | dict[str, Any]:
    if options.outlines == "polygons":
        parts = polygons(piece, options.tolerance)
        if all(len(rings) == 1 for rings in parts):
            return [rings[0].ravel().astype(int).tolist() for rings in parts]
    # Only the columns of the object are encoded: before and behind them are two runs.
    height, width = piece.pixels.shape
    strip = np.zeros((size[0], width), bool)
    strip[piece.row : piece.row + height] = piece.pixels
    counts = rle.encode(strip, by_columns=True)
    counts[0] += piece.column * size[0]
    behind = (size[1] - piece.column - width) * size[0]
    if len(counts) % 2:
        counts[-1] += behind
    elif behind:
        counts = np.append(counts, behind)
    return {"size": list(size), "counts": rle.encode_text(counts)}
