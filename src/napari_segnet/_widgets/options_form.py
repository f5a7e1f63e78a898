"""A form for any class of options: a control a field, made from what the field says of itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QSpinBox, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.choices import Advanced, row_of
from napari_segnet.config import Frozen

_LARGEST = 2_000_000_000


class OptionsForm(QWidget):
    """Controls for the fields of `model`: bools, numbers and names to choose from.

    Parameters
    ----------
    model : type of Frozen
    without : collection of str
        Fields that are decided elsewhere.
    """

    def __init__(self, model: type[Frozen], without: Collection[str] = ()) -> None:
        super().__init__()
        self._model = model
        self.controls: dict[str, QWidget] = {}
        grid = parts.form()
        self.setLayout(grid)
        fields = [(name, info) for name, info in model.model_fields.items() if name not in without]
        for row, (name, info) in enumerate(fields):
            choice = row_of(name, info)
            control = self.controls[name] = _control(choice, info.get_default())
            control.setToolTip(choice.tip)
            if isinstance(control, QCheckBox):
                grid.addWidget(control, row, 1)
            else:
                grid.addWidget(QLabel(choice.title), row, 0)
                grid.addWidget(control, row, 1)

    def values(self) -> dict[str, Any]:
        """Return what was changed from the defaults."""
        found = {name: _value(control) for name, control in self.controls.items()}
        return {name: value for name, value in found.items() if value != self._model.model_fields[name].get_default()}


def _control(choice: Advanced, default: Any) -> QWidget:
    if isinstance(default, bool):
        box = QCheckBox(choice.title)
        box.setChecked(default)
        return box
    if choice.kind == "choice":
        items = [(item.text, item.value) for item in choice.items]
        combo: QComboBox = parts.combo(choice.tip, lambda _value: None, items)
        parts.fill(combo, items, default)
        return combo
    spin: QSpinBox | QDoubleSpinBox
    if choice.kind == "int":
        spin = QSpinBox()
        spin.setRange(int(max(choice.low, -_LARGEST)), int(min(choice.high, _LARGEST)))
    else:
        spin = QDoubleSpinBox()
        spin.setDecimals(3)
        spin.setSingleStep(0.01 if choice.high <= 1 else 0.5)
        spin.setRange(max(choice.low, -_LARGEST) + choice.above * 0.001, min(choice.high, _LARGEST))
    spin.setValue(default)
    return spin


def _value(control: QWidget) -> Any:
    if isinstance(control, QCheckBox):
        return control.isChecked()
    if isinstance(control, QComboBox):
        return control.currentData()
    return round(control.value(), 3) if isinstance(control, QDoubleSpinBox) else control.value()
