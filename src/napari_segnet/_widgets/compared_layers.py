"""Which labels are compared with which: pairs of layers, and the layer that shows their errors."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_segnet import _layers
from napari_segnet._widgets import layer_arrays
from napari_segnet._widgets.data_choice import LayerPair
from napari_segnet._widgets.outputs import MARK, selection_kept
from napari_segnet._widgets.session import Session
from napari_segnet.axes import times
from napari_segnet.errors import DataError
from napari_segnet.reports.colours import CONFUSED, ERROR_COLOURS, ERROR_WORDS, IGNORED, INVENTED, MISSED

SHOWN = (MISSED, INVENTED, CONFUSED, IGNORED)
"""What the error layer shows; what is right stays transparent."""


@dataclass(eq=False)
class Compared:
    """A prediction, its reference, and the image of both; layers are held weakly. `file` is the name that it had."""

    name: str
    prediction: weakref.ref[Labels]
    truth: weakref.ref[Labels]
    image: weakref.ref[Image] | None = None
    errors: weakref.ref[Labels] | None = None
    file: str = ""

    @classmethod
    def of(cls, viewer: Any, prediction: Labels, truth: Labels, name: str, image: Image | None = None) -> Compared:
        """Make a pair; the image is the lowest one that has its size, unless it is given."""
        if image is None:
            images = [i for i in layer_arrays.images_on(viewer, truth) if MARK not in i.metadata]
            image = images[-1] if images else None
        return cls(name, weakref.ref(prediction), weakref.ref(truth), None if image is None else weakref.ref(image))

    def layers(self) -> tuple[Labels, Labels]:
        """Return prediction and truth; raises `DataError` if one is gone."""
        prediction, truth = self.prediction(), self.truth()
        if prediction is None or truth is None:
            raise DataError(f"A layer of {self.name} was deleted.", "Choose others.")
        return prediction, truth


def pairs_of_list(viewer: Any, session: Session | None) -> list[Compared]:
    """Return the pairs of the main dock whose image has a prediction: it is compared with their labels."""
    found: list[Compared] = []
    for pair in session.data.everything() if session is not None else []:
        if isinstance(pair, LayerPair):
            images, truth = pair.layers()
            prediction = session.outputs.prediction_of(images[0]) if session is not None and images else None
            if truth is not None and prediction is not None:
                found.append(Compared.of(viewer, prediction, truth, images[0].name, images[0]))
    return found


def pairs_of_choice(viewer: Any, predictions: Sequence[Labels], truth: Labels) -> list[Compared]:
    """Return a pair for each prediction, all with the same truth."""
    return [Compared.of(viewer, prediction, truth, prediction.name) for prediction in predictions]


def write_pairs(folder: Path, pairs: Sequence[Compared], values: list[dict[str, Any]]) -> Iterator[Any]:
    """Write the layers of pairs, step by step, and fill in an entry of the worker's command for each.

    Raises
    ------
    DataError
        If layers are gone, or the labels of a pair have different sizes or places.
    """
    names: list[str] = []
    for number, pair in enumerate(pairs):
        prediction, truth = pair.layers()
        _check(prediction, truth)
        names.append(_layers.file_name(pair.name, names))
        pair.file = names[-1]
        axes = layer_arrays.axes_of_labels(truth)
        size, units = layer_arrays.pixel_size(truth, axes)
        entry: dict[str, Any] = {"name": pair.file, "prediction": {}, "truth": {}, "pixel_size": size, "units": units}
        values.append(entry)
        for side, layer in (("prediction", prediction), ("truth", truth)):
            yield from layer_arrays.labels_steps(folder, f"{side}-{number}", layer, entry[side])
            entry[side]["axes"] = axes
        image = pair.image() if pair.image is not None else None
        if image is not None:
            entry["image"] = {}
            try:
                yield from layer_arrays.image_steps(folder, f"image-{number}", image, truth, entry["image"])
            except DataError:
                del entry["image"]  # it lies elsewhere: numbers need no picture


def _check(prediction: Labels, truth: Labels) -> None:
    layer_arrays.check_labels(truth)
    shapes = [tuple(_layers.array_of(layer).shape) for layer in (prediction, truth)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"{prediction.name!r} is {times(shapes[0])}, {truth.name!r} {times(shapes[1])}.",
            "Compare labels of one image.",
        )
    for name in ("scale", "translate"):
        if not np.allclose(getattr(prediction, name), getattr(truth, name), rtol=1e-4, atol=1e-6):
            raise DataError(
                f"{prediction.name!r} and {truth.name!r} lie in different places ({name}).",
                "Compare labels that lie on each other.",
            )


def show_errors(viewer: Any, pair: Compared, errors: NDArray[np.uint8]) -> Labels:
    """Put the errors of a pair into its layer, which is made if there is none; it is hidden at first."""
    _, truth = pair.layers()
    layer = pair.errors() if pair.errors is not None else None
    if layer is not None and layer in viewer.layers and layer.data.shape == errors.shape:
        layer.data = errors
        return layer
    colours: dict[int | None, Any] = {value: ERROR_COLOURS[value] for value in SHOWN}
    place = _layers.transform_of(truth, layer_arrays.axes_of_labels(truth))
    made = Labels(
        errors,
        name=f"{pair.name} errors",
        colormap=DirectLabelColormap(color_dict={**colours, None: "transparent", 0: "transparent"}),
        features={"index": range(len(ERROR_WORDS)), "error": list(ERROR_WORDS)},
        metadata={MARK: "errors"},
        visible=False,
        opacity=0.8,
        **place,
    )
    with selection_kept(viewer):
        viewer.add_layer(made)
    pair.errors = weakref.ref(made)
    return made
