"""The dock as a thing on the screen: quick to open, nothing hidden, everything explained, keys of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollArea,
    QWidget,
)

from napari_segnet._widgets import shortcuts
from napari_segnet._widgets.preferences import settings_from_preferences

pytestmark = pytest.mark.viewer


def test_every_control_has_a_tooltip(viewer: Any, open_dock: Any, spots: Any) -> None:
    dock = open_dock()
    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, QAbstractItemView)
    silent = []
    for control in dock.findChildren(QWidget):
        inner = control.objectName().startswith("qt_") or isinstance(
            control.parent(), QComboBox | QAbstractSpinBox | QAbstractItemView
        )
        inside_popup = any(isinstance(p, QComboBox) for p in _parents(control))
        if isinstance(control, kinds) and not inner and not inside_popup and not control.toolTip():
            silent.append(control)
    assert not silent


def _parents(widget: QWidget) -> list[Any]:
    found, parent = [], widget.parent()
    while parent is not None:
        found.append(parent)
        parent = parent.parent()
    return found


def test_it_fits_a_small_screen(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    viewer.window._qt_window.resize(1300, 900)
    dock = open_dock("--epochs", "8")
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle" and "uncertainty" in viewer.layers, timeout=10_000)
    inner = dock.findChild(QScrollArea).widget()
    qtbot.wait(100)
    assert inner.minimumSizeHint().height() < 850
    assert inner.minimumSizeHint().width() <= dock.minimumWidth()


def test_the_docks_process_never_knows_torch() -> None:
    code = (
        "import sys, napari_segnet._widgets.dock, napari_segnet._commands, napari_segnet._sample_data, "
        "napari_segnet._layers; "
        "bad = {'torch', 'segmentation_models_pytorch', 'timm', 'monai', 'pyqtgraph', 'matplotlib.pyplot'}; "
        "print(sorted(bad & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_shortcuts_train_and_predict(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    before = dict(viewer.keymap)
    dock = open_dock("--epochs", "2")
    assert len(viewer.keymap) == len(before) + 2
    assert "(Ctrl+Shift+L)" in dock.train.train.toolTip()
    assert "(Ctrl+Shift+A)" in dock.predict.predict.toolTip()
    qtbot.waitUntil(dock.train.train.isEnabled)
    canvas = viewer.window._qt_viewer.canvas.native
    modifiers = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(canvas, Qt.Key.Key_L, modifiers)
    assert dock.session.busy
    qtbot.waitUntil(lambda: dock.session.phase == "idle" and "uncertainty" in viewer.layers, timeout=10_000)
    qtbot.keyClick(canvas, Qt.Key.Key_A, modifiers)
    assert dock.session.busy
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)


def test_keys_of_others_are_left_alone(viewer: Any) -> None:
    calls: list[str] = []
    for taken in ("Ctrl+R", "Ctrl+Shift+P", "P", "Ctrl+Z", "Space"):
        assert shortcuts.bind(viewer, "train", taken, lambda: calls.append("mine")) == ""
    viewer.bind_key("Alt-Q", lambda _viewer: calls.append("theirs"))
    assert shortcuts.bind(viewer, "train", "Alt+Q", lambda: calls.append("mine")) == ""
    assert shortcuts.bind(viewer, "train", "", lambda: None) == ""
    # No shortcut of napari's own is among the defaults.
    for name in ("train", "predict"):
        assert shortcuts.bind(viewer, name, shortcuts.DEFAULTS[name], lambda: None) == shortcuts.DEFAULTS[name]
    assert get_settings().shortcuts.shortcuts["napari:reset_view"]


def test_preferences_are_where_a_dock_starts(plugin_settings: Any, npe2pm: Any) -> None:
    from napari.settings import get_plugin_settings
    from npe2 import PluginManifest

    assert settings_from_preferences().preset == "fast"
    npe2pm.register(PluginManifest.from_distribution("napari-segnet"))
    preferences = get_plugin_settings("napari-segnet")
    preferences.training.preset = "best"
    preferences.training.minutes = 12
    preferences.training.device = "cpu"
    preferences.prediction.uncertainty = False
    settings = settings_from_preferences()
    assert (settings.preset, settings.minutes, settings.uncertainty) == ("best", 12, False)
    assert settings.advanced == {"train.device": "cpu"}
    preferences.shortcuts.train = "Ctrl+Alt+J"
    assert shortcuts.wanted_key("train") == "Ctrl+Alt+J"


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("coins", ["background", "coin"]),
        ("cell", ["background", "cell"]),
        ("immunohistochemistry", ["background", "gland"]),
        ("retina", ["background", "vessel", "optic disc"]),
    ],
)
def test_samples_are_ready_to_train(viewer: Any, open_dock: Any, qtbot: Any, name: str, names: list[str]) -> None:
    viewer.open_sample("napari-segnet", name)
    dock = open_dock()
    qtbot.waitUntil(dock.train.train.isEnabled, timeout=5000)
    assert [c.name for c in dock.session.data.classes] == names
    assert dock.session.data.meaning.unlabelled == "ignore"


def test_the_manifest_opens_the_dock(viewer: Any, qtbot: Any, spots: Any) -> None:
    from napari_segnet._commands import new_strokes, open_dock

    dock = open_dock(viewer)
    assert open_dock(viewer) is dock
    new_strokes(viewer)
    assert np.count_nonzero(viewer.layers["strokes [1]"].data) == 0


def test_advanced_choices_go_into_the_configuration(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "1")
    dock.train.fold.setChecked(True)
    form = dock.train.advanced
    assert form.isVisible()
    form.fields["train.patch_size"].setText("96")
    form.fields["train.patch_size"].editingFinished.emit()
    form.fields["train.augment.rotation"].setText("0")
    form.fields["train.augment.rotation"].editingFinished.emit()
    form.fields["train.learning_rate"].setText("fast")
    form.fields["train.learning_rate"].editingFinished.emit()
    assert dock.session.sentence.startswith("Learning rate = 'fast' is not a number")
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    config = dock.session.models.run.config
    assert config.train.explicit() == {
        "preset": "fast",
        "preview_seconds": 3.0,
        "patch_size": 96,
        "augment": {"rotation": 0.0},
    }
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
