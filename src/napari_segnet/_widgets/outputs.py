"""The layers that answers go into: updated in place, placed like their image, never over what a person painted."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap, label_colormap
from numpy.typing import NDArray

from napari_segnet._layers import CLASSES_KEY, array_of, transform_of
from napari_segnet.config import LabelClass

MARK = "napari_segnet"
"""Key in `layer.metadata` that says what an output layer holds."""

Window = tuple[slice, ...]
_PART_BYTES = 6_000_000


class OutputLayers:
    """The output layers of one viewer.

    Parameters
    ----------
    viewer : napari viewer
        Held weakly: the layers belong to the viewer, not to this.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self._layers: weakref.WeakKeyDictionary[Image, dict[str, weakref.ref[Layer]]] = weakref.WeakKeyDictionary()
        self._edited: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._writing = False
        self._said: list[str] = []
        self._hidden: list[weakref.ref[Layer]] = []

    def labels_steps(
        self,
        image: Image,
        axes: str,
        values: NDArray[Any],
        window: Window,
        classes: Sequence[LabelClass] | None,
    ) -> Iterator[None]:
        """Put labels into the layer "prediction" of an image, some megabytes a step.

        Parameters
        ----------
        image : Image
            The image that the labels belong to.
        axes : str
            Its axes.
        values : integer array
            Labels; the shape of the window. Memory-mapped ones are read part by part.
        window : tuple of slices
            Where they lie in the image without its channel axis.
        classes : sequence of LabelClass or None
            Colours of the values; None: numbered objects, in napari's cycle of colours.
        """

        def build(data: NDArray[Any]) -> Labels:
            name = self._free_name("prediction", image)
            # Building a layer and drawing it for the first time are both slow: `reveal` does the second later.
            layer = Labels(data, name=name, opacity=0.5, visible=False, **transform_of(image, axes))
            self._hidden.append(weakref.ref(layer))
            return layer

        layer = yield from self._steps(image, axes, "prediction", values, window, build)
        if layer is None:
            return
        if classes is not None:
            colour_labels(layer, classes)
        elif f"{MARK}_colours" in layer.metadata:
            # Numbered objects after classes: each in a colour of its own again.
            layer.colormap = label_colormap(49)
            layer.metadata = {k: v for k, v in layer.metadata.items() if k not in (f"{MARK}_colours", CLASSES_KEY)}

    def reveal(self) -> None:
        """Show the labels layers that were made since the last call."""
        for reference in self._hidden:
            layer = reference()
            if layer is not None:
                layer.visible = True
        self._hidden = []

    def image_steps(
        self,
        image: Image,
        axes: str,
        role: str,
        values: NDArray[Any],
        window: Window,
        colormap: str,
        top: float = 1,
    ) -> Iterator[None]:
        """Put floating point values, such as a probability, into the layer `role` of an image, step by step."""

        def build(data: NDArray[Any]) -> Image:
            return Image(
                data,
                name=self._free_name(role, image),
                colormap=colormap,
                blending="additive",
                contrast_limits=(0, top),
                visible=False,
                **transform_of(image, axes),
            )

        yield from self._steps(image, axes, role, values, window, build)

    def _steps(
        self,
        image: Image,
        axes: str,
        role: str,
        values: NDArray[Any],
        window: Window,
        build: Callable[[NDArray[Any]], Layer],
    ) -> Generator[None, None, Any]:
        """Write into the layer of a role, or a new one; returns it, None where its image is gone or another."""
        if not self._fits(image, axes, values, window):
            return None
        layer = self._layer(image, axes, role, values.dtype)
        parts = list(_parts(values, window))
        if layer is not None and len(parts) == 1:
            layer.data[parts[0][1]] = values[parts[0][0]]
            self._place_like(layer, image, axes)
            return layer
        # What takes several steps is put together beside the layer: she may correct the layer meanwhile.
        shape = _shape(image, axes)
        data = np.zeros(shape, values.dtype if layer is None else layer.data.dtype)
        if layer is not None and values.shape != shape:
            yield from _copy_steps(layer.data, data)
        for part, there in parts:
            data[there] = values[part]
            yield
        if not self._fits(image, axes, values, window):
            return None
        # Corrected between two steps: then it is hers, and the answer goes into a new one.
        layer = self._layer(image, axes, role, values.dtype)
        if layer is not None:
            with self._own_change():
                layer.data = data
            self._place_like(layer, image, axes)
            return layer
        layer = build(data)
        yield  # building it and taking it into the viewer each take their time
        if not self._fits(image, axes, values, window):
            return None
        self._add(image, role, layer)
        return layer

    def take_said(self) -> list[str]:
        """Return the sentences that the user should read, once."""
        said, self._said = self._said, []
        return said

    def is_output(self, layer: Layer) -> bool:
        """Whether a layer was made here (then it is no candidate for an image or its labels)."""
        return MARK in layer.metadata and layer not in self._edited

    def prediction_of(self, image: Image) -> Labels | None:
        """Return the layer with the prediction of an image, also one that was corrected; None where there is none."""
        reference = self._layers.get(image, {}).get("prediction")
        layer, viewer = reference() if reference is not None else None, self._viewer()
        return layer if isinstance(layer, Labels) and viewer is not None and layer in viewer.layers else None

    def _layer(self, image: Image, axes: str, role: str, dtype: np.dtype[Any]) -> Any:
        reference = self._layers.get(image, {}).get(role)
        layer = reference() if reference is not None else None
        viewer = self._viewer()
        if layer is None or viewer is None or layer not in viewer.layers:
            return None
        if is_painted_on(layer):
            self._edited.add(layer)
        if layer in self._edited:
            self._said.append(f"You have edited {layer.name!r}: it stays as it is, and the answer is a new layer.")
            layer.metadata = {k: v for k, v in layer.metadata.items() if k != MARK}
            return None
        if layer.data.shape != _shape(image, axes):
            # The image itself was exchanged for another: the old answer belongs to the old one.
            return None
        if not np.can_cast(dtype, layer.data.dtype):
            # More objects than the numbers of the classes' type.
            with self._own_change():
                layer.data = layer.data.astype(dtype)
        return layer

    def _place_like(self, layer: Layer, image: Image, axes: str) -> None:
        with self._own_change():
            now = transform_of(layer, axes.replace("C", ""))
            for name, value in transform_of(image, axes).items():
                same = now[name] == value if isinstance(value, tuple) else np.array_equal(now[name], value)
                if not same:
                    setattr(layer, name, value)
            layer.refresh(extent=False)

    def _fits(self, image: Image, axes: str, values: NDArray[Any], window: Window) -> bool:
        """Whether the image is still there, and still one that the values belong to."""
        viewer = self._viewer()
        if viewer is None or image not in viewer.layers or array_of(image).ndim != len(axes):
            return False
        sizes = (len(range(*part.indices(n))) for part, n in zip(window, _shape(image, axes), strict=True))
        return tuple(sizes) == values.shape

    def _add(self, image: Image, role: str, layer: Layer) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        layer.metadata = {**layer.metadata, MARK: role}
        self._layers.setdefault(image, {})[role] = weakref.ref(layer)
        if isinstance(layer, Labels):
            layer.events.paint.connect(self._on_edit)
        layer.events.data.connect(self._on_edit)
        with self._own_change(), selection_kept(viewer):
            viewer.layers.insert(self._place(viewer, role), layer)

    def _on_edit(self, event: Any) -> None:
        if not self._writing:
            self._edited.add(event.source)

    def _place(self, viewer: Any, role: str) -> int:
        # Answers lie below the strokes, so that strokes are seen; probabilities below the prediction.
        strokes = [
            i for i, other in enumerate(viewer.layers) if isinstance(other, Labels) and not self.is_output(other)
        ]
        top = min(strokes) if strokes else len(viewer.layers)
        if role != "prediction":
            mine = [i for i, other in enumerate(viewer.layers) if other.metadata.get(MARK) == "prediction"]
            top = min([top, *mine])
        return top

    def _free_name(self, role: str, image: Image) -> str:
        viewer = self._viewer()
        taken = {layer.name for layer in viewer.layers} if viewer is not None else set()
        others = [i for i, roles in self._layers.items() if i is not image and role in roles]
        name = f"{role} ({image.name})" if others else role
        names = [name, *(f"{name} [{n}]" for n in range(1, len(taken) + 2))]
        return next(n for n in names if n not in taken)

    @contextlib.contextmanager
    def _own_change(self) -> Iterator[None]:
        self._writing = True
        try:
            yield
        finally:
            self._writing = False


def _shape(image: Image, axes: str) -> tuple[int, ...]:
    return tuple(n for n, axis in zip(array_of(image).shape, axes, strict=True) if axis != "C")


def is_painted_on(layer: Layer) -> bool:
    """Whether a stroke is just being drawn: napari tells of it only when it ends."""
    return bool(getattr(layer, "_staged_history", None))


def _parts(values: NDArray[Any], window: Window) -> Iterator[tuple[Window, Window]]:
    """Cut values into parts of some megabytes: where each lies in the values, and where in the layer."""
    rows = max(1, _PART_BYTES // max(1, values.shape[-1] * values.itemsize))
    begin = [s.start or 0 for s in window]
    for index in np.ndindex(*values.shape[:-2]):
        before = tuple(slice(i, i + 1) for i in index)
        there = tuple(slice(b + i, b + i + 1) for b, i in zip(begin, index, strict=False))
        for top in range(0, values.shape[-2], rows):
            bottom = min(top + rows, values.shape[-2])
            y = slice(begin[-2] + top, begin[-2] + bottom)
            yield (*before, slice(top, bottom), slice(None)), (*there, y, window[-1])


def _copy_steps(source: NDArray[Any], target: NDArray[Any]) -> Iterator[None]:
    for part, _ in _parts(source, (slice(None),) * source.ndim):
        target[part] = source[part]
        yield


@contextlib.contextmanager
def selection_kept(viewer: Any) -> Iterator[None]:
    """Add layers in this context: what was selected before stays selected."""
    # A new layer becomes the active one: the next stroke of a person who is painting would go into it. Nobody
    # hears of that, because napari builds the controls of each layer that becomes active.
    selection = viewer.layers.selection
    active, selected = selection.active, set(selection)
    with selection.events.blocker_all():
        yield
        if active is not None and active in viewer.layers:
            selection.active = active
        else:
            selection.clear()
        selection.update(layer for layer in selected if layer in viewer.layers)


def colour_labels(layer: Labels, classes: Sequence[LabelClass]) -> None:
    """Show a labels layer in the colours of its classes; the value 0 stays transparent, as unpainted does."""
    colours: dict[int | None, Any] = {c.value: c.colour for c in classes if c.value != 0}
    wanted = {0: "transparent", None: "#9aa0a6", **colours}
    layer.metadata = {**layer.metadata, CLASSES_KEY: {c.value: c.model_dump() for c in classes}}
    now = layer.metadata.get(f"{MARK}_colours")
    if now == colours:
        return
    layer.colormap = DirectLabelColormap(color_dict=wanted)
    layer.metadata = {**layer.metadata, f"{MARK}_colours": colours}
