"""Images of any axes, plane by plane or volume by volume: what files, viewer and Python interface have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet.axes import ImageStack, counted
from napari_segnet.errors import DataError
from napari_segnet.io.write import smallest_unsigned
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.instances import to_instances
from napari_segnet.predict.orthoplanes import OrthoplanePredictor
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.resampled import iterate_at, pixel_size_of, shape_for
from napari_segnet.predict.wanted import Wanted


class Sink(Protocol):
    """Opens an output, ``"labels"``, ``"probabilities"`` or ``"uncertainty"``, as an array to write into."""

    def __call__(
        self, output: str, shape: tuple[int, ...], dtype: DTypeLike, axes: str, /
    ) -> contextlib.AbstractContextManager[Any]:
        """Return a context manager that yields the array, and keeps it only if nothing goes wrong."""


class OneItem:
    """Writes into one plane or volume of a larger output; unlike a view it also works for zarr arrays.

    Parameters
    ----------
    array : array-like
    axes : str
        Its axes.
    order : str
        The axes of what is written: ``"YX"``, ``"CYX"``, ``"ZYX"`` ...
    place : dict of str to int
        Where along the other axes.
    """

    def __init__(self, array: Any, axes: str, order: str, place: dict[str, int]) -> None:
        self._array, self._axes, self._order, self._place = array, axes, order, place
        lengths = dict(zip(axes, array.shape, strict=True))
        self.shape: tuple[int, ...] = tuple(lengths[letter] for letter in order)
        self._turned = [order.index(letter) for letter in axes if letter in order]

    def __setitem__(self, key: tuple[slice, ...], value: NDArray[Any]) -> None:
        index = dict(zip(self._order, key, strict=True))
        where = tuple(index[letter] if letter in index else self._place[letter] for letter in self._axes)
        self._array[where] = np.transpose(value, self._turned)


def check_channels(name: str, items: ImageStack, info: ModelInfo) -> None:
    """Raise `DataError` if an image has other channels than those that the model was trained on."""
    if items.channels != info.channels:
        raise DataError(
            f"{name} has {counted(items.channels, 'channel')}, but the model was trained on "
            f"{counted(info.channels, 'channel')}.",
            "Choose images with the same channels in the same order, or name their axes (--axes).",
        )


def predict_stack_into(
    predictor: Predictor,
    items: ImageStack,
    sink: Sink,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    instances: bool = False,
    pixel_size: Sequence[float] | None = None,
    units: str | None = None,
) -> Generator[tuple[int, int]]:
    """Predict all planes, or all volumes, of an image.

    Parameters
    ----------
    predictor : Predictor
    items : ImageStack
    sink : callable
        Opens the outputs. Labels and uncertainty have the axes (T, Z, Y, X) that the image has, probabilities a
        C before Y.
    probabilities, uncertainty : bool
        Whether they are wanted besides the labels.
    instances : bool
        Number objects, through Z where there is one and anew in each T, instead of naming classes. The labels
        are then held in memory until all are found.
    pixel_size : sequence of float, optional
        Size of a pixel along [Z], Y, X, as the file tells it; the configuration's counts more. Where the model knows
        images of one pixel size, this one is resampled to it, and the outputs back; orthoplanes are stretched by it.
    units : str, optional
        Of `pixel_size`.

    Yields
    ------
    (done, total) : (int, int)
        Tiles of all planes or volumes.
    """
    shape, axes = items.shape, items.axes
    inside = instances and predictor.info.task == "instances"
    with contextlib.ExitStack() as stack:
        opened: dict[str, Any] = {}
        if instances:
            opened["labels"] = np.empty(shape, predictor.label_dtype)
        else:
            opened["labels"] = stack.enter_context(sink("labels", shape, predictor.label_dtype, axes))
        if probabilities:
            classes = len(predictor.classes)
            of_classes = axes.replace("Y", "CY")
            lengths = {**dict(zip(axes, shape, strict=True)), "C": classes}
            opened["probabilities"] = stack.enter_context(
                sink("probabilities", tuple(lengths[letter] for letter in of_classes), np.float32, of_classes)
            )
        if uncertainty:
            opened["uncertainty"] = stack.enter_context(sink("uncertainty", shape, np.float32, axes))
        if inside:
            opened["interior"] = np.empty(shape, np.float32)
        seen = shape_for(predictor.info, items.item_shape, pixel_size_of(predictor, pixel_size, units))
        applied = (
            OrthoplanePredictor(predictor, _voxel(predictor, pixel_size)) if predictor.config.orthoplanes else predictor
        )
        yield from _predict_items(applied, items, opened, seen)
        if instances:
            objects = number_objects(opened["labels"], opened.get("interior"), axes, predictor)
            with sink("labels", shape, smallest_unsigned(int(objects.max())), axes) as output:
                output[...] = objects


def _voxel(predictor: Predictor, size: Sequence[float] | None) -> Sequence[float] | None:
    """Return the size of a voxel along Z, Y, X, in any unit."""
    asked = predictor.config.pixel_size
    return asked if isinstance(asked, tuple) else size


def _predict_items(
    predictor: Predictor | OrthoplanePredictor, items: ImageStack, outputs: dict[str, Any], seen: tuple[int, ...] | None
) -> Iterator[tuple[int, int]]:
    for n in range(len(items)):
        place = dict(zip(items.leading_axes, items.index(n), strict=True))
        wanted = {}
        for name, array in outputs.items():
            of_classes = name == "probabilities"
            axes = items.axes.replace("Y", "CY") if of_classes else items.axes
            wanted[name] = OneItem(array, axes, "C" * of_classes + items.spatial, place)
        out = Wanted(**wanted)
        if seen is None or isinstance(predictor, OrthoplanePredictor):
            steps = predictor.iterate(items[n], out)
        else:
            steps = iterate_at(predictor, items[n], out, seen)
        for done, total in steps:
            yield n * total + done, len(items) * total


def number_objects(
    labels: NDArray[Any], interior: NDArray[np.float32] | None, axes: str, predictor: Predictor
) -> NDArray[np.int32]:
    """Find the objects of a stack of labels: through Z together, in each T anew.

    The class called background has no objects, or else that of value 0. Where unpainted meant "ignored" there may
    be neither: then every class has objects.
    """
    named = [c.value for c in predictor.classes if c.name.lower() == "background"]
    values = [c.value for c in predictor.classes]
    background = named[0] if named else 0 if 0 in values else None
    if "T" not in axes:
        return to_instances(labels, interior, background)
    numbered = np.empty(labels.shape, np.int32)
    where = axes.index("T")
    for t in range(labels.shape[where]):
        at = (slice(None),) * where + (t,)
        numbered[at] = to_instances(labels[at], None if interior is None else interior[at], background)
    return numbered
