"""Images of any axes, plane by plane: what files, the viewer and the Python interface have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet.axes import PlaneStack
from napari_segnet.errors import DataError
from napari_segnet.io.write import smallest_unsigned
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.instances import to_instances
from napari_segnet.predict.predictor import Predictor, Wanted


class Sink(Protocol):
    """Opens an output, ``"labels"``, ``"probabilities"`` or ``"uncertainty"``, as an array to write into."""

    def __call__(
        self, output: str, shape: tuple[int, ...], dtype: DTypeLike, axes: str, /
    ) -> contextlib.AbstractContextManager[Any]:
        """Return a context manager that yields the array, and keeps it only if nothing goes wrong."""


class OnePlane:
    """Writes into one plane of a stack of outputs; unlike a view it also works for zarr arrays."""

    def __init__(self, array: Any, index: tuple[int, ...]) -> None:
        self._array, self._index = array, index
        self.shape: tuple[int, ...] = tuple(array.shape[len(index) :])

    def __setitem__(self, key: tuple[slice, ...], value: NDArray[Any]) -> None:
        self._array[(*self._index, *key)] = value


def check_channels(name: str, planes: PlaneStack, info: ModelInfo) -> None:
    """Raise `DataError` if an image has other channels than those that the model was trained on."""
    if planes.channels != info.channels:
        raise DataError(
            f"{name} has {_count(planes.channels, 'channel')}, but the model was trained on "
            f"{_count(info.channels, 'channel')}.",
            "Choose images with the same channels in the same order, or name their axes (--axes).",
        )


def predict_stack_into(
    predictor: Predictor,
    planes: PlaneStack,
    sink: Sink,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
    instances: bool = False,
) -> Generator[tuple[int, int]]:
    """Predict all planes of an image.

    Parameters
    ----------
    predictor : Predictor
    planes : PlaneStack
    sink : callable
        Opens the outputs. Labels and uncertainty have the axes (T, Z, Y, X) that the image has, probabilities a
        C before Y and X.
    probabilities, uncertainty : bool
        Whether they are wanted besides the labels.
    instances : bool
        Number objects, through Z where there is one and anew in each T, instead of naming classes. The labels
        are then held in memory until all are found.

    Yields
    ------
    (done, total) : (int, int)
        Tiles of all planes.
    """
    shape, axes = (*planes.leading, *planes.plane_shape), planes.leading_axes + "YX"
    inside = instances and predictor.info.task == "instances"
    with contextlib.ExitStack() as stack:
        opened: dict[str, Any] = {}
        if instances:
            opened["labels"] = np.empty(shape, predictor.label_dtype)
        else:
            opened["labels"] = stack.enter_context(sink("labels", shape, predictor.label_dtype, axes))
        if probabilities:
            classes = len(predictor.classes)
            of_classes = (*planes.leading, classes, *planes.plane_shape)
            opened["probabilities"] = stack.enter_context(
                sink("probabilities", of_classes, np.float32, planes.leading_axes + "CYX")
            )
        if uncertainty:
            opened["uncertainty"] = stack.enter_context(sink("uncertainty", shape, np.float32, axes))
        if inside:
            opened["interior"] = np.empty(shape, np.float32)
        yield from _predict_planes(predictor, planes, opened)
        if instances:
            objects = number_objects(opened["labels"], opened.get("interior"), axes, predictor)
            with sink("labels", shape, smallest_unsigned(int(objects.max())), axes) as output:
                output[...] = objects


def _predict_planes(predictor: Predictor, planes: PlaneStack, outputs: dict[str, Any]) -> Iterator[tuple[int, int]]:
    for n in range(len(planes)):
        place = planes.index(n)
        wanted = Wanted(**{name: OnePlane(array, place) for name, array in outputs.items()})
        for done, total in predictor.iterate(planes[n], wanted):
            yield n * total + done, len(planes) * total


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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
