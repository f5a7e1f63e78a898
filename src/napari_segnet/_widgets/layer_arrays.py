"""What lies on a labels layer: images, probabilities and shapes that fit it, handed over as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes

from napari_segnet import _layers
from napari_segnet._widgets.outputs import MARK
from napari_segnet.config import LabelClass
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.write import npy_steps

_TIME = ("t", "time", "frame", "frames")
_REMEDY = "Make room on that disk, or set NAPARI_SEGNET_HOME to another folder."


def axes_of_labels(labels: Labels) -> str:
    """Return the axes of a labels layer: its last are Z, Y, X; a time is known by its axis label, or is a fourth."""
    ndim = _layers.array_of(labels).ndim
    if ndim == 3 and labels.axis_labels[0].lower() in _TIME:
        return "TYX"
    return "TZYX"[-ndim:]


def check_labels(labels: Labels) -> None:
    """Raise `DataError` for labels that can't be measured or compared."""
    if not 2 <= _layers.array_of(labels).ndim <= 4:
        raise DataError(
            f"The labels {labels.name!r} have {_layers.array_of(labels).ndim} axes.",
            "Labels of up to T, Z, Y, X can be used.",
        )


def pixel_size(labels: Labels, axes: str) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the size of a pixel along [Z], Y, X and its unit; None where the layer doesn't tell them."""
    keep = [i for i, axis in enumerate(axes) if axis in "ZYX"]
    size = tuple(abs(float(labels.scale[i])) for i in keep)
    unit = str(labels.units[keep[-1]])
    known = unit != "pixel"
    return (size if known or set(size) != {1.0} else None), (unit if known else None)


def axes_on(image: Image, labels: Labels, axes: str) -> str | None:
    """Return the axes of an image that has a pixel for each of the labels (and perhaps channels); None if it hasn't."""
    shape = tuple(_layers.array_of(labels).shape)
    for found in _layers.axes_choices(image, labels):
        sizes = dict(zip(found, _layers.array_of(image).shape, strict=True))
        without = found.replace("C", "")
        if len(without) == len(axes) and tuple(sizes[axis] for axis in without) == shape:
            # What a stack is of (planes, times) is said by the labels.
            letters = iter(axes)
            return "".join("C" if axis == "C" else next(letters) for axis in found)
    return None


def images_on(viewer: Any, labels: Labels) -> list[Image]:
    """Return the image layers that have the size of the labels, topmost first."""
    axes = axes_of_labels(labels)
    images = [layer for layer in reversed(viewer.layers) if isinstance(layer, Image)]
    return [image for image in images if axes_on(image, labels, axes) is not None]


def may_be_probabilities(image: Image) -> bool:
    """Whether a layer may hold probabilities: one channel of fractions, shown from 0 to 1 at most."""
    fractions = np.dtype(_layers.array_of(image).dtype).kind == "f"
    return fractions and not image.rgb and image.contrast_limits[0] >= 0 and image.contrast_limits[1] <= 1


def class_probabilities(viewer: Any, labels: Labels) -> list[Image]:
    """Return the layers with the probabilities of all classes of a prediction, in their order; none if one lacks."""
    classes, axes = _layers.classes_of(labels), axes_of_labels(labels)
    found = []
    for label_class in classes:
        role = f"probability {label_class.name}"
        fits = [
            layer
            for layer in viewer.layers
            if isinstance(layer, Image)
            and layer.metadata.get(MARK) == role
            and axes_on(layer, labels, axes) == axes
            and np.allclose(layer.scale, labels.scale)
            and np.allclose(layer.translate, labels.translate)
        ]
        found += fits[:1]
    return found if classes and len(found) == len(classes) else []


def labels_steps(folder: Path, name: str, labels: Labels, values: dict[str, Any]) -> Iterator[Any]:
    """Write a labels layer as it is now, step by step, and fill in its path and axes."""
    snapshot = np.array(_layers.array_of(labels))
    yield
    path = folder / f"{name}.npy"
    yield from _writing(npy_steps(path, snapshot), labels)
    values.update(path=str(path), axes=axes_of_labels(labels))


def image_steps(folder: Path, name: str, image: Image, labels: Labels, values: dict[str, Any]) -> Iterator[Any]:
    """Write an image layer that lies on labels, or refer to its file, and fill in its path and axes.

    Raises
    ------
    DataError
        If the image has another size than the labels, or lies elsewhere.
    """
    axes = axes_on(image, labels, axes_of_labels(labels))
    if axes is None:
        raise DataError(f"{image.name!r} has another size than {labels.name!r}.", "Choose another image.")
    _layers.check_pair([image], labels, axes)
    path = _layers.file_of(image, axes)
    if path is None:
        (path,) = _layers.image_files(folder, name, 1)
        yield from _writing(_layers.write_image(folder, name, [image]), image)
    values.update(path=str(path), axes=axes)


def _writing(steps: Iterator[Any], layer: Layer) -> Iterator[Any]:
    try:
        yield from steps
    except OSError as error:
        raise SegNetError(f"{layer.name} can't be saved: {error.strerror or error}.", _REMEDY) from error


def regions_on(shapes: Shapes, labels: Labels) -> list[dict[str, Any]]:
    """Return the closed shapes of a layer in the pixels of the labels.

    Parameters
    ----------
    shapes : Shapes
        A text column ``name`` among its features names them.
    labels : Labels

    Returns
    -------
    list of dict
        ``vertices`` along the axes of the labels, or Y and X where the shapes are drawn on planes for all; ``kind``;
        ``name``.

    Raises
    ------
    DataError
        If there are none.
    """
    names = [str(name) for name in shapes.features["name"]] if "name" in shapes.features else []
    found = []
    for number, (vertices, kind) in enumerate(zip(shapes.data, shapes.shape_type, strict=True)):
        if kind not in ("polygon", "rectangle", "ellipse"):
            continue
        world = np.array([shapes.data_to_world(vertex) for vertex in np.asarray(vertices, float)])
        ndim = min(world.shape[1], labels.ndim)
        # Layers share their last axes; shapes of fewer axes than the labels lie on all their planes.
        padded = np.zeros((len(world), labels.ndim))
        padded[:, -ndim:] = world[:, -ndim:]
        pixels = np.array([labels.world_to_data(point) for point in padded])
        kept = pixels[:, -2:] if ndim < labels.ndim else pixels
        name = names[number] if number < len(names) else ""
        found.append({"vertices": kept.tolist(), "kind": str(kind), "name": name})
    if not found:
        raise DataError(
            f"The layer {shapes.name!r} holds no region.",
            "Draw polygons, rectangles or ellipses, or choose no regions.",
        )
    return found


def classes_for(labels: Labels, known: Sequence[LabelClass] = ()) -> list[dict[str, Any]]:
    """Return the classes of labels as the worker takes them."""
    return [c.model_dump() for c in _layers.classes_of(labels) or known]
