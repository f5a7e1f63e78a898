"""The dock that measures: objects, counts, cover and regions of a labels layer, as tables tied to the layers."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from qtpy.QtWidgets import QLabel, QMenu, QPushButton

from napari_segnet import _layers
from napari_segnet._widgets import layer_arrays, parts
from napari_segnet._widgets.cut_out_dialog import CutOutDialog
from napari_segnet._widgets.measure_options import MeasureOptionsForm
from napari_segnet._widgets.measured_tables import MeasuredTables
from napari_segnet._widgets.object_finder import box_of, show_place
from napari_segnet._widgets.outputs import MARK, selection_kept
from napari_segnet._widgets.sessions import known_session
from napari_segnet._widgets.side_dock import SideDock
from napari_segnet._widgets.side_jobs import TABLE_WORKER
from napari_segnet.axes import counted
from napari_segnet.frames import read_frame, write_frame
from napari_segnet.measure.tables import layer_features

_VALUES = (("guessed", None), ("classes", "semantic"), ("objects", "instances"))
_ZERO = (("background", "background"), ("not annotated", "ignore"))
_STACK = (("as volumes", False), ("plane by plane", True))
_NONE, _ALL = "none", "all classes of the prediction"
_TABLES = {
    "objects": "A row an object. Click it, and the viewer goes there. Ctrl+C copies rows.",
    "counts": "A row a class: how many objects, how many an area, how large.",
    "cover": "A row a class: which part of the image it covers.",
    "regions": "A row a region and class: cover and objects within the shapes.",
}


class MeasureDock(SideDock):
    """Measures a labels layer.

    Parameters
    ----------
    napari_viewer : napari viewer
    command : sequence of str
        How the worker is started.
    """

    def __init__(self, napari_viewer: Any, command: Sequence[str] = TABLE_WORKER) -> None:
        super().__init__(napari_viewer, command)
        self.setObjectName("napari-segnet-measure")
        self._images: list[weakref.ref[Image]] = []
        self._measured: weakref.ref[Labels] | None = None
        self._objects: weakref.ref[Labels] | None = None
        self._made: weakref.WeakKeyDictionary[Labels, weakref.ref[Labels]] = weakref.WeakKeyDictionary()
        self._axes = ""
        self._add_choices()
        self.options = MeasureOptionsForm()
        self.fold = parts.fold("Options", "Which objects count, and the circle of a photograph.", self.options)
        self.body.addWidget(self.fold)
        self.body.addWidget(self.options)
        self.measure = parts.button(
            "Measure", "Measure the labels as they are now. The viewer stays free.", self.start_measuring
        )
        parts.stand_out(self.measure)
        self.tables = MeasuredTables(_TABLES)
        self.tables.row_chosen.connect(self._go_to)
        self.tables.export_wanted.connect(self.export)
        self.cut = parts.button(
            "Cut out ...",
            "Write the objects as pictures, without their background: of the chosen image, as PNG.",
            self._ask_cut_out,
        )
        self.body.addLayout(parts.row(self.measure, self.stop, stretch=0))
        self.body.addLayout(parts.row(self.tables.export, self.cut))
        self.body.addWidget(self.status)
        self.body.addWidget(self.tables, 1)
        self.tables.show_frames({})
        self.refresh()

    def _add_choices(self) -> None:
        grid = parts.form()
        self.labels = parts.combo("The labels layer that is measured.", lambda _layer: self._on_choice())
        self.values = parts.combo(
            "What the numbers stand for: kinds of things, or an object each.", lambda _v: None, _VALUES
        )
        self.zero = parts.combo("What 0 stands for: pixels without label count, or don't.", lambda _v: None, _ZERO)
        self.stack = parts.combo("Whether a stack is one volume, or planes by themselves.", lambda _v: None, _STACK)
        for box in (self.values, self.zero, self.stack):
            box.setCurrentIndex(0)
        self.images = QPushButton()
        self.images.setToolTip("Layers whose intensities are measured in each object.")
        self.images.setMenu(QMenu(self.images))
        self.images.menu().aboutToShow.connect(self._fill_images)
        self.probabilities = parts.combo("Layers with the probability of the classes.", lambda _layer: None)
        self.regions = parts.combo("Shapes to measure in: cover, counts and density of each.", lambda _layer: None)
        self.stack_label = QLabel("Stack")
        for row, (title, widget) in enumerate(
            (
                (QLabel("Labels"), parts.row(self.labels, stretch=0)),
                (QLabel("Values"), parts.row(self.values, QLabel("0 is"), self.zero, stretch=2)),
                (self.stack_label, parts.row(self.stack, stretch=0)),
                (QLabel("Intensities"), parts.row(self.images, stretch=0)),
                (QLabel("Probability"), parts.row(self.probabilities, stretch=0)),
                (QLabel("Regions"), parts.row(self.regions, stretch=0)),
            )
        ):
            grid.addWidget(title, row, 0)
            grid.addLayout(widget, row, 1)
        self.body.addLayout(grid)

    # ------------------------------------------------------------------ choices

    def refresh(self) -> None:
        """Show the layers that there are, and what is going on."""
        super().refresh()
        viewer = self.viewer
        if viewer is None:
            return
        layers = list(reversed(viewer.layers))
        self.follow_names(layers)
        mine = [layer for layer in layers if isinstance(layer, Labels) and layer.metadata.get(MARK) != "objects"]
        before = self.labels.currentData()
        session = known_session(viewer)
        strokes = session.data.labels if session is not None else None
        chosen = before if before in mine else _likeliest(mine, viewer.layers.selection.active, strokes)
        parts.fill(self.labels, [(layer.name, layer) for layer in mine], chosen)
        if chosen is not before:
            self._on_choice()
        self._fill_choices(chosen, layers)
        self.measure.setEnabled(chosen is not None and not self.busy)
        self.tables.export.setEnabled(bool(self.tables.frames) and not self.busy)
        self.cut.setEnabled(chosen is not None and bool(self._images) and not self.busy)

    def _fill_choices(self, labels: Labels | None, layers: list[Any]) -> None:
        images = [] if labels is None else layer_arrays.images_on(self.viewer, labels)
        self._images = [ref for ref in self._images if ref() in images]
        chosen = self.chosen_images
        names = ", ".join(image.name for image in chosen)
        self.images.setText(names if len(chosen) == 1 else counted(len(chosen), "layer") if chosen else _NONE)
        self.images.setEnabled(bool(images))
        sure = [image for image in images if layer_arrays.may_be_probabilities(image)]
        together = [] if labels is None else layer_arrays.class_probabilities(self.viewer, labels)
        items: list[tuple[str, Any]] = [(_NONE, None), *(((_ALL, _ALL),) if together else ())]
        items += [(image.name, image) for image in sure]
        now = self.probabilities.currentData()
        # Qt gives texts back as others of the same letters.
        kept = now if now == _ALL or any(data is now for _, data in items) else None
        parts.fill(self.probabilities, items, kept)
        shapes = [layer for layer in layers if isinstance(layer, Shapes)]
        now = self.regions.currentData()
        parts.fill(self.regions, [(_NONE, None), *((s.name, s) for s in shapes)], now if now in shapes else None)
        deep = labels is not None and "Z" in layer_arrays.axes_of_labels(labels)
        self.stack.setVisible(deep)
        self.stack_label.setVisible(deep)

    def _on_choice(self) -> None:
        """Start from what is known of a labels layer that was chosen just now."""
        labels = self.labels.currentData()
        if labels is None:
            return
        classes = _layers.classes_of(labels)
        # Without a class of their own, pixels of 0 are none at all.
        unknown = len(classes) > 1 and all(c.value != 0 for c in classes)
        parts.fill(self.zero, _ZERO, "ignore" if unknown else "background")
        images = layer_arrays.images_on(self.viewer, labels)
        plain = [image for image in images if MARK not in image.metadata]
        self._images = [weakref.ref(image) for image in plain[-1:]]
        self._fill_choices(labels, list(reversed(self.viewer.layers)))
        if layer_arrays.class_probabilities(self.viewer, labels):
            self.probabilities.setCurrentIndex(self.probabilities.findData(_ALL))

    @property
    def chosen_images(self) -> list[Image]:
        """The layers whose intensities are measured."""
        return [image for image in (ref() for ref in self._images) if image is not None]

    def choose_images(self, images: Sequence[Image]) -> None:
        """Choose the layers whose intensities are measured."""
        self._images = [weakref.ref(image) for image in images]
        self.refresh()

    def _fill_images(self) -> None:
        menu, labels = self.images.menu(), self.labels.currentData()
        menu.clear()
        for image in [] if labels is None else layer_arrays.images_on(self.viewer, labels):
            action = menu.addAction(image.name)
            action.setCheckable(True)
            action.setChecked(image in self.chosen_images)
            action.toggled.connect(lambda on, image=image: self._toggle_image(image, on))

    def _toggle_image(self, image: Image, on: bool) -> None:
        kept = [other for other in self.chosen_images if other is not image]
        self.choose_images([*kept, image] if on else kept)

    # ---------------------------------------------------------------- measuring

    def start_measuring(self) -> None:
        """Measure the labels as they are now."""
        labels = self.labels.currentData()
        if labels is None or self.busy:
            return
        self._axes = layer_arrays.axes_of_labels(labels)
        measured = weakref.ref(labels)

        def prepare(folder: Path, values: dict[str, Any]) -> Iterator[Any]:
            yield from self._prepare(folder, values, labels)

        def done(folder: Path) -> None:
            self._measured = measured
            self._show(folder)

        self.start("measure", "Measuring", prepare, done)

    def _prepare(self, folder: Path, values: dict[str, Any], labels: Labels) -> Iterator[Any]:
        layer_arrays.check_labels(labels)
        size, units = layer_arrays.pixel_size(labels, self._axes)
        values["labels"], values["images"], values["probabilities"] = {}, {}, []
        yield from layer_arrays.labels_steps(folder, "labels", labels, values["labels"])
        names: list[str] = []
        for image in self.chosen_images:
            names.append(_layers.file_name(image.name, names))
            values["images"][names[-1]] = {}
            place = values["images"][names[-1]]
            yield from layer_arrays.image_steps(folder, f"image-{len(names)}", image, labels, place)
        for number, image in enumerate(self._chosen_probabilities(labels)):
            values["probabilities"].append({})
            yield from layer_arrays.image_steps(
                folder, f"probability-{number}", image, labels, values["probabilities"][-1]
            )
        shapes = self.regions.currentData()
        values["regions"] = layer_arrays.regions_on(shapes, labels) if shapes is not None else []
        values["classes"] = layer_arrays.classes_for(labels)
        values["options"] = {
            "task": self.values.currentData(),
            "unlabelled": self.zero.currentData(),
            "planes": bool(self.stack.currentData()),
            "pixel_size": size,
            "units": units,
            **self.options.values(),
        }

    def _chosen_probabilities(self, labels: Labels) -> list[Image]:
        chosen = self.probabilities.currentData()
        if chosen is None:
            return []
        return layer_arrays.class_probabilities(self.viewer, labels) if chosen == _ALL else [chosen]

    def _show(self, folder: Path) -> None:
        """Show the tables, and tie the objects to a layer."""
        frames = {name: read_frame(folder / f"{name}.npz") for name in _TABLES if (folder / f"{name}.npz").exists()}
        found = json.loads((folder / "meaning.json").read_text(encoding="utf-8"))
        self.tables.show_frames(frames)
        labels, objects = self._measured() if self._measured is not None else None, frames["objects"]
        if labels is None or self.viewer is None or labels not in self.viewer.layers:
            self.say("The labels layer is gone; its tables are here.")
            return
        pieces = found["task"] == "semantic"
        layer = self._objects_layer(labels, np.load(folder / "objects.npy")) if pieces else labels
        self._objects = weakref.ref(layer)
        unique = not objects["label"].duplicated().any()
        if unique:
            layer.features = layer_features(objects)
        layer.events.selected_label.connect(self._on_selected)
        self._watch(labels)
        taken = (
            "numbered objects" if found["task"] == "instances" else f"classes: {', '.join(found['classes'].values())}"
        )
        more = "" if unique else " Objects go on over planes or times, so they are no features of the layer."
        self.say(f"{counted(len(objects), 'object')}; the values are {taken}.{more}")

    def _objects_layer(self, labels: Labels, numbers: Any) -> Labels:
        """Return the layer with the pieces of classes, numbered; made if there is none yet."""
        viewer = self.viewer
        earlier = self._made[labels]() if labels in self._made else None
        if earlier is not None and earlier in viewer.layers:
            earlier.data = numbers
            return earlier
        place = _layers.transform_of(labels, self._axes)
        made = Labels(numbers, name=f"{labels.name} objects", opacity=0.7, metadata={MARK: "objects"}, **place)
        made.contour = 2
        self._made[labels] = weakref.ref(made)
        with selection_kept(viewer):
            viewer.layers.insert(viewer.layers.index(labels) + 1, made)
        return made

    def _watch(self, labels: Labels) -> None:
        for event in (labels.events.paint, labels.events.data):
            event.disconnect(self._on_paint)
            event.connect(self._on_paint)

    def _on_paint(self, _event: Any = None) -> None:
        if not self.busy:
            self.say("The labels have changed since they were measured.")

    # ------------------------------------------------------------- tied to layers

    def _go_to(self, table: str, row: int) -> None:
        layer = self._objects() if self._objects is not None else None
        viewer = self.viewer
        if table != "objects" or layer is None or viewer is None or layer not in viewer.layers:
            return
        values: dict[str, Any] = {str(k): v for k, v in self.tables.frames["objects"].iloc[row].items()}
        show_place(viewer, layer, *box_of(values, self._axes))
        with layer.events.selected_label.blocker(self._on_selected):
            layer.selected_label = int(values["label"])
        viewer.layers.selection.active = layer

    def _on_selected(self, event: Any) -> None:
        """Choose the row of the label that was picked in the viewer."""
        layer = self._objects() if self._objects is not None else None
        objects = self.tables.frames.get("objects")
        if layer is None or event.source is not layer or objects is None:
            return
        rows = np.flatnonzero(objects["label"].to_numpy() == layer.selected_label)
        if rows.size:
            self.tables.tables["objects"].choose(int(rows[0]))

    # -------------------------------------------------------------------- export

    def export(self, table: str, path: str) -> None:
        """Write a table as CSV or Parquet."""
        frame = self.tables.frames[table]

        def prepare(folder: Path, values: dict[str, Any]) -> Iterator[Any]:
            yield
            write_frame(frame, folder / "table.npz")
            values.update(table=str(folder / "table.npz"), path=path)

        self.start("write-table", "Writing", prepare, lambda _folder: self.say(f"Written: {path}"))

    def _ask_cut_out(self) -> None:
        dialog = CutOutDialog(self)
        if dialog.exec() and dialog.into is not None:
            self.cut_out(dialog.into, dialog.values(), dialog.crops.isChecked())
        dialog.deleteLater()

    def cut_out(self, into: Path, options: dict[str, Any], crops: bool = False) -> None:
        """Write the objects of the first chosen image as pictures into a folder."""
        labels = self.labels.currentData()
        if labels is None or not self.chosen_images:
            return
        image = self.chosen_images[0]

        def prepare(folder: Path, values: dict[str, Any]) -> Iterator[Any]:
            # The pictures get the name of the files.
            name = _layers.file_name(image.name)
            (folder / "labels").mkdir()
            values.update(labels={}, image={}, into=str(into), crops=crops, options=options)
            values["task"] = self.values.currentData()
            yield from layer_arrays.labels_steps(folder / "labels", name, labels, values["labels"])
            yield from layer_arrays.image_steps(folder, name, image, labels, values["image"])

        def done(folder: Path) -> None:
            written = json.loads((folder / "written.json").read_text(encoding="utf-8"))
            self.say(f"{counted(len(written), 'picture')} written into {into}.")

        self.start("cut-out", "Cutting out", prepare, done)


def _likeliest(labels: Sequence[Labels], active: Any, strokes: Labels | None) -> Labels | None:
    """Return the labels to begin with: the active layer unless it is the strokes, a prediction, or the topmost."""
    predictions = [layer for layer in labels if layer.metadata.get(MARK) == "prediction"]
    first = [] if active is strokes and predictions else [active]
    return next((layer for layer in (*first, *predictions, *labels) if layer in labels), None)
