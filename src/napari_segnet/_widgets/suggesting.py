"""The dock that suggests labels by a classical method: a start to be corrected, instead of painting from nothing."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtWidgets import QLabel, QStackedWidget

from napari_segnet import _layers
from napari_segnet._widgets import layer_arrays, parts
from napari_segnet._widgets.options_form import OptionsForm
from napari_segnet._widgets.outputs import MARK, is_painted_on
from napari_segnet._widgets.side_dock import SideDock
from napari_segnet._widgets.side_jobs import TABLE_WORKER
from napari_segnet.axes import counted
from napari_segnet.measure.pre_annotation import METHODS

_STACK = (("as volumes", False), ("plane by plane", True))


class SuggestDock(SideDock):
    """Makes a labels layer of an image by a method of `napari_segnet.measure.METHODS`.

    Parameters
    ----------
    napari_viewer : napari viewer
    command : sequence of str
        How the worker is started.
    """

    def __init__(self, napari_viewer: Any, command: Sequence[str] = TABLE_WORKER) -> None:
        super().__init__(napari_viewer, command)
        self.setObjectName("napari-segnet-suggest")
        self._made: weakref.ref[Labels] | None = None
        self._edited = False
        self.image = parts.combo("The image that is segmented.", lambda _layer: self.refresh())
        self.method = parts.combo(
            "How it is segmented.", self._on_method, [(m.title, m.name) for m in METHODS.values()]
        )
        self.method.setCurrentIndex(0)
        self.strokes = parts.combo("A labels layer with some strokes of each class.", lambda _layer: self.refresh())
        self.stack = parts.combo("Whether a stack is one volume, or planes by themselves.", lambda _v: None, _STACK)
        self.stack.setCurrentIndex(0)
        self.labels = {"Image": self.image, "Method": self.method, "Strokes": self.strokes, "Stack": self.stack}
        grid = parts.form()
        self._titles = {}
        for row, (title, box) in enumerate(self.labels.items()):
            self._titles[title] = QLabel(title)
            grid.addWidget(self._titles[title], row, 0)
            grid.addWidget(box, row, 1)
        self.body.addLayout(grid)
        self.about = parts.words()
        self.body.addWidget(self.about)
        # Whether the watershed starts from strokes is what is chosen as strokes.
        self.forms = {name: OptionsForm(method.options, without=("seeds",)) for name, method in METHODS.items()}
        self._stacked = QStackedWidget()
        for form in self.forms.values():
            self._stacked.addWidget(form)
        self.body.addWidget(self._stacked)
        self.suggest = parts.button(
            "Suggest labels", "Segment the image. What comes out is a labels layer: correct it.", self.start_suggesting
        )
        parts.stand_out(self.suggest)
        self.body.addLayout(parts.row(self.suggest, self.stop, stretch=0))
        self.body.addWidget(self.status)
        self.body.addStretch(1)
        self._on_method(self.method.currentData())

    def _on_method(self, name: str) -> None:
        self._stacked.setCurrentWidget(self.forms[name])
        for form in self.forms.values():
            # The room is that of the form in front.
            form.setVisible(form is self.forms[name])
        self._stacked.setFixedHeight(self.forms[name].sizeHint().height())
        parts.say(self.about, METHODS[name].idea)
        self.about.setToolTip(METHODS[name].paper)
        self.refresh()

    def refresh(self) -> None:
        """Show the layers that there are, and what is going on."""
        super().refresh()
        viewer = self.viewer
        if viewer is None:
            return
        layers = list(reversed(viewer.layers))
        self.follow_names(layers)
        images = [layer for layer in layers if isinstance(layer, Image) and MARK not in layer.metadata]
        now = self.image.currentData()
        chosen = now if now in images else next(iter(images), None)
        parts.fill(self.image, [(image.name, image) for image in images], chosen)
        fits = [] if chosen is None else self._fitting(chosen, layers)
        now = self.strokes.currentData()
        needed = METHODS[self.method.currentData()].strokes == "needed"
        kept = now if now in fits else next(iter(fits), None) if needed else None
        items: list[tuple[str, Any]] = [] if needed else [("none", None)]
        parts.fill(self.strokes, [*items, *((layer.name, layer) for layer in fits)], kept)
        self._show_row("Strokes", METHODS[self.method.currentData()].strokes != "none")
        self._show_row("Stack", chosen is not None and "Z" in self._axes(chosen))
        self.suggest.setEnabled(chosen is not None and not self.busy)

    def _show_row(self, title: str, visible: bool) -> None:
        self._titles[title].setVisible(visible)
        self.labels[title].setVisible(visible)

    @staticmethod
    def _axes(image: Image) -> str:
        return _layers.axes_of(image)

    def _fitting(self, image: Image, layers: Sequence[Any]) -> list[Labels]:
        """Return the labels layers that have the size of an image, but for those that were made here."""
        shape = tuple(n for n, a in zip(_layers.array_of(image).shape, self._axes(image), strict=True) if a != "C")
        made = self._made() if self._made is not None else None
        return [
            layer
            for layer in layers
            if isinstance(layer, Labels) and tuple(_layers.array_of(layer).shape) == shape and layer is not made
        ]

    def start_suggesting(self) -> None:
        """Segment the image by the chosen method."""
        image: Image | None = self.image.currentData()
        if image is None or self.busy:
            return
        axes, shown = self._axes(image), weakref.ref(image)
        name = self.method.currentData()
        options = self.forms[name].values()
        strokes: Labels | None = self.strokes.currentData() if METHODS[name].strokes != "none" else None

        def prepare(folder: Path, values: dict[str, Any]) -> Iterator[Any]:
            size, _ = _layers.pixel_size_of(image, axes)
            values.update(method=name, options=options, planes=bool(self.stack.currentData()), pixel_size=size)
            path = _layers.file_of(image, axes)
            if path is None:
                (path,) = _layers.image_files(folder, "image", 1)
                yield from _layers.write_image(folder, "image", [image])
            values["image"] = {"path": str(path), "axes": axes}
            if strokes is not None:
                _layers.check_pair([image], strokes, axes)
                values["strokes"] = {}
                yield from layer_arrays.labels_steps(folder, "strokes", strokes, values["strokes"])
                values["strokes"]["axes"] = axes.replace("C", "")

        self.start("suggest", "Segmenting", prepare, lambda folder: self._show(folder, shown, axes, name))

    def _show(self, folder: Path, shown: weakref.ref[Image], axes: str, method: str) -> None:
        image, viewer = shown(), self.viewer
        if image is None or viewer is None or image not in viewer.layers:
            self.say("The image is gone.")
            return
        found = np.load(folder / "labels.npy")
        objects = bool(json.loads((folder / "labels.json").read_text(encoding="utf-8"))["objects"])
        layer = self._made() if self._made is not None else None
        kept = layer is None or layer not in viewer.layers or self._edited or is_painted_on(layer)
        if kept or layer is None or layer.data.shape != found.shape:
            layer = Labels(found, name=f"{image.name} suggestion", **_layers.transform_of(image, axes))
            viewer.add_layer(layer)
            for event in (layer.events.paint, layer.events.data):
                event.connect(self._on_edit)
            self._made = weakref.ref(layer)
        else:
            with layer.events.data.blocker(self._on_edit):
                layer.data = found
        self._edited = False
        number = len(np.unique(found[found > 0]))
        what = counted(number, "object") if objects else "1 class" if number == 1 else f"{number} classes"
        self.say(f"{METHODS[method].title}: {what}. Correct it with the brush, then train on it.")

    def _on_edit(self, event: Any) -> None:
        made = self._made() if self._made is not None else None
        # Once it is corrected it is hers: the next suggestion is a layer of its own.
        self._edited = self._edited or event.source is made
