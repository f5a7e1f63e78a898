"""What augmentation does to the patches of these images: a job for the worker, and the layers that show its answer."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_segnet import events
from napari_segnet._widgets.outputs import MARK, colour_labels, is_painted_on, selection_kept
from napari_segnet._widgets.settings import Settings
from napari_segnet.config import LabelClass
from napari_segnet.models.info import ModelInfo

NAME = "augmentation preview"
_GAP = 0.05
"""Between the image and the grid beside it, in widths of the image."""


def settings_of(settings: Settings, start: ModelInfo | None) -> Settings:
    """Return the settings of the run that the preview looks at.

    A forest would take its time, and nothing of it is shown; of a model to start from only the kind of network counts.
    """
    advanced = {**settings.advanced, "train.forest_guide": False}
    if start is not None:
        advanced = {key: value for key, value in advanced.items() if not key.startswith("model.")}
        model: dict[str, Any] = {"network": start.network, "encoder": start.encoder, "norm": start.norm}
        model |= {f"options.{name}": value for name, value in start.options.items()}
        advanced |= {f"model.{name}": value for name, value in model.items() if value is not None}
    return replace(settings, advanced=advanced, start_from=None)


class AugmentationLayers:
    """The grid of patches and its labels, in two layers beside the image.

    Parameters
    ----------
    viewer : napari viewer
        Held weakly.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self._layers: dict[type[Layer], weakref.ref[Layer]] = {}
        self._writing = False

    def show(self, event: events.Augmented, beside: Image | None) -> None:
        """Show an answer of the worker: in the layers of the last one, where nobody has edited them.

        Parameters
        ----------
        event : Augmented
        beside : Image or None
            The image that it was made from.
        """
        viewer = self._viewer()
        try:
            picture, labels = np.load(event.image), np.load(event.labels)
        except (OSError, ValueError, EOFError):
            return  # another one came meanwhile
        if viewer is None:
            return
        place = _place(beside)
        self._writing = True
        try:
            new = self._update(viewer, Image, picture, place, rgb=True)
            self._update(viewer, Labels, labels, place, opacity=0.4)
            shown = self._layer(Labels)
            if shown is not None:
                classes = [LabelClass(value=int(v), name=NAME, colour=c) for v, c in event.colours.items()]
                colour_labels(shown, classes)
        finally:
            self._writing = False
        if new:
            viewer.reset_view()

    def _update(self, viewer: Any, kind: type[Layer], data: NDArray[Any], place: dict[str, Any], **how: Any) -> bool:
        """Put data into the layer of a kind; returns whether a new one was made for them."""
        layer = self._layer(kind)
        if layer is not None and layer in viewer.layers and not is_painted_on(layer):
            layer.data = data
            for name, value in place.items():
                setattr(layer, name, value)
            return False
        name = NAME if kind is Image else f"{NAME} labels"
        layer = kind(data, name=name, metadata={MARK: NAME}, **place, **how)
        layer.events.data.connect(self._on_edit)
        if kind is Labels:
            layer.events.paint.connect(self._on_edit)
        self._layers[kind] = weakref.ref(layer)
        with selection_kept(viewer):
            viewer.layers.append(layer)
        return True

    def _layer(self, kind: type[Layer]) -> Any:
        reference = self._layers.get(kind)
        return reference() if reference is not None else None

    def _on_edit(self, event: Any) -> None:
        """Leave a layer that was edited to the one who did; the next answer gets a new one."""
        if not self._writing:
            self._layers = {kind: ref for kind, ref in self._layers.items() if ref() is not event.source}


def _place(image: Image | None) -> dict[str, Any]:
    """Return scale, place and units that put a grid to the right of an image, with pixels as large as its."""
    if image is None:
        return {}
    low, high = np.asarray(image.extent.world)[:, -2:]
    scale = np.abs(np.asarray(image.scale)[-2:])
    return {
        "scale": scale,
        "translate": (low[0], high[1] + _GAP * (high[1] - low[1]) + scale[1]),
        "units": tuple(image.units[-2:]),
    }
