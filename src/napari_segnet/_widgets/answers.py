"""From the worker's files to layers: previews while it learns, and finished predictions."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from napari.layers import Image

from napari_segnet import _layers, events
from napari_segnet._widgets.outputs import OutputLayers, Window
from napari_segnet.config import LabelClass

_COLOURMAP = "viridis"


@dataclass(frozen=True, eq=False)
class Shown:
    """The layer that a record of a run (or an input of a prediction) stands for."""

    image: weakref.ref[Image]
    axes: str

    @classmethod
    def of(cls, images: Sequence[Image], axes: str) -> Self:
        """Answers lie on the first of the layers that are channels of one image."""
        return cls(weakref.ref(images[0]), axes)


class Answers:
    """Puts answers of the worker into output layers.

    Parameters
    ----------
    viewer : napari viewer
        Held weakly.
    outputs : OutputLayers
    """

    def __init__(self, viewer: Any, outputs: OutputLayers) -> None:
        self._viewer = weakref.ref(viewer)
        self._outputs = outputs
        self.shown: dict[str, Shown] = {}
        self.shown_for_prediction: dict[str, Shown] = {}
        self.classes: tuple[LabelClass, ...] = ()
        self.instances = False

    def name_of(self, image: Image) -> tuple[str, str] | None:
        """Return the name of the record that shows `image`, and its axes."""
        for name, shown in self.shown.items():
            if shown.image() is image:
                return name, shown.axes
        return None

    def preview_steps(self, event: events.Preview) -> Iterator[None]:
        """Put a preview into the layers "prediction" and "probability <class>"."""
        image, axes = self._image(self.shown.get(event.name))
        if image is None:
            return
        try:
            labels, probabilities = np.load(event.labels), np.load(event.probabilities)
        except (OSError, ValueError, EOFError):
            # The next preview replaced the files meanwhile.
            return
        window = _window(image, axes, event.plane, event.origin, labels.shape)
        if window is None or labels.shape != tuple(s.stop - s.start for s in window[-2:]):
            return
        where = labels.reshape((1,) * (len(window) - 2) + labels.shape)
        yield from self._outputs.labels_steps(image, axes, where, window, self.classes)
        yield
        self._outputs.reveal()
        for name, plane_of_class in zip(self._names(len(probabilities)), probabilities, strict=True):
            yield
            image, axes = self._image(self.shown.get(event.name))
            if image is not None:
                values = plane_of_class.reshape(where.shape)
                yield from self._outputs.image_steps(image, axes, f"probability {name}", values, window, _COLOURMAP)

    def show_steps(self, event: events.Predicted) -> Iterator[None]:
        """Put a finished prediction into layers, some megabytes a step."""
        image, axes = self._image(self.shown_for_prediction.get(event.name))
        if image is None:
            return
        everything = tuple(slice(None) for axis in axes if axis != "C")
        labels = np.load(event.files["labels"], mmap_mode="r")
        classes = None if self.instances else self.classes
        yield from self._outputs.labels_steps(image, axes, labels, everything, classes)
        yield
        self._outputs.reveal()
        yield
        if "probabilities" in event.files:
            stack = np.load(event.files["probabilities"], mmap_mode="r")
            for index, name in enumerate(self._names(stack.shape[-3])):
                values = stack[..., index, :, :]
                yield from self._outputs.image_steps(image, axes, f"probability {name}", values, everything, _COLOURMAP)
                yield
                if self._image(self.shown_for_prediction.get(event.name))[0] is None:
                    return
        if "uncertainty" in event.files:
            values = np.load(event.files["uncertainty"], mmap_mode="r")
            yield from self._outputs.image_steps(image, axes, "uncertainty", values, everything, "inferno")

    def _image(self, shown: Shown | None) -> tuple[Image | None, str]:
        viewer = self._viewer()
        image = shown.image() if shown is not None else None
        if shown is None or image is None or viewer is None or image not in viewer.layers:
            return None, ""
        if _layers.array_of(image).ndim != len(shown.axes):
            return None, ""
        return image, shown.axes

    def _names(self, count: int) -> list[str]:
        if len(self.classes) == count:
            return [c.name for c in self.classes]
        return [f"class {index}" for index in range(count)]


def _window(image: Image, axes: str, plane: int, origin: tuple[int, int], shape: tuple[int, ...]) -> Window | None:
    sizes = dict(zip(axes, _layers.array_of(image).shape, strict=True))
    leading = tuple(sizes[axis] for axis in axes if axis in "TZ")
    if plane >= int(np.prod(leading)):
        return None
    where = np.unravel_index(plane, leading) if leading else ()
    y, x = origin
    if y + shape[0] > sizes["Y"] or x + shape[1] > sizes["X"]:
        return None
    return (
        *(slice(int(i), int(i) + 1) for i in where),
        slice(y, y + shape[0]),
        slice(x, x + shape[1]),
    )
