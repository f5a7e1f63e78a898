"""The folded choices of the train section: a row a choice, empty where the preset decides."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QLineEdit, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.session import Session
from napari_segnet._widgets.settings import ADVANCED, Advanced
from napari_segnet.errors import ConfigError

_PRESET = "as the preset chooses"


class AdvancedForm(QWidget):
    """Fields for `ADVANCED`; what is left empty follows the preset."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.fields: dict[str, QLineEdit | QComboBox] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(12, 0, 0, 0)
        grid.setVerticalSpacing(2)
        for number, choice in enumerate(ADVANCED):
            label = QLabel(choice.title)
            label.setToolTip(choice.tip)
            grid.addWidget(label, number, 0)
            field = self._field(choice)
            field.setToolTip(f"{choice.tip} (--set {choice.key}=...)")
            self.fields[choice.key] = field
            grid.addWidget(field, number, 1)

    def _field(self, choice: Advanced) -> QLineEdit | QComboBox:
        if choice.kind in ("choice", "bool"):
            values: list[tuple[str, Any]] = [(_PRESET, None)]
            values += [("yes", True), ("no", False)] if choice.kind == "bool" else [(c, c) for c in choice.choices]
            return parts.combo(choice.tip, lambda value: self._set(choice.key, value), values)
        field = QLineEdit()
        field.setPlaceholderText(_PRESET)
        field.editingFinished.connect(lambda: self._typed(choice, field))
        return field

    def refresh(self) -> None:
        """Show what was changed from the preset."""
        for key, field in self.fields.items():
            value = self._session.settings.advanced.get(key)
            if isinstance(field, QComboBox):
                index = next((i for i in range(field.count()) if field.itemData(i) == value), 0)
                field.setCurrentIndex(index)
            elif not field.hasFocus():
                field.setText("" if value is None else f"{value}")

    def _typed(self, choice: Advanced, field: QLineEdit) -> None:
        text = field.text().strip()
        if text == str(self._session.settings.advanced.get(choice.key, "")):
            return
        try:
            self._set(choice.key, _read(choice, text))
        except ConfigError as error:
            field.clear()
            self._set(choice.key, None)
            self._session.tell(error)

    def _set(self, key: str, value: Any) -> None:
        advanced = self._session.settings.advanced
        if value is None:
            advanced.pop(key, None)
        else:
            advanced[key] = value
        self._session.changed.emit()


def _read(choice: Advanced, text: str) -> Any:
    """Return what a text means for a choice, None where it is empty; raises `ConfigError`."""
    if not text:
        return None
    if choice.kind == "text":
        return text
    try:
        value: float = int(text) if choice.kind == "int" else float(text.replace(",", "."))
    except ValueError:
        raise ConfigError(f"{choice.title} = {text!r} is not a number.", "Leave it empty for the preset's.") from None
    if not choice.low <= value <= choice.high:
        raise ConfigError(f"{choice.title} = {text}: it goes from {choice.low:g} to {choice.high:g}.")
    return value
