"""The JSON beside an exported file: how to feed it, what its answer means, and how far it is from the model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from napari_segnet.axes import per_axis
from napari_segnet.export.graph import Place, output_names
from napari_segnet.export.parity import TOLERANCE, Parity
from napari_segnet.export.sample import least_sides
from napari_segnet.models.card import intensities
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.packages import SIDECAR_FORMAT
from napari_segnet.predict.classes import output_classes
from napari_segnet.versions import versions


def describe(info: ModelInfo, place: Place, weights: Path, parity: Parity) -> dict[str, Any]:
    """Return what the JSON beside an exported file says."""
    spatial = info.axes
    way = (info.members or (info,))[0].normalization
    numbers = {"mode": way.mode, "percentiles": way.percentiles, "clip": way.clip}
    return {
        "format": SIDECAR_FORMAT,
        "file": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "input": {
            "name": "image",
            "axes": f"BC{spatial}",
            "dtype": "float32",
            "channels": info.channels,
            "multiple_of": dict(zip(spatial, info.strides, strict=True)),
            "least": dict(zip(spatial, least_sides(info), strict=True)),
        },
        "normalization": {"place": place, "words": intensities(info), **(numbers if place == "outside" else {})},
        "output": {
            "name": "probabilities",
            "axes": f"BC{spatial}",
            "dtype": "float32",
            "channels": output_names(info),
            "classes": [c.model_dump(mode="json", include={"value", "name", "colour"}) for c in output_classes(info)],
        },
        "halo": dict(zip(spatial, per_axis(info.halo, len(spatial)), strict=True)),
        "pixel_size": info.pixel_size,
        "units": info.units,
        "resampled": info.resampled,
        "zoom": info.zoom,
        "notes": notes_of(info, place),
        "parity": {
            "largest_difference": parity.largest,
            "tolerance": TOLERANCE,
            "shapes": [list(shape) for shape in parity.shapes],
        },
        "versions": versions(),
        "model": info.model_dump(mode="json"),
    }


def notes_of(info: ModelInfo, place: Place) -> list[str]:
    """Return what an exported network can't do itself, a sentence each."""
    notes = []
    if place == "outside":
        notes.append(f"Scale each whole image before it is cut into tiles: it is {intensities(info)}.")
    if info.zoom != 1:
        notes.append(f"Resize images to {info.zoom:g} times their size first: the model was trained so.")
    if info.resampled:
        size = " x ".join(f"{length:.4g}" for length in info.pixel_size or ())
        notes.append(f"Resample images to {size} {info.units or 'units'} a pixel first: the model was trained so.")
    if info.task == "instances":
        notes.append(
            "Its channels are background, and the inside and the boundary of objects: to number objects, grow the "
            "connected pieces of the inside over what is not background, by a watershed."
        )
    return notes
