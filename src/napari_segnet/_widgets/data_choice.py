"""What is learned from: layers and files, what their labels mean, and the class table. Knows no widgets."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject

from napari_segnet import _layers
from napari_segnet._widgets.labelling import FilePair, Labelling
from napari_segnet._widgets.outputs import OutputLayers
from napari_segnet._widgets.steps import Steps
from napari_segnet.axes import to_stack
from napari_segnet.config import LabelClass
from napari_segnet.data.checks import Problem, check_image, check_labels
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.models.info import ModelInfo

_SMALLEST_PATCH = 64


@dataclass(eq=False)
class LayerPair:
    """Image layers (several are channels of one image) and their labels layer."""

    images: list[weakref.ref[Image]]
    labels: weakref.ref[Labels] | None
    axes: str

    def layers(self) -> tuple[list[Image], Labels | None]:
        """Return the layers that still exist."""
        images = [image for image in (ref() for ref in self.images) if image is not None]
        return images, self.labels() if self.labels is not None else None


class DataChoice(Labelling):
    """The data that the viewer's user has chosen.

    Parameters
    ----------
    viewer : napari viewer
        Held weakly.
    outputs : OutputLayers
        Tells output layers from layers to learn from.
    steps : Steps
        Runs the counting.
    spatial : callable
        What the network that is chosen sees at once: ``"YX"``, a plane, or ``"ZYX"``, a volume.
    """

    def __init__(
        self,
        viewer: Any,
        outputs: OutputLayers,
        steps: Steps,
        parent: QObject | None = None,
        spatial: Callable[[], str] = lambda: "YX",
    ) -> None:
        super().__init__(steps, parent)
        self._spatial = spatial
        self._viewer = weakref.ref(viewer)
        self._outputs = outputs
        self.current = LayerPair([], None, "YX")
        self.pairs: list[LayerPair | FilePair] = []
        self.unpaired: list[Path] = []
        self._looked_at: weakref.WeakKeyDictionary[Image, tuple[tuple[int, str, str], list[Problem]]] = (
            weakref.WeakKeyDictionary()
        )
        self._axes_chosen: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()
        self._connected: weakref.WeakSet[Layer] = weakref.WeakSet()
        for event in (
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.layers.events.reordered,
        ):
            event.connect(self._on_layers)
        self._on_layers()

    # ------------------------------------------------------------------ layers

    def image_layers(self) -> list[Image]:
        """Return the image layers that may be learned from, topmost first."""
        return [layer for layer in self._candidates() if isinstance(layer, Image)]

    def labels_layers(self) -> list[Labels]:
        """Return the labels layers that may be learned from, topmost first."""
        return [layer for layer in self._candidates() if isinstance(layer, Labels)]

    def _candidates(self) -> list[Layer]:
        viewer = self._viewer()
        if viewer is None:
            return []
        return [layer for layer in reversed(viewer.layers) if not self._outputs.is_output(layer)]

    @property
    def images(self) -> list[Image]:
        """The chosen image layers: one, or the channels of one image."""
        return self.current.layers()[0]

    @property
    def labels(self) -> Labels | None:
        """The chosen labels layer."""
        return self.current.layers()[1]

    def _on_layers(self, _event: Any = None) -> None:
        images, labels = self.image_layers(), self.labels_layers()
        for layer in (*images, *labels):
            if layer not in self._connected:
                self._connected.add(layer)
                layer.events.name.connect(self._say_changed)
                layer.events.data.connect(self._count_soon)
                if isinstance(layer, Labels):
                    layer.events.paint.connect(self._count_soon)
        kept = [image for image in self.images if image in images]
        if not kept and images:
            kept = [images[0]]
        mine = self.labels if self.labels in labels else None
        self._choose(kept, mine or self._likeliest_labels(kept, labels))
        # A pair whose layer is gone can't be learned from any more.
        self.pairs = [p for p in self.pairs if isinstance(p, FilePair) or self._complete(p, images, labels)]
        self._count_soon()
        self.changed.emit()

    @staticmethod
    def _complete(pair: LayerPair, images: Sequence[Image], labels: Sequence[Labels]) -> bool:
        mine, paint = pair.layers()
        return len(mine) == len(pair.images) and all(i in images for i in mine) and paint in labels

    @staticmethod
    def _likeliest_labels(images: Sequence[Image], labels: Sequence[Labels]) -> Labels | None:
        if not labels:
            return None
        if images:
            for layer in labels:
                if tuple(_layers.array_of(layer).shape[-2:]) == _plane_shape(images[0]):
                    return layer
        return labels[0]

    def choose_image(self, image: Image | None) -> None:
        """Choose the image; the labels stay if they fit, else those that fit are chosen."""
        images = [image] if image is not None else []
        labels = self.labels
        if image is not None and (labels is None or _layers.array_of(labels).shape[-2:] != _plane_shape(image)):
            labels = self._likeliest_labels(images, self.labels_layers())
        self._choose(images, labels)
        self._count_soon()
        self.changed.emit()

    def choose_channels(self, images: Sequence[Image]) -> None:
        """Choose several image layers as the channels of one image."""
        self._choose(list(images), self.labels)
        self.changed.emit()

    def choose_labels(self, labels: Labels | None) -> None:
        """Choose the labels layer."""
        self._choose(self.images, labels)
        self.meaning_is_guess = True
        self.count()
        self.changed.emit()

    def choose_pair(self, images: Sequence[Image], labels: Labels | None, axes: str) -> None:
        """Choose image layers, their labels, and what their axes are."""
        if images:
            self._axes_chosen[images[0]] = axes
        self._choose(list(images), labels)
        self.count()
        self.changed.emit()

    def choose_axes(self, axes: str) -> None:
        """Say what the axes of the image are."""
        if self.images:
            self._axes_chosen[self.images[0]] = axes
            self._choose(self.images, self.labels)
            self._count_soon()
            self.changed.emit()

    def _choose(self, images: list[Image], labels: Labels | None) -> None:
        if labels is not self.labels:
            self.meaning_is_guess = True
            self.counts = {}
        axes = "YX"
        if images:
            choices = _layers.axes_choices(images[0], labels)
            axes = self._axes_chosen.get(images[0], choices[0])
        self.current = LayerPair(
            [weakref.ref(i) for i in images], weakref.ref(labels) if labels is not None else None, axes
        )

    def new_labels(self) -> Labels | None:
        """Add an empty labels layer that lies exactly on the image, ready to paint."""
        viewer = self._viewer()
        if viewer is None or not self.images:
            return None
        image, axes = self.images[0], self.current.axes
        shape = tuple(n for n, a in zip(_layers.array_of(image).shape, axes, strict=True) if a != "C")
        layer = Labels(np.zeros(shape, np.uint8), name="strokes", **_layers.transform_of(image, axes))
        viewer.add_layer(layer)
        layer.brush_size = max(3, round(min(shape[-2:]) / 60))
        layer.mode = "paint"
        self.choose_labels(layer)
        return layer

    # ------------------------------------------------------------------- pairs

    def add_current(self) -> None:
        """Put the chosen layers into the list of pairs, so that others can be chosen beside them.

        Raises
        ------
        DataError
            If they can't be used.
        """
        images, labels = self.images, self.labels
        if not images or labels is None:
            raise DataError("There is no image with labels to add.", "Choose an image layer and its labels layer.")
        _layers.check_pair(images, labels, self.current.axes)
        if not any(isinstance(p, LayerPair) and p.layers() == (images, labels) for p in self.pairs):
            self.pairs.append(self.current)
            self._choose(images, labels)
            self.changed.emit()

    def add_files(self, pairs: Sequence[tuple[Path, Path]], unpaired: Sequence[Path] = ()) -> None:
        """Add files to the list of pairs."""
        known = {p.image for p in self.pairs if isinstance(p, FilePair)}
        self.pairs += [FilePair(image, labels) for image, labels in pairs if image not in known]
        self.unpaired = [*self.unpaired, *(p for p in unpaired if p not in self.unpaired)]
        self.count()
        self.changed.emit()

    def remove(self, index: int) -> None:
        """Take one pair off the list; its layers and files stay."""
        del self.pairs[index]
        self.count()
        self.changed.emit()

    def clear_pairs(self) -> None:
        """Empty the list of pairs."""
        self.pairs, self.unpaired = [], []
        self.count()
        self.changed.emit()

    def everything(self) -> list[LayerPair | FilePair]:
        """Return all pairs that are learned from: the list, and the chosen layers where they make a pair."""
        images, labels = self.images, self.labels
        pairs = [self._as_shown(pair) for pair in self.pairs]
        listed = any(isinstance(p, LayerPair) and p.layers() == (images, labels) for p in pairs)
        if listed or not images or labels is None:
            return pairs
        # Beside listed files an unpainted layer is one that is merely looked at.
        if pairs and not any(v != 0 for v in self.counts_of(labels)):
            return pairs
        return [self.current, *pairs]

    def _as_shown(self, pair: LayerPair | FilePair) -> LayerPair | FilePair:
        """Return the layers of files that are shown: there they may have been corrected."""
        viewer = self._viewer()
        if isinstance(pair, LayerPair) or viewer is None:
            return pair
        image = _layers.layer_of_path(viewer, Image, pair.image)
        labels = _layers.layer_of_path(viewer, Labels, pair.labels)
        if image is None or labels is None:
            return pair
        axes = self._axes_chosen.get(image) or image.metadata.get(_layers.AXES_KEY) or _layers.axes_of(image, labels)
        return LayerPair([weakref.ref(image)], weakref.ref(labels), axes)

    def problem(self, start: ModelInfo | None = None) -> str:
        """Say what keeps these data from being learned from; empty where nothing does."""
        try:
            self.check(start)
        except SegNetError as error:
            return str(error)
        return ""

    def check(self, start: ModelInfo | None = None) -> None:
        """Raise `DataError` for what keeps these data from being learned from; `start`: the model to start from."""
        if not self.images and not self.pairs:
            raise DataError("There is no image yet.", "Open one, drop it here, or press Load.")
        if self.labels is None and not self.pairs:
            raise DataError("There are no labels yet.", "Press New to make a layer to paint on.")
        spatial = start.axes if start is not None else self._spatial()
        first: tuple[str, int] | None = None
        for pair in self.everything():
            if isinstance(pair, FilePair):
                continue
            images, labels = pair.layers()
            if labels is None or not images:
                continue
            _layers.check_pair(images, labels, pair.axes)
            check_volume(images[0].name, pair.axes, spatial, start is not None)
            channels = sum(_layers.channels_of(image, pair.axes) for image in images)
            first = first or (images[0].name, channels)
            if channels != first[1]:
                raise DataError(
                    f"{first[0]!r} has {first[1]} channel(s), but {images[0].name!r} has {channels}.",
                    "Images of one model need the same channels; take one of the two off the list.",
                )
        if self.error:
            raise DataError(self.error)
        task = self.config(start).task
        if start is not None and start.task != task:
            words = {"semantic": "classes", "instances": "objects"}
            raise DataError(
                f"The model to start from knows {words[start.task]}, these labels hold {words[task]}.",
                "Change what the labels mean, or start from a new network.",
            )
        for problem in (*self._label_problems(start), *self._image_problems(spatial)):
            if problem.level == "error":
                raise DataError(problem.text)

    def warnings(self, start: ModelInfo | None = None) -> list[str]:
        """Say what will work badly: few painted pixels, images with NaN, constant channels, small images."""
        if not any(n for v, n in self.counts.items() if v != 0):
            return []
        spatial = start.axes if start is not None else self._spatial()
        found = (*self._label_problems(start), *self._image_problems(spatial))
        return list(dict.fromkeys(p.text for p in found if p.level == "warning"))

    def _label_problems(self, start: ModelInfo | None) -> list[Problem]:
        learned = [c.value for c in start.classes] if start is not None else []
        return check_labels(self.counts, self.config(start), learned)

    def _image_problems(self, spatial: str) -> list[Problem]:
        """Look at the chosen layers; files are looked at by the worker."""
        problems: list[Problem] = []
        for pair in self.everything():
            if isinstance(pair, LayerPair):
                images = pair.layers()[0]
                found = [p for image in images for p in self._problems_of(image, pair.axes, spatial)]
                # One of several channels may well be empty.
                problems += found if len(images) == 1 else [Problem("warning", p.text) for p in found]
        return problems

    def _problems_of(self, image: Image, axes: str, spatial: str) -> list[Problem]:
        if not isinstance(_layers.array_of(image), np.ndarray):
            return []  # reading it here could take minutes: the worker looks at it
        # Looked at again only when the layer gets another array: each look reads some hundred thousand pixels.
        spatial = spatial if "Z" in axes else "YX"
        state = (id(_layers.array_of(image)), axes, spatial)
        known = self._looked_at.get(image)
        if known is None or known[0] != state:
            items = to_stack(_layers.pixels_of(image), axes, spatial)
            # How large a patch of a volume is follows from its shape: the worker compares the two.
            patch = _SMALLEST_PATCH if spatial == "YX" else 1
            known = self._looked_at[image] = (state, check_image(image.name, items[len(items) // 2], patch))
        return known[1]

    def add_class(self) -> int:
        """Add a class to the table and pick it in the labels layer; returns its value."""
        value = max([0, *(c.value for c in self.classes), *self.counts]) + 1
        colour = self._colour_of(value)
        self.classes = (*self.classes, LabelClass(value=value, name=f"class {value}", colour=colour))
        self._remember_classes()
        if self.labels is None:
            self.new_labels()
        self.pick(value)
        self.changed.emit()
        return value

    def pick(self, value: int) -> None:
        """Make the next stroke one of this class."""
        viewer, labels = self._viewer(), self.labels
        if viewer is None or labels is None:
            return
        if value > np.iinfo(np.asarray(_layers.array_of(labels)[..., :1, :1]).dtype).max:
            return
        labels.selected_label = value
        if labels.mode == "pan_zoom":
            labels.mode = "paint"
        viewer.layers.selection.active = labels

    def label_layers(self) -> list[Labels]:
        """Return all labels layers that are learned from."""
        found: dict[int, Labels] = {}
        for pair in (self.current, *(self._as_shown(pair) for pair in self.pairs)):
            labels = pair.layers()[1] if isinstance(pair, LayerPair) else None
            if labels is not None:
                found[id(labels)] = labels
        return list(found.values())

    def file_pairs(self) -> list[FilePair]:
        """Return all pairs of files that are learned from."""
        return [pair for pair in map(self._as_shown, self.pairs) if isinstance(pair, FilePair)]


def check_volume(name: str, axes: str, spatial: str, of_model: bool) -> None:
    """Raise `DataError` for an image without planes where a network, or a model, sees volumes."""
    if spatial == "ZYX" and "Z" not in axes:
        who = "the model" if of_model else "the chosen network"
        other = "a model" if of_model else "a network (Advanced)"
        raise DataError(
            f"{name!r} is a plane, but {who} is for volumes.",
            f"Choose a stack of planes, or {other} for planes.",
        )


def _plane_shape(image: Image) -> tuple[int, ...]:
    shape = tuple(_layers.array_of(image).shape)
    return shape[-3:-1] if image.rgb else shape[-2:]
