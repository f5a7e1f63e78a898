"""Shapes layers become labels: what was outlined in the viewer is drawn, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import show_warning
from numpy.typing import NDArray

from napari_segnet._layers import array_of, axes_of, transform_of
from napari_segnet._looks import class_look
from napari_segnet.annotations.drawing import Draftsman
from napari_segnet.annotations.model import AnnotatedImage, Annotations, Line, Polygon, Problem, Region
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.axes import counted
from napari_segnet.config import Task
from napari_segnet.errors import DataError

_NAMES = ("class", "label", "name", "type", "category")
_ELLIPSE_CORNERS = 180


def labels_of_shapes(shapes: Shapes, image: Image, task: Task = "semantic") -> tuple[Labels, tuple[Problem, ...]]:
    """Draw the shapes of a layer as labels of an image.

    Parameters
    ----------
    shapes : Shapes
        Its classes are in the feature column called class, label, name, type or category; without one there is one
        class. Lines and open paths are drawn as wide as their edges.
    image : Image
        What is annotated: the labels get its size and place.
    task : {"semantic", "instances"}
        Whether a shape has the value of its class, or a number of its own.

    Returns
    -------
    labels : Labels
    problems : tuple of Problem
        What didn't fit.

    Raises
    ------
    DataError
        If there are no shapes, or none of them lies on the image.
    """
    if not len(shapes.data):
        raise DataError(f"{shapes.name!r} holds no shapes.", "Draw some first.")
    axes = axes_of(image)
    plain = axes.replace("C", "")
    shape = tuple(n for n, letter in zip(array_of(image).shape, axes, strict=True) if letter != "C")
    place = transform_of(image, axes)
    names = _class_names(shapes)
    regions = []
    for vertices, kind, name in zip(shapes.data, shapes.shape_type, names, strict=True):
        corners = _in_pixels(np.asarray(vertices, float), shapes, place, len(plain))
        regions.append(_region(corners, kind, name, shape[:-2]))
    width = float(np.median(shapes.edge_width)) if len(shapes.edge_width) else 1.0
    draftsman = Draftsman(
        Annotations((AnnotatedImage(image.name, shapes.name, regions=tuple(regions)),)),
        ImportOptions(task=task, line_width=max(1.0, width)),
    )
    array = draftsman.draw(AnnotatedImage(image.name, shapes.name, regions=tuple(regions)), shape, image.name)
    if array is None or not array.any():
        raise DataError(f"No shape of {shapes.name!r} lies on {image.name!r}.", "Choose the image that they belong to.")
    look = class_look(draftsman.classes) if task == "semantic" else {}
    return Labels(array, name=f"{shapes.name} labels", **look, **place), tuple(draftsman.problems)


def _class_names(shapes: Shapes) -> Sequence[str]:
    features = shapes.features
    column = next((c for word in _NAMES for c in features.columns if str(c).lower() == word), None)
    if column is None:
        return [""] * len(shapes.data)
    return ["" if value is None or value != value else str(value).strip() for value in features[column]]


def _in_pixels(vertices: NDArray[Any], shapes: Shapes, place: dict[str, Any], ndim: int) -> NDArray[np.float64]:
    """Return vertices in pixels of the image, (N, ndim), whatever the scale and place of either layer."""
    world = np.asarray([shapes.data_to_world(vertex) for vertex in vertices], float)
    if world.shape[1] < ndim:
        world = np.pad(world, ((0, 0), (ndim - world.shape[1], 0)))
    like = Labels(np.zeros((1,) * ndim, np.uint8), **place)
    return np.array([like.world_to_data(point[-ndim:]) for point in world], np.float64)


def _region(corners: NDArray[np.float64], kind: str, name: str, leading: tuple[int, ...]) -> Region:
    # In the viewer a pixel's centre has whole coordinates; in annotations its corner has.
    points = corners[:, :-3:-1] + 0.5
    plane = None
    if leading:
        place = np.round(corners[:, :-2].mean(axis=0)).astype(int)
        inside = all(0 <= p < n for p, n in zip(place, leading, strict=True))
        plane = int(np.ravel_multi_index(tuple(place), leading)) if inside else -1
    if kind == "ellipse":
        centre = points.mean(axis=0)
        along, across = points[1] - points[0], points[3] - points[0]
        angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
        points = centre + np.cos(angles) * along / 2 + np.sin(angles) * across / 2
    drawn = Line(points) if kind in ("line", "path") else Polygon((points,))
    return Region(name, (drawn,), plane)


def shapes_to_labels(viewer: Any) -> Labels:
    """Draw the active shapes layer, or the topmost one, as labels of the image below it; add them to the viewer.

    Raises
    ------
    DataError
        If there are no shapes or no image, or the shapes don't lie on it.
    """
    layers = list(viewer.layers)
    active = viewer.layers.selection.active
    shapes = active if isinstance(active, Shapes) else next((s for s in layers[::-1] if isinstance(s, Shapes)), None)
    if shapes is None:
        raise DataError("There is no shapes layer.", "Add one, and outline what you see.")
    below = [layer for layer in layers[: layers.index(shapes)] if isinstance(layer, Image)]
    images = below or [layer for layer in layers if isinstance(layer, Image)]
    if not images:
        raise DataError("There is no image.", "Open the one that the shapes belong to.")
    seen = [image for image in images if image.visible]
    labels, problems = labels_of_shapes(shapes, (seen or images)[-1])
    viewer.add_layer(labels)
    if problems:
        show_warning(in_words(problems))
    return labels


def in_words(problems: Sequence[Problem]) -> str:
    """Return what didn't fit, a sentence each."""
    lines = [f"{p.problem} {p.done.capitalize()}." for p in problems]
    return "\n".join([*lines[:3], *([f"... {counted(len(lines), 'problem')} in all"] if len(lines) > 3 else [])])
