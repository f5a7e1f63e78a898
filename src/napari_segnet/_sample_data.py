"""Sample data for napari's File > Open Sample menu: the bundled images with their strokes."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_segnet._looks import class_look
from napari_segnet.config import LabelClass
from napari_segnet.data.labels import PALETTE
from napari_segnet.samples import SAMPLES, load_sample

LayerData = tuple[Any, dict[str, Any], str]


def coins() -> list[LayerData]:
    """Return Greek coins with strokes on coins and background."""
    return _layers_of("coins")


def cell() -> list[LayerData]:
    """Return a cell in phase contrast with strokes."""
    return _layers_of("cell")


def immunohistochemistry() -> list[LayerData]:
    """Return colon glands, an RGB image, with strokes."""
    return _layers_of("immunohistochemistry")


def retina() -> list[LayerData]:
    """Return a fundus photograph with strokes of three classes."""
    return _layers_of("retina")


def _layers_of(name: str) -> list[LayerData]:
    sample = SAMPLES[name]
    image, strokes, _ = load_sample(name)
    place: dict[str, Any] = {}
    if sample.pixel_size is not None:
        place = {"scale": (sample.pixel_size,) * 2, "units": (sample.units,) * 2}
    classes = [
        LabelClass(value=value, name=title, colour=PALETTE[(value - 1) % len(PALETTE)])
        for value, title in enumerate(sample.classes, start=1)
    ]
    shown = {"name": f"{name} strokes", "opacity": 0.8, **class_look(classes), **place}
    rgb = sample.axes.endswith("C")
    return [(image, {"name": name, "rgb": rgb, **place}, "image"), (np.array(strokes), shown, "labels")]
