"""The dock that compares labels with a truth: a table of scores, and the errors of each image as a layer."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QMenu, QPushButton

from napari_segnet import _layers
from napari_segnet._widgets import layer_arrays, parts
from napari_segnet._widgets.compared_layers import (
    SHOWN,
    Compared,
    pairs_of_choice,
    pairs_of_list,
    show_errors,
    write_pairs,
)
from napari_segnet._widgets.measured_tables import MeasuredTables
from napari_segnet._widgets.object_finder import show_place
from napari_segnet._widgets.outputs import MARK
from napari_segnet._widgets.sessions import known_session
from napari_segnet._widgets.side_dock import SideDock
from napari_segnet._widgets.side_jobs import TABLE_WORKER
from napari_segnet.axes import counted
from napari_segnet.evaluation.measures import MEASURES
from napari_segnet.frames import read_frame, write_frame
from napari_segnet.reports.colours import ERROR_COLOURS, ERROR_WORDS, IGNORED, MISSED

_VALUES = (("guessed", None), ("classes", False), ("objects", True))
_ZERO = (("guessed", None), ("background", "background"), ("not annotated", "ignore"))
_TABLES = {
    "images": "A row an image. Click it to see where prediction and truth differ.",
    "classes": "A row an image and class. Click it to see where they differ.",
    "means": "A row a class: means over the images.",
}
_REPORT = "evaluation"


def explain_scores(names: list[str]) -> dict[str, str]:
    """Return what columns of scores mean."""
    known = [MEASURES[name] for name in names if name in MEASURES]
    return {m.name: f"<p><b>{m.title}</b>: {m.formula}</p><p>{m.limits}. {m.source}</p>" for m in known}


class EvaluateDock(SideDock):
    """Compares labels layers with a labels layer that is taken for true.

    Parameters
    ----------
    napari_viewer : napari viewer
    command : sequence of str
        How the worker is started.
    """

    def __init__(self, napari_viewer: Any, command: Sequence[str] = TABLE_WORKER) -> None:
        super().__init__(napari_viewer, command)
        self.setObjectName("napari-segnet-evaluate")
        self._predictions: list[weakref.ref[Labels]] = []
        self._pairs: list[Compared] = []
        self._shown: dict[str, weakref.ref[Labels]] = {}
        self._add_choices()
        self.evaluate = parts.button("Evaluate", "Compare the labels as they are now.", self.start_evaluating)
        parts.stand_out(self.evaluate)
        self.report = parts.button(
            "Report ...",
            "Write tables, figures and a page to pass on into a folder, and open the page.",
            self._ask_folder,
        )
        self.tables = MeasuredTables(_TABLES, explain_scores)
        self.tables.row_chosen.connect(self._go_to)
        self.tables.export_wanted.connect(self.export)
        self.body.addLayout(parts.row(self.evaluate, self.stop, stretch=0))
        self.body.addLayout(parts.row(self.report, self.tables.export))
        self.body.addWidget(self.status)
        self.key = parts.words(_key())
        self.key.setToolTip("Colours of the error layers; what is right stays transparent.")
        self.key.hide()
        self.body.addWidget(self.key)
        self.body.addWidget(self.tables, 1)
        self.tables.show_frames({})
        self.refresh()

    def _add_choices(self) -> None:
        self.truth = parts.combo("The labels that are taken for true.", lambda _layer: self.refresh())
        self.predictions = QPushButton()
        self.predictions.setToolTip("The labels that are compared with it: one layer, or those of several models.")
        self.predictions.setMenu(QMenu(self.predictions))
        self.predictions.menu().aboutToShow.connect(self._fill_predictions)
        self.all_pairs = QCheckBox("All pairs of the main dock that have a prediction")
        self.all_pairs.setToolTip("Compare the prediction of each image in the list with the labels of that image.")
        self.all_pairs.toggled.connect(lambda _on: self.refresh())
        self.values = parts.combo(
            "What the numbers stand for: kinds of things, or an object each.", lambda _v: None, _VALUES
        )
        self.zero = parts.combo("What 0 stands for in the truth: pixels that count, or don't.", lambda _v: None, _ZERO)
        for box in (self.values, self.zero):
            box.setCurrentIndex(0)
        self.surface = QCheckBox("Distances between surfaces, too")
        self.surface.setToolTip("Hausdorff distance, ASSD, surface Dice, boundary IoU: takes longer.")
        grid = parts.form()
        rows = (
            ("Truth", parts.row(self.truth, stretch=0)),
            ("Prediction", parts.row(self.predictions, stretch=0)),
            ("Values", parts.row(self.values, QLabel("0 is"), self.zero, stretch=2)),
            ("", parts.row(self.surface)),
        )
        for row, (title, widgets) in enumerate(rows):
            grid.addWidget(QLabel(title), row, 0)
            grid.addLayout(widgets, row, 1)
        self.body.addWidget(self.all_pairs)
        self.body.addLayout(grid)

    # ------------------------------------------------------------------ choices

    def refresh(self) -> None:
        """Show the layers that there are, and what is going on."""
        super().refresh()
        viewer = self.viewer
        if viewer is None:
            return
        mine = self._candidates()
        self.follow_names(mine)
        now = self.truth.currentData()
        # What a model made is rarely the truth.
        truths = [layer for layer in mine if layer.metadata.get(MARK) != "prediction"]
        truth = now if now in mine else next(iter([*truths, *mine]), None)
        parts.fill(self.truth, [(layer.name, layer) for layer in mine], truth)
        fits = [layer for layer in mine if layer is not truth and _same_size(layer, truth)]
        kept = [layer for layer in self.chosen_predictions if layer in fits]
        likeliest = [layer for layer in fits if layer.metadata.get(MARK) == "prediction"] or fits
        self._predictions = [weakref.ref(layer) for layer in kept or likeliest[:1]]
        chosen = self.chosen_predictions
        self.predictions.setText(
            chosen[0].name if len(chosen) == 1 else counted(len(chosen), "layer") if chosen else "none"
        )
        listed = pairs_of_list(viewer, known_session(viewer))
        self.all_pairs.setVisible(bool(listed))
        together = self.all_pairs.isChecked() and bool(listed)
        self.truth.setEnabled(not together)
        self.predictions.setEnabled(not together and bool(fits))
        ready = bool(listed) if together else bool(chosen)
        self.evaluate.setEnabled(ready and not self.busy)
        self.report.setEnabled(ready and not self.busy)
        self.tables.export.setEnabled(bool(self.tables.frames) and not self.busy)

    def _candidates(self) -> list[Labels]:
        return [
            layer
            for layer in reversed(self.viewer.layers)
            if isinstance(layer, Labels) and layer.metadata.get(MARK) not in ("errors", "objects")
        ]

    @property
    def chosen_predictions(self) -> list[Labels]:
        """The layers that are compared with the truth."""
        return [layer for layer in (ref() for ref in self._predictions) if layer is not None]

    def choose_predictions(self, layers: Sequence[Labels]) -> None:
        """Choose the layers that are compared with the truth."""
        self._predictions = [weakref.ref(layer) for layer in layers]
        self.refresh()

    def choose_truth(self, truth: Labels) -> None:
        """Choose the layer that is taken for true."""
        self.truth.setCurrentIndex(self.truth.findText(truth.name))
        self.refresh()

    def _fill_predictions(self) -> None:
        menu, truth = self.predictions.menu(), self.truth.currentData()
        menu.clear()
        for layer in self._candidates():
            if layer is truth or not _same_size(layer, truth):
                continue
            action = menu.addAction(layer.name)
            action.setCheckable(True)
            action.setChecked(layer in self.chosen_predictions)
            action.toggled.connect(lambda on, layer=layer: self._toggle(layer, on))

    def _toggle(self, layer: Labels, on: bool) -> None:
        kept = [other for other in self.chosen_predictions if other is not layer]
        self.choose_predictions([*kept, layer] if on else kept)

    # --------------------------------------------------------------- evaluating

    def start_evaluating(self, report: Path | None = None) -> None:
        """Compare the labels as they are now; with a folder write the report, too, and open it."""
        viewer = self.viewer
        if viewer is None or self.busy:
            return
        if self.all_pairs.isChecked() and not self.all_pairs.isHidden():
            pairs = pairs_of_list(viewer, known_session(viewer))
        else:
            pairs = pairs_of_choice(viewer, self.chosen_predictions, self.truth.currentData())
        if not pairs:
            return

        def prepare(folder: Path, values: dict[str, Any]) -> Iterator[Any]:
            values["pairs"] = []
            yield from write_pairs(folder, pairs, values["pairs"])
            prediction, truth = pairs[0].layers()
            classes = layer_arrays.classes_for(prediction, _layers.classes_of(truth))
            values.update(
                unlabelled=self.zero.currentData(),
                instances=self.values.currentData(),
                surface=self.surface.isChecked(),
                classes=classes or None,
                report=None if report is None else str(report),
            )

        def done(folder: Path) -> None:
            self._show(folder, pairs)
            if report is not None:
                self.say(f"Written into {report}.")
                QDesktopServices.openUrl(QUrl.fromLocalFile(str(report / "report.html")))

        self.start("evaluate", "Comparing", prepare, done)

    def _show(self, folder: Path, pairs: list[Compared]) -> None:
        frames = {name: read_frame(folder / f"{name}.npz") for name in _TABLES}
        viewer = self.viewer
        if viewer is None:
            return
        for name in ("images", "classes"):
            frames[name]["image"] = frames[name]["image"].map({pair.file: pair.name for pair in pairs})
        self._pairs = pairs
        for number, pair in enumerate(pairs):
            earlier = self._shown.get(pair.name)
            pair.errors = earlier if earlier is not None and earlier() is not None else None
            show_errors(viewer, pair, np.load(folder / f"errors-{number}.npy"))
            if pair.errors is not None:
                self._shown[pair.name] = pair.errors
        self.tables.show_frames(frames)
        self.key.show()
        dice = frames["images"]["dice"]
        self.say(f"{counted(len(dice), 'image')}, mean Dice {dice.mean():.4f}. Click a row to see its errors.")

    def _go_to(self, table: str, row: int) -> None:
        """Show the image of a row with its errors, and nothing of the others."""
        viewer = self.viewer
        if table == "means" or viewer is None:
            return
        name = self.tables.frames[table]["image"].iloc[row]
        pair = next((pair for pair in self._pairs if pair.name == name), None)
        errors = pair.errors() if pair is not None and pair.errors is not None else None
        if pair is None or errors is None or errors not in viewer.layers:
            self.say(f"The layers of {name} are gone.")
            return
        mine = _layers_of(pair)
        others = {id(layer) for other in self._pairs for layer in _layers_of(other)} - {id(layer) for layer in mine}
        for layer in viewer.layers:
            if id(layer) in others or layer.metadata.get(MARK) == "errors":
                layer.visible = layer is errors
        for layer in mine:
            layer.visible = True
        for other in self._pairs:
            for labels in (other.prediction(), other.truth()):
                if labels is not None:
                    labels.visible = False  # the errors tell what both say
        start, stop = [0] * errors.ndim, list(errors.data.shape)
        for axis, place in enumerate(_worst_plane(errors.data)):
            start[axis], stop[axis] = place, place + 1
        show_place(viewer, errors, start, stop, fills=0.95)
        viewer.layers.selection.active = errors

    # -------------------------------------------------------------------- files

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the report")
        if chosen:
            folder = Path(chosen)
            # What lies in a folder already isn't mixed with the files of a report.
            self.start_evaluating(folder if not any(folder.iterdir()) else folder / _REPORT)

    def export(self, table: str, path: str) -> None:
        """Write a table as CSV or Parquet."""
        frame = self.tables.frames[table]

        def prepare(folder: Path, values: dict[str, Any]) -> Iterator[Any]:
            yield
            write_frame(frame, folder / "table.npz")
            values.update(table=str(folder / "table.npz"), path=path)

        self.start("write-table", "Writing", prepare, lambda _folder: self.say(f"Written: {path}"))


def _same_size(layer: Labels, truth: Labels | None) -> bool:
    return truth is not None and tuple(_layers.array_of(layer).shape) == tuple(_layers.array_of(truth).shape)


def _layers_of(pair: Compared) -> list[Any]:
    image = pair.image() if pair.image is not None else None
    errors = pair.errors() if pair.errors is not None else None
    return [layer for layer in (image, errors) if layer is not None]


def _worst_plane(errors: Any) -> tuple[int, ...]:
    """Return the plane of a stack with most errors; nothing of a plane."""
    if errors.ndim == 2:
        return ()
    wrong = (errors >= MISSED) & (errors < IGNORED)
    counts = wrong.sum(axis=(-2, -1))
    return tuple(int(n) for n in np.unravel_index(int(counts.argmax()), counts.shape))


def _key() -> str:
    words = (f'<span style="color:{ERROR_COLOURS[value]}">&#9632;</span> {ERROR_WORDS[value]}' for value in SHOWN)
    return "&nbsp;&nbsp; ".join(words)
