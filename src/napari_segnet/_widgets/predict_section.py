"""The predict part of the dock: which model, on what, with which outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel

from napari_segnet._widgets import parts
from napari_segnet._widgets.files_dialog import FilesDialog
from napari_segnet._widgets.script_button import ScriptButton
from napari_segnet._widgets.session import Session
from napari_segnet._widgets.train_section import ask_for_model
from napari_segnet.axes import counted
from napari_segnet.errors import SegNetError

_FILE = "file"


class PredictSection(parts.Section):
    """Everything about applying a model."""

    def __init__(self, session: Session) -> None:
        super().__init__("Predict")
        self._session = session
        self.model = parts.combo("The model that predicts: the last run's, or a file.", self._choose_model)
        self.save = parts.button(
            "Save ...", "Save the model as one file, with its classes and everything needed to use it.", self._save
        )
        self.where = parts.combo(
            "What is predicted: the image that is chosen above, or every image of the list.",
            lambda value: self._change(all_pairs=value),
            [("this image", False), ("all images of the list", True)],
        )
        grid = parts.form()
        grid.addWidget(QLabel("Model"), 0, 0)
        grid.addLayout(parts.row(self.model, self.save, stretch=0), 0, 1)
        grid.addWidget(QLabel("Apply to"), 1, 0)
        grid.addWidget(self.where, 1, 1)
        self.body.addLayout(grid)
        self.about = parts.words()
        self.body.addWidget(self.about)
        self.tta = self._check("Average", "tta", "Average over flips and turns: a little better, eight times the work.")
        self.uncertainty = self._check(
            "Uncertainty", "uncertainty", "Also show where the model hesitates: paint there next."
        )
        self.instances = self._check(
            "Objects", "instances", "Number the objects: touching ones are parted if the model learned objects."
        )
        self.body.addLayout(parts.row(self.uncertainty, self.instances, self.tta))
        self.predict = parts.button("Predict", "", session.predict)
        self.predict.setMinimumHeight(28)
        self.predict.setStyleSheet("font-weight: bold;")
        self.files = parts.button(
            "Files ...", "Apply the model to files or a folder of images, and write the answers as files.", self._files
        )
        self.files.setMinimumHeight(28)
        self.copy = ScriptButton(session)
        self.body.addLayout(parts.row(self.predict, self.files, self.copy, stretch=0))

    def _check(self, text: str, name: str, tip: str) -> QCheckBox:
        box = QCheckBox(text)
        box.setToolTip(tip)
        box.toggled.connect(lambda on: self._change(**{name: on}))
        return box

    def set_shortcut(self, key: str) -> None:
        """Name the keyboard shortcut in the tooltip of the Predict button."""
        keys = f" ({key})" if key else ""
        self.predict.setToolTip(f"Apply the model, and put labels and probabilities into layers{keys}.")

    def refresh(self) -> None:
        """Show what the session holds."""
        session = self._session
        items: list[tuple[str, Any]] = []
        if session.models.last is not None:
            items.append(("the last run's model", None))
        if session.settings.model is not None:
            items.append((session.settings.model.name, session.settings.model))
        if not items:
            items.append(("no model yet", None))
        parts.fill(self.model, [*items, ("open a model file ...", _FILE)], session.settings.model)
        for box, name in ((self.tta, "tta"), (self.uncertainty, "uncertainty"), (self.instances, "instances")):
            blocked = box.blockSignals(True)
            box.setChecked(getattr(session.settings, name))
            box.blockSignals(blocked)
        parts.fill(self.where, [("this image", False), ("all images of the list", True)], session.settings.all_pairs)
        has_model = session.models.path is not None
        parts.say(self.about, self._in_words() if has_model else "")
        self.save.setEnabled(has_model)
        self.files.setEnabled(has_model and not session.busy)
        self.copy.refresh()
        self.predict.setEnabled(has_model and not session.busy and bool(session.data.images or session.data.pairs))

    def _in_words(self) -> str:
        try:
            info = self._session.models.info()
        except SegNetError as error:
            return str(error)
        names = ", ".join(c.name for c in info.classes)
        channels = counted(info.channels, "channel")
        dice = info.scores.get("val_dice")
        score = f", validation Dice {dice:.3f}" if dice is not None else ""
        return f"{names}; {channels}{score}."

    def _change(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._session.settings, name, value)
        self._session.changed.emit()

    def _choose_model(self, value: Any) -> None:
        if value == _FILE:
            value = ask_for_model(self)
            if value is None:
                self._session.changed.emit()
                return
        self._session.use_model(value)

    def _files(self) -> None:
        dialog = FilesDialog(self)
        if dialog.exec() and dialog.out is not None:
            self._session.predict_files(dialog.images, dialog.out)
        dialog.deleteLater()

    def _save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the model", "model.safetensors", "Models (*.safetensors)")
        if chosen:
            self._session.save_model(Path(chosen))
