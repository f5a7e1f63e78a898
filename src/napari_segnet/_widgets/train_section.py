"""The train part of the dock: preset, time, the folded choices, Train and Stop, the curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog, QLabel, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.advanced import AdvancedForm
from napari_segnet._widgets.curves import Curves
from napari_segnet._widgets.preset_words import words_of
from napari_segnet._widgets.session import Session
from napari_segnet.errors import SegNetError
from napari_segnet.models.info import model_path, read_info
from napari_segnet.presets import PRESETS

_FILE = "file"


class TrainSection(parts.Section):
    """Everything about learning."""

    def __init__(self, session: Session) -> None:
        super().__init__("Train")
        self._session = session
        self._add_choices()
        self.advanced = AdvancedForm(session)
        self.fold = parts.fold("Advanced", "What the preset chooses can be changed here.", self.advanced)
        self.fold.toggled.connect(self.advanced.refresh)
        self.body.addWidget(self.fold)
        self.body.addWidget(self.advanced)
        self._add_buttons()
        self.curves = Curves()
        self.body.addWidget(self.curves)

    def _add_choices(self) -> None:
        session = self._session
        self.preset = parts.combo(
            "How much work goes into learning. Below it says what the preset chooses for these data.",
            lambda value: self._change(preset=value),
            [(name, name) for name in PRESETS],
        )
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0, 100_000)
        self.minutes.setDecimals(1)
        self.minutes.setSpecialValueText("no limit")
        self.minutes.setSuffix(" min")
        self.minutes.setMinimumWidth(105)
        self.minutes.setToolTip("Longest time of learning. 'no limit': it stops when nothing improves any more.")
        self.minutes.valueChanged.connect(lambda value: self._change(minutes=value or None))
        self.start = parts.combo(
            "Begin with a new network, or go on from a trained one: then it needs less time and fewer strokes, "
            "and classes may be added.",
            self._choose_start,
        )
        grid = parts.form()
        grid.addWidget(QLabel("Preset"), 0, 0)
        grid.addLayout(parts.row(self.preset, QLabel("at most"), self.minutes, stretch=0), 0, 1)
        grid.addWidget(QLabel("Start from"), 1, 0)
        grid.addWidget(self.start, 1, 1)
        self.body.addLayout(grid)
        self.choices = parts.words()
        self.body.addWidget(self.choices)
        session.learned.connect(self.refresh_progress)

    def _add_buttons(self) -> None:
        session = self._session
        self.train = parts.button("Train", "", session.train)
        self.train.setMinimumHeight(28)
        self.train.setStyleSheet("font-weight: bold;")
        self.improve = parts.button(
            "Improve",
            "Let the model that predicts learn on from your strokes of now: paint where it is wrong, then press this.",
            session.improve,
        )
        self.improve.setMinimumHeight(28)
        self.stop = parts.button(
            "Stop", "Finish the step and save the best and the last model. You can resume later.", session.stop
        )
        self.resume = parts.button(
            "Resume", "Go on from the last checkpoint, with the strokes of then.", session.resume
        )
        self.body.addLayout(parts.row(self.train, self.improve, self.stop, self.resume, stretch=0))
        self.warnings = parts.words(colour=parts.WARNING)
        self.warnings.setToolTip("Things to know about these data. None of them keeps the network from learning.")
        self.body.addWidget(self.warnings)
        self.status = parts.words()
        self.body.addWidget(self.status)
        self.line = QLabel("")
        self.line.setToolTip("Epoch, training loss, Dice on annotation that is not learned from, and the time left.")
        self.body.addWidget(self.line)

    def set_shortcut(self, key: str) -> None:
        """Name the keyboard shortcut in the tooltip of the Train button."""
        keys = f" ({key})" if key else ""
        self.train.setToolTip(
            f"Save your images and strokes, and let a network learn them{keys}. You can paint on meanwhile."
        )

    def refresh(self) -> None:
        """Show what the session holds."""
        session = self._session
        start = session.models.start
        problem = session.data.problem(start)
        parts.fill(self.preset, [(name, name) for name in PRESETS], session.settings.preset)
        if self.minutes.value() != (session.settings.minutes or 0):
            blocked = self.minutes.blockSignals(True)
            self.minutes.setValue(session.settings.minutes or 0)
            self.minutes.blockSignals(blocked)
        self._refresh_start()
        choices, reasons = words_of(session)
        parts.say(self.choices, choices)
        self.choices.setToolTip(reasons)
        busy = session.busy
        for widget in (self.preset, self.minutes, self.start, self.advanced):
            widget.setEnabled(not busy)
        self.train.setEnabled(not busy and not problem)
        known = session.models.known
        self.improve.setVisible(known is not None and not busy)
        self.improve.setEnabled(known is not None and not session.data.problem(known))
        self.stop.setVisible(session.busy)
        self.stop.setEnabled(session.phase != "stopping")
        self.resume.setVisible(session.resumable is not None and not busy)
        self.resume.setStyleSheet("font-weight: bold;" if session.phase == "broken" else "")
        self.advanced.refresh()
        told = [*session.notices[-3:], *(w for w in session.data.warnings(start) if w not in session.notices)]
        parts.say(self.warnings, "\n".join(told[:4]))
        sentence = problem if problem and not busy and not session.is_error else session.sentence
        parts.say(self.status, sentence, parts.ERROR if session.is_error else parts.QUIET)
        self.refresh_progress()

    def refresh_progress(self) -> None:
        """Show how far it is."""
        progress = self._session.progress
        line = progress.line() if self._session.phase in ("training", "stopping", "broken") else ""
        if self.line.text() != line:
            self.line.setText(line)
        self.line.setVisible(bool(line))
        self.curves.show_progress(progress)

    def _change(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._session.settings, name, value)
        self._session.changed.emit()

    def _refresh_start(self) -> None:
        session = self._session
        items: list[tuple[str, Any]] = [("a new network", None)]
        last = session.models.last
        if last is not None:
            items.append(("the last run's model", last))
        chosen = session.settings.start_from
        if chosen is not None and chosen != last:
            items.append((chosen.name, chosen))
        parts.fill(self.start, [*items, ("a model file ...", _FILE)], chosen)

    def _choose_start(self, value: Any) -> None:
        if value == _FILE:
            value = ask_for_model(self)
            if value is None:
                self._session.changed.emit()
                return
        self.start_from(value)

    def start_from(self, path: Path | None) -> None:
        """Fine-tune a model file; None: learn from scratch."""
        try:
            if path is not None:
                read_info(path)
                path = model_path(path)
        except SegNetError as error:
            self._session.tell(error)
            path = None
        self._change(start_from=path)


def ask_for_model(parent: QWidget) -> Path | None:
    """Let the user pick a model file."""
    chosen, _ = QFileDialog.getOpenFileName(
        parent, "Open a model", "", "Models (*.safetensors *.zip *.onnx *.pt);;All files (*)"
    )
    return Path(chosen) if chosen else None
