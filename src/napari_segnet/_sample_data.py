"""Sample data for napari's File > Open Sample menu: the bundled images with their strokes."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from napari_segnet._widgets.labelling import CLASSES_KEY
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
    classes = {
        value: {"value": value, "name": title, "colour": PALETTE[(value - 1) % len(PALETTE)], "weight": 1.0}
        for value, title in enumerate(sample.classes, start=1)
    }
    colours: dict[int | None, str] = {
        None: PALETTE[-1],
        0: "transparent",
        **{v: str(c["colour"]) for v, c in classes.items()},
    }
    shown = {
        "name": f"{name} strokes",
        "metadata": {CLASSES_KEY: classes},
        "colormap": DirectLabelColormap(color_dict=colours),
        "opacity": 0.8,
        **place,
    }
    rgb = sample.axes.endswith("C")
    return [(image, {"name": name, "rgb": rgb, **place}, "image"), (np.array(strokes), shown, "labels")]
