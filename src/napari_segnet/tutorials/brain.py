"""Slices of heads with lesions: ``images/`` (grey, 160 x 160), and ``lesions.json``, as VGG Image Annotator writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.data import shepp_logan_phantom
from skimage.measure import approximate_polygon, find_contours
from skimage.transform import resize

from napari_segnet.tutorials.drawing import as_picture, clouds, ellipse, save

_SIDE = 160


def write(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Draw slices, and the outline of each lesion with its class: tumour, and around some of them oedema."""
    annotations: dict[str, Any] = {}
    for number in range(1, count + 1):
        image, tumour, oedema = draw(rng)
        name = f"slice_{number:02d}.png"
        save(folder / "images" / name, image)
        regions = [*_regions(oedema, "oedema"), *_regions(tumour, "tumour")]
        size = (folder / "images" / name).stat().st_size
        annotations[f"{name}{size}"] = {"filename": name, "size": size, "regions": regions, "file_attributes": {}}
    (folder / "lesions.json").write_text(json.dumps(annotations, indent=1), encoding="utf-8")


def draw(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return a slice (Y, X), and where its tumour and the oedema around it are."""
    shape = (_SIDE, _SIDE)
    head = resize(shepp_logan_phantom(), shape, anti_aliasing=True) * 150
    head = np.where(head > 5, head + 30, head)
    inside = ellipse(shape, (80, 80), (62, 46), 0) > 0
    head = head + inside * (9 * clouds(rng, shape, 3) + 7 * clouds(rng, shape, 9))
    centre = (80 + rng.uniform(-30, 30), 80 + rng.uniform(-20, 20))
    radii = (rng.uniform(9, 17), rng.uniform(9, 17))
    depth = ellipse(shape, centre, radii, rng.uniform(0, 3)) + 0.13 * clouds(rng, shape, 5)
    tumour = (depth > 0) & inside
    oedema = (depth > -0.55) & inside if rng.random() < 0.6 else np.zeros(shape, bool)
    image = head + 38 * oedema + 62 * tumour + 12 * tumour * clouds(rng, shape, 2)
    return as_picture(image, rng, grain=5), tumour, oedema


def _regions(mask: NDArray[np.bool_], name: str) -> list[dict[str, Any]]:
    """Return a polygon around each piece of a mask, as a person would click it."""
    regions = []
    for outline in find_contours(np.pad(mask, 1).astype(float), 0.5):
        points = approximate_polygon(outline[:-1] - 0.5, 0.7)
        if len(points) < 4:
            continue
        shape = {
            "name": "polygon",
            "all_points_x": [round(float(x), 1) for x in points[:, 1]],
            "all_points_y": [round(float(y), 1) for y in points[:, 0]],
        }
        regions.append({"shape_attributes": shape, "region_attributes": {"lesion": name}})
    return regions
