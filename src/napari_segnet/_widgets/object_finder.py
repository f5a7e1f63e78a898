"""Bringing an object of a table into the middle of the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Layer

_SEEN = 40
"""Least size of an object on the screen, pixels: smaller ones are zoomed in on."""


def show_place(viewer: Any, layer: Layer, start: Sequence[float], stop: Sequence[float], fills: float = 0.7) -> None:
    """Move sliders and camera so that a box is in the middle; zoom if it would be a speck, or not fit.

    Parameters
    ----------
    viewer : napari viewer
    layer : Layer
    start, stop : sequence of float
        The box: first pixel, and first after it, along each axis of the layer.
    fills : float
        Part of the canvas that it may fill.
    """
    first, last = np.asarray(start, float), np.asarray(stop, float) - 1
    centre = np.asarray(layer.data_to_world((first + last) / 2), float)
    corners = np.asarray([layer.data_to_world(first - 0.5), layer.data_to_world(last + 0.5)], float)
    offset = viewer.dims.ndim - len(centre)
    for axis, value in enumerate(centre, start=offset):
        if axis not in viewer.dims.displayed:
            viewer.dims.set_point(axis, value)
    shown = [axis - offset for axis in viewer.dims.displayed if axis >= offset]
    camera = viewer.scene.camera
    camera.center = (*tuple(camera.center)[: 3 - len(shown)], *(float(centre[axis]) for axis in shown))
    extent = float(np.abs(corners[1] - corners[0])[shown].max())
    canvas = float(min(viewer.canvas.size))
    if extent > 0 and canvas > 0:
        size = extent * camera.zoom
        camera.zoom *= float(np.clip(size, _SEEN, max(_SEEN, fills * canvas))) / size


def box_of(row: dict[str, Any], axes: str) -> tuple[list[float], list[float]]:
    """Return the box of an object, first pixel and first after it along each of the axes, from its row."""
    start, stop = [], []
    for axis in axes.lower():
        if f"{axis}_start" in row:
            start.append(float(row[f"{axis}_start"]))
            stop.append(float(row[f"{axis}_stop"]))
        else:
            start.append(float(row[axis]))
            stop.append(float(row[axis]) + 1)
    return start, stop
