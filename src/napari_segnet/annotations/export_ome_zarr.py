"""OME-Zarr of labels (OME-NGFF 0.5), with colours and names of classes.

With an image it is written at full resolution, and the labels below it in ``labels/segmentation``, where viewers
look for them. Without one the labels are the image. (The specification: https://ngff.openmicroscopy.org/0.5, "labels"
and "image-label" metadata.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.annotations.labelled import LabelledImage, planes_of
from napari_segnet.annotations.options import ExportOptions
from napari_segnet.axes import ArrayLike, view
from napari_segnet.io.images import ImageFile
from napari_segnet.io.write import open_output

_VERSION = "0.5"
_NAME = "segmentation"
_MOST_COLOURS = 10_000


def write(image: LabelledImage, path: Path, _options: ExportOptions) -> int:
    """Write labels, and the image if it is known; returns how many labels there are."""
    import zarr

    shown, labels = image.image or image.labels, image.labels
    axes, array = _in_order(shown)
    size, units = shown.pixel_size, shown.units
    with open_output(path, array.shape, array.dtype, axes, "zarr", pixel_size=size, units=units) as output:
        _copy(array, output)
        root = zarr.open_group(output.store, mode="r+")
        attributes = dict(root.attrs["ome"])
        if image.image is None:
            described, values = _image_label(image, None)
            root.attrs["ome"] = attributes | {"image-label": described}
            return values
        scale = dict(attributes["multiscales"][0])
        described, values = _image_label(image, "../../")
        root.create_group("labels", attributes={"ome": {"version": _VERSION, "labels": [_NAME]}})
        below = root.create_group(
            f"labels/{_NAME}",
            attributes={
                "ome": {
                    "version": _VERSION,
                    "multiscales": [_without_channels(scale)],
                    "image-label": described,
                }
            },
        )
        label_axes, label_array = _in_order(labels)
        names = [letter.lower() for letter in label_axes]
        chunks = tuple(n for n, letter in zip(output.chunks, axes, strict=True) if letter != "C")
        target = below.create_array(
            "0", shape=label_array.shape, dtype=label_array.dtype, chunks=chunks, dimension_names=names
        )
        _copy(label_array, target)
        return values


def _in_order(image: ImageFile) -> tuple[str, ArrayLike]:
    """Return the axes in the order that the specification asks for, time and channels first, and the array so."""
    axes = "".join(letter for letter in "TCZYX" if letter in image.axes)
    return axes, view(image.array, image.axes, axes)


def _copy(array: ArrayLike, output: Any) -> None:
    for index in np.ndindex(*array.shape[:-2]):
        output[index] = np.asarray(array[index])


def _without_channels(scale: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an image's axes and pixels for labels of it."""
    kept = [i for i, axis in enumerate(scale["axes"]) if axis["type"] != "channel"]
    level = scale["datasets"][0]
    sizes = level["coordinateTransformations"][0]["scale"]
    return {
        "name": _NAME,
        "axes": [scale["axes"][i] for i in kept],
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [sizes[i] for i in kept]}]}
        ],
    }


def _image_label(image: LabelledImage, source: str | None) -> tuple[dict[str, Any], int]:
    """Return colours and names of all values, and how many there are."""
    found: set[int] = set()
    for _, plane in planes_of(image.labels):
        found.update(np.unique(plane).tolist())
    values = sorted(found - {0})
    colours, properties = [], []
    for value in values[:_MOST_COLOURS]:
        drawn = image.class_of(value)
        rgb = [int(drawn.colour[i : i + 2], 16) for i in (1, 3, 5)]
        colours.append({"label-value": value, "rgba": [*rgb, 255]})
        properties.append({"label-value": value, "class": drawn.name})
    described: dict[str, Any] = {"colors": colours, "properties": properties} if values else {}
    return described | ({"source": {"image": source}} if source else {}), len(values)
