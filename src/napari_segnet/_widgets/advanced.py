"""The folded choices of the train section: a row a choice, empty where the preset decides."""

from __future__ import annotations

import re
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox, QCompleter, QGridLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.choices import ADVANCED, ENCODERS, GROUPS, Advanced
from napari_segnet._widgets.preset_words import resolved
from napari_segnet._widgets.session import Session
from napari_segnet.config import RunConfig, apply_settings, put_setting
from napari_segnet.errors import ConfigError
from napari_segnet.models.catalogue import NETWORKS

_PRESET = "as the preset chooses"
_MODEL = "as in the model"
_OF_ENCODER = ("model.encoder", "model.weights")
_TIPS = {
    "Network": "Which network, on which encoder, with which layers.",
    "Learning": "How long it learns, from what, and how weights follow from the loss.",
    "Images": "How images are scaled and resized before the network sees them.",
    "Augmentation": "Random changes of patches, so that little annotation goes a long way. Zero turns one off.",
}


_OPEN = {
    "data.zoom": "by the width of objects",
    "data.pixel_size": "as they are",
    "data.window": "all intensities",
}
"""What an empty field means where the worker decides, or nothing is done."""


class AdvancedForm(QWidget):
    """Fields for `ADVANCED` in groups that fold; what is left empty follows the preset."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.fields: dict[str, QLineEdit | QComboBox] = {}
        self._names: dict[str, QLabel] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 0, 0)
        layout.setSpacing(0)
        self.folds = {}
        for group in GROUPS:
            body = QWidget()
            self._fill_group(group, body)
            self.folds[group] = parts.fold(group, _TIPS[group], body)
            layout.addWidget(self.folds[group])
            layout.addWidget(body)
        self.folds["Network"].setChecked(True)

    def _fill_group(self, group: str, body: QWidget) -> None:
        grid = QGridLayout(body)
        grid.setContentsMargins(12, 0, 0, 4)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        for number, choice in enumerate(c for c in ADVANCED if c.group == group):
            tip = f"<p>{choice.tip}</p><p>At the shell: --set {choice.key}=...</p>"
            label = self._names[choice.key] = QLabel(choice.title)
            label.setToolTip(tip)
            grid.addWidget(label, number, 0)
            field = self._field(choice)
            field.setToolTip(tip)
            self.fields[choice.key] = field
            grid.addWidget(field, number, 1)
        if group == "Augmentation":
            self.preview: QPushButton = parts.button(
                "Preview augmentation",
                "Show, in layers beside the image, patches of it with their labels: unchanged at the left, then as "
                "they would be learned from. Another click shows other changes.",
                self._session.preview_augmentation,
            )
            grid.addWidget(self.preview, grid.rowCount(), 0, 1, 2)

    def _field(self, choice: Advanced) -> QLineEdit | QComboBox:
        if choice.kind == "choice":
            return self._box(choice)
        field = QLineEdit()
        field.setPlaceholderText(_PRESET)
        field.editingFinished.connect(lambda: self._typed(choice, field))
        if choice.key == "model.encoder":
            completer = QCompleter(ENCODERS, field)
            completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
            completer.setFilterMode(Qt.MatchFlag.MatchContains)
            field.setCompleter(completer)
        return field

    def _box(self, choice: Advanced) -> QComboBox:
        box = parts.combo(choice.tip, lambda value: self._set(choice.key, value), [(_PRESET, None)])
        for item in choice.items:
            box.addItem(item.text, item.value)
            place = box.count() - 1
            box.setItemData(place, f"<p>{item.tip}</p>" if item.tip else None, Qt.ItemDataRole.ToolTipRole)
            model = box.model()
            if item.value is None and isinstance(model, QStandardItemModel):
                model.item(place).setEnabled(False)  # a heading
        return box

    def refresh(self) -> None:
        """Show what was changed from the preset, and what the preset chooses for the rest."""
        if not self.isVisible():
            return
        advanced = self._session.settings.advanced
        start = self._session.models.start
        found = resolved(self._session, of_preset=True)
        for choice in ADVANCED:
            field, value = self.fields[choice.key], advanced.get(choice.key)
            if start is not None and choice.group == "Network":
                words = _MODEL
            else:
                words = _PRESET if found is None else f"{_preset_words(found[0], choice.key)} (preset)"
            if isinstance(field, QComboBox):
                field.setItemText(0, words)
                index = next((i for i in range(field.count()) if value is not None and field.itemData(i) == value), 0)
                field.setCurrentIndex(index)
            else:
                field.setPlaceholderText(words)
                if not field.hasFocus():
                    field.setText("" if value is None else _in_words(value))
        self._refresh_encoder()
        self.preview.setEnabled(not self._session.data.problem(start))

    def _refresh_encoder(self) -> None:
        """Let an encoder be chosen where the network has one; without a network it makes it a U-Net."""
        spec = NETWORKS.get(self._session.settings.advanced.get("model.network", ""))
        for key in _OF_ENCODER:
            self.fields[key].setEnabled(spec is None or spec.encoders)
            self._names[key].setEnabled(spec is None or spec.encoders)

    def _typed(self, choice: Advanced, field: QLineEdit) -> None:
        text = field.text().strip()
        now = self._session.settings.advanced.get(choice.key)
        if text == ("" if now is None else _in_words(now)):
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
        if key == "model.network":
            self._forget_other_networks(value)
        self._session.changed.emit()

    def _forget_other_networks(self, name: str | None) -> None:
        """Drop what was chosen for another network, and means nothing to this one."""
        advanced = self._session.settings.advanced
        gone = [key for key in advanced if key.startswith("model.options")]
        if name is not None and not NETWORKS[name].encoders:
            gone += [key for key in _OF_ENCODER if key in advanced]
        for key in gone:
            del advanced[key]


def _preset_words(config: RunConfig, key: str) -> str:
    """Say what the preset chooses."""
    if key in _OPEN:
        return _OPEN[key]
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    if value is None:
        network = NETWORKS[config.model.network]
        return {"train.epochs": "no limit", "model.encoder": network.encoder or "none"}.get(key, "its own")
    return _in_words(value) or "no others"


def _in_words(value: Any) -> str:
    """Write a value as it can be typed."""
    if isinstance(value, dict):
        return " ".join(f"{name}={_in_words(v)}" for name, v in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(_in_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _read(choice: Advanced, text: str) -> Any:
    """Return what a text means for a choice, None where it is empty; raises `ConfigError`."""
    if not text:
        return None
    if choice.kind == "text":
        return text
    if choice.kind == "value":
        return _read_value(choice, text)
    if choice.kind == "options":
        return _read_options(choice, text)
    if choice.kind == "patch":
        return _read_patch(choice, text)
    try:
        value: float = int(text) if choice.kind == "int" else float(text.replace(",", "."))
    except ValueError:
        raise ConfigError(f"{choice.title} = {text!r} is not a number.", "Leave it empty for the preset's.") from None
    low = value > choice.low if choice.above else value >= choice.low
    high = value < choice.high if choice.below else value <= choice.high
    if not (low and high):
        least = f"{'above' if choice.above else 'at least'} {choice.low:g}"
        most = f"{'below' if choice.below else 'at most'} {choice.high:g}"
        raise ConfigError(f"{choice.title} = {text} can't be.", f"Type a number of {least} and {most}.")
    return value


def _read_value(choice: Advanced, text: str) -> Any:
    """Read a number, several of them, or a name, and see whether the setting takes it."""
    parts = [part for part in re.split(r"[\s,;x\[\]()]+(?![a-z])", text) if part]
    try:
        numbers = [float(part) for part in parts]
        value: Any = numbers[0] if len(numbers) == 1 else numbers
    except ValueError:
        value = text
    apply_settings(RunConfig(), [f"{choice.key}={value}"])
    return value


def _read_patch(choice: Advanced, text: str) -> int | tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", text)]
    if re.fullmatch(r"[\d\s,x\[\]]+", text) and len(numbers) in (1, 3) and all(1 <= n <= 4096 for n in numbers):
        if len(numbers) == 3:
            return tuple(numbers)
        if numbers[0] >= 16:
            return numbers[0]
    raise ConfigError(
        f"{choice.title} = {text!r} is no size of a patch.",
        "Type a number from 16 to 4096, or for volumes three for Z, Y and X, such as 16, 64, 64.",
    )


def _read_options(choice: Advanced, text: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for setting in re.split(r"[\s,;]+(?=\w+\s*=)", text):
        if not re.fullmatch(r"\w+\s*=\s*\S.*", setting):
            raise ConfigError(
                f"{choice.title} = {text!r} can't be read.", "Type names and values, such as width=32 depth=4."
            )
        put_setting(tree, setting)
    return tree
