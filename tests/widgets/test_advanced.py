"""The folded choices: what can be chosen, what is shown, and what gets into the configuration."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_segnet._widgets.choices import ADVANCED, GROUPS
from napari_segnet.config import AugmentConfig, TrainConfig
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.training.loss_catalogue import LOSSES
from napari_segnet.training.optimizers import OPTIMIZERS
from napari_segnet.training.schedule import SCHEDULES

pytestmark = pytest.mark.viewer


@pytest.fixture
def form(open_dock: Any, spots: Any) -> Any:
    dock = open_dock("--epochs", "1")
    dock.train.fold.setChecked(True)
    return dock.train.advanced


def pick(form: Any, key: str, value: Any) -> None:
    box = form.fields[key]
    index = next(i for i in range(box.count()) if box.itemData(i) == value)
    assert box.model().item(index).isEnabled()
    box.setCurrentIndex(index)
    box.activated.emit(index)


def write(form: Any, key: str, text: str) -> None:
    form.fields[key].setText(text)
    form.fields[key].editingFinished.emit()


def values(form: Any, key: str) -> list[Any]:
    box = form.fields[key]
    return [box.itemData(i) for i in range(box.count()) if box.itemData(i) is not None]


def test_everything_that_has_a_name_can_be_chosen(form: Any) -> None:
    assert sorted(values(form, "model.network")) == sorted(NETWORKS)
    for key, registry in (("train.loss", LOSSES), ("train.optimizer", OPTIMIZERS), ("train.schedule", SCHEDULES)):
        assert values(form, key) == list(registry)
    assert values(form, "model.norm") == ["batch", "group", "instance"]
    assert {f"train.augment.{name}" for name in AugmentConfig.model_fields} <= set(form.fields)
    shown = {f"train.{name}" for name in TrainConfig.model_fields} - set(form.fields)
    assert shown == {"train.preset", "train.minutes", "train.preview_seconds", "train.augment"}
    for choice in ADVANCED:
        assert choice.tip in form.fields[choice.key].toolTip()


def test_networks_stand_below_planes_and_volumes_with_what_they_are_for(form: Any) -> None:
    box = form.fields["model.network"]
    texts = [box.itemText(i) for i in range(box.count())]
    planes, volumes = texts.index("for planes"), texts.index("for volumes")
    for i, text in enumerate(texts):
        if text in NETWORKS:
            assert NETWORKS[text].axes == ("YX" if planes < i < volumes else "ZYX")
            tip = box.itemData(i, Qt.ItemDataRole.ToolTipRole)
            assert NETWORKS[text].idea in tip
            assert NETWORKS[text].when in tip
    assert not box.model().item(planes).isEnabled()
    assert not box.model().item(volumes).isEnabled()


def test_an_encoder_is_for_networks_that_have_one(form: Any, qtbot: Any) -> None:
    session = form._session
    encoder = form.fields["model.encoder"]
    pick(form, "model.network", "unetplusplus")
    qtbot.waitUntil(lambda: encoder.placeholderText() == "resnet18 (preset)")
    assert encoder.isEnabled()
    # Any name can be typed; common ones are proposed from a part of them.
    encoder.completer().setCompletionPrefix("convnext")
    assert encoder.completer().completionCount() >= 2
    write(form, "model.encoder", "tu-convnext_nano")
    pick(form, "model.weights", "imagenet")
    assert session.settings.changes()["model"] == {
        "network": "unetplusplus",
        "encoder": "tu-convnext_nano",
        "weights": "imagenet",
    }
    # Another network without one: what was typed means nothing to it.
    pick(form, "model.network", "attention-unet")
    qtbot.waitUntil(lambda: not encoder.isEnabled())
    assert session.settings.changes()["model"] == {"network": "attention-unet"}
    assert encoder.text() == ""


def test_the_presets_choices_are_shown_and_not_set(form: Any, qtbot: Any) -> None:
    settings = form._session.settings
    qtbot.waitUntil(lambda: form.fields["train.patch_size"].placeholderText() == "64 (preset)")
    assert form.fields["model.network"].itemText(0) == "plain-unet (preset)"
    assert form.fields["model.options"].placeholderText() == "width=16 max_width=256 depth=4 (preset)"
    assert form.fields["train.loss"].itemText(0) == "dice+ce (preset)"
    assert form.fields["train.learning_rate"].placeholderText() == "0.002 (preset)"
    assert form.fields["train.augment.flip"].itemText(0) == "yes (preset)"
    assert settings.advanced == {}
    # Another optimizer has another rate.
    pick(form, "train.optimizer", "sgd")
    qtbot.waitUntil(lambda: form.fields["train.learning_rate"].placeholderText() == "0.02 (preset)")
    assert settings.advanced == {"train.optimizer": "sgd"}
    pick(form, "train.optimizer", None)
    assert settings.advanced == {}


def test_a_model_to_start_from_brings_its_network(form: Any, qtbot: Any) -> None:
    session = form._session
    session.settings.predict_when_finished = False
    session.train()
    qtbot.waitUntil(lambda: session.phase == "training", timeout=10_000)
    qtbot.waitUntil(lambda: session.phase == "idle", timeout=10_000)
    session.settings.start_from = session.models.last
    session.changed.emit()
    qtbot.waitUntil(lambda: form.fields["model.network"].itemText(0) == "as in the model", timeout=10_000)
    # Corrections are learned in smaller steps.
    assert form.fields["train.learning_rate"].placeholderText() == "0.001 (preset)"


def test_what_is_chosen_is_the_configuration(form: Any, qtbot: Any) -> None:
    session = form._session
    pick(form, "model.network", "unet")
    write(form, "model.options", "decoder_width=32, blocks=3")
    pick(form, "model.norm", "group")
    pick(form, "train.loss", "tversky")
    write(form, "train.loss_options", "alpha=0.3 beta=0.7")
    pick(form, "train.optimizer", "sgd")
    pick(form, "train.schedule", "one-cycle")
    pick(form, "train.deep_supervision", True)
    write(form, "train.accumulate", "4")
    write(form, "train.freeze_encoder", "0,25")
    write(form, "train.augment.hue", "30")
    write(form, "train.augment.copy_paste", "0.5")
    session.train()
    qtbot.waitUntil(lambda: session.phase == "training", timeout=10_000)
    config = session.models.run.config
    assert config.model.explicit() == {
        "network": "unet",
        "norm": "group",
        "options": {"decoder_width": 32, "blocks": 3},
    }
    assert config.train.explicit() == {
        "preset": "fast",
        "preview_seconds": 3.0,
        "loss": "tversky",
        "loss_options": {"alpha": 0.3, "beta": 0.7},
        "optimizer": "sgd",
        "schedule": "one-cycle",
        "deep_supervision": True,
        "accumulate": 4,
        "freeze_encoder": 0.25,
        "augment": {"hue": 30.0, "copy_paste": 0.5},
    }
    assert config.data.val_fraction == 0.2
    qtbot.waitUntil(lambda: session.phase == "idle", timeout=10_000)


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("train.batch_size", "0", "Batch size = 0 can't be. Type a number of at least 1 and at most 4096."),
        ("train.learning_rate", "0", "Learning rate = 0 can't be. Type a number of above 0 and at most 10."),
        ("train.ema", "1", "Averaging decay = 1 can't be. Type a number of at least 0 and below 1."),
        ("train.patch_size", "8", "Patch size = '8' is no size of a patch."),
        ("train.patch_size", "16, 64", "Patch size = '16, 64' is no size of a patch."),
        ("model.options", "width", "Network options = 'width' can't be read."),
        ("train.epochs", "many", "Epochs = 'many' is not a number."),
        ("data.zoom", "9", "Zoom = 9 can't be. Type a number of at least 0.02 and at most 4."),
        ("data.window", "liver", "data.window"),
        ("data.pixel_size", "0", "data.pixel_size"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(form: Any, key: str, text: str, sentence: str) -> None:
    write(form, key, text)
    assert form._session.is_error
    assert form._session.sentence.startswith(sentence)
    assert form._session.settings.advanced == {}
    assert form.fields[key].text() == ""


@pytest.mark.parametrize(
    ("key", "text", "value", "shown"),
    [
        ("data.pixel_size", "0.5", 0.5, "0.5"),
        ("data.pixel_size", "2, 0.5, 0.5", [2, 0.5, 0.5], "2, 0.5, 0.5"),
        ("data.pixel_size", "median", "median", "median"),
        ("data.window", "-150, 250", [-150, 250], "-150, 250"),
        ("data.window", "soft-tissue", "soft-tissue", "soft-tissue"),
        ("data.zoom", "0.5", 0.5, "0.5"),
    ],
)
def test_how_images_are_seen_can_be_numbers_and_names(form: Any, key: str, text: str, value: Any, shown: str) -> None:
    write(form, key, text)
    session = form._session
    assert session.settings.advanced == {key: value}
    assert form.fields[key].text() == shown
    name = key.removeprefix("data.")
    expected = tuple(value) if isinstance(value, list) else value
    assert getattr(session.settings.run_config(session.data.config()).data, name) == expected
    write(form, key, "")
    assert session.settings.advanced == {}


def test_the_worker_chooses_the_zoom_where_nobody_does(form: Any) -> None:
    session = form._session
    assert "zoom" not in session.settings.run_config(session.data.config()).data.explicit()
    assert form.fields["data.zoom"].placeholderText() == "by the width of objects (preset)"


def test_patches_of_volumes_have_three_sides(form: Any) -> None:
    for text in ("16, 64, 64", "16 64 64", "16 x 64 x 64", "[16, 64, 64]"):
        write(form, "train.patch_size", text)
        assert form._session.settings.advanced == {"train.patch_size": (16, 64, 64)}
        write(form, "train.patch_size", "")
        assert form._session.settings.advanced == {}


def test_the_form_folds_and_scrolls(viewer: Any, form: Any, qtbot: Any) -> None:
    viewer.window._qt_window.resize(1500, 1000)
    assert {name: fold.isChecked() for name, fold in form.folds.items()} == {
        "Network": True,
        "Learning": False,
        "Images": False,
        "Augmentation": False,
    }
    assert not form.fields["train.loss"].isVisible()
    for name in GROUPS:
        form.folds[name].setChecked(True)
    qtbot.wait(100)
    assert form.fields["train.loss"].isVisible()
    area = next(a for a in form.window().findChildren(QScrollArea) if a.isAncestorOf(form))
    # Longer than the screen: the dock scrolls, and doesn't make the window grow.
    assert area.widget().height() > 1500
    assert area.verticalScrollBar().maximum() > 500
    assert viewer.window._qt_window.height() <= 1000
    assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    area.ensureWidgetVisible(form.preview)
    assert form.preview.visibleRegion().boundingRect().height() > 10


def test_the_wheel_does_not_change_what_it_scrolls_over(form: Any, qtbot: Any) -> None:
    box = form.fields["model.network"]
    where = QPointF(5, 5)
    nothing = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False
    wheel = QWheelEvent(where, box.mapToGlobal(where), QPoint(), QPoint(0, -240), *nothing)
    QApplication.sendEvent(box, wheel)
    assert not wheel.isAccepted()
    assert form._session.settings.advanced == {}


def test_the_button_previews_the_augmentation_that_is_chosen(viewer: Any, form: Any, qtbot: Any) -> None:
    session = form._session
    form.folds["Augmentation"].setChecked(True)
    qtbot.waitUntil(form.preview.isEnabled)
    form.preview.click()
    assert session.busy
    qtbot.waitUntil(lambda: session.phase == "idle", timeout=10_000)
    assert "augmentation preview" in viewer.layers
    viewer.layers["strokes"].data = np.zeros((64, 80), np.uint8)
    qtbot.waitUntil(lambda: not form.preview.isEnabled(), timeout=10_000)


@pytest.mark.slow
def test_the_encoders_that_are_proposed_exist() -> None:
    # In a process of its own: the viewer's never knows torch.
    code = (
        "from napari_segnet._widgets.choices import ENCODERS; "
        "from napari_segnet.models.encoders import encoder_names, timm_names; "
        "print(sorted(set(ENCODERS) - {*encoder_names(), *timm_names()}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
