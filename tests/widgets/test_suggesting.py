"""What a user sees when labels are suggested by a classical method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_segnet._commands import open_dock
from napari_segnet._widgets.options_form import OptionsForm
from napari_segnet._widgets.suggesting import SuggestDock
from napari_segnet.measure import METHODS

pytestmark = pytest.mark.viewer


@pytest.fixture
def open_suggest(viewer: Any) -> Callable[[], SuggestDock]:
    def make() -> SuggestDock:
        dock = SuggestDock(viewer)
        viewer.window.add_dock_widget(dock, name="suggest")
        return dock

    return make


@pytest.fixture
def discs(viewer: Any) -> tuple[Any, np.ndarray]:
    """Two bright discs that touch, and one apart, on dark ground; and where they are."""
    y, x = np.mgrid[:90, :120]
    truth = np.zeros((90, 120), bool)
    for row, column in ((40, 30), (40, 52), (60, 95)):
        truth |= np.hypot(y - row, x - column) < 12
    image = (30 + 150 * truth + np.random.default_rng(0).normal(0, 8, truth.shape)).clip(0, 255).astype(np.uint8)
    return viewer.add_image(image, name="discs", scale=(0.5, 0.5), translate=(4, 5)), truth


def choose(dock: SuggestDock, method: str) -> OptionsForm:
    dock.method.setCurrentIndex(dock.method.findData(method))
    dock.method.activated.emit(dock.method.currentIndex())
    return dock.forms[method]


def suggested(dock: SuggestDock, qtbot: Any) -> None:
    dock.suggest.click()
    assert dock.busy
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)


def test_otsu_becomes_a_layer_to_correct(viewer: Any, open_suggest: Any, discs: Any, qtbot: Any) -> None:
    image, truth = discs
    dock = open_suggest()
    assert [dock.method.itemData(i) for i in range(dock.method.count())] == list(METHODS)
    suggested(dock, qtbot)
    layer = viewer.layers["discs suggestion"]
    assert np.mean((layer.data == 1) == truth) > 0.99
    assert np.array_equal(layer.scale, image.scale)
    assert np.array_equal(layer.translate, image.translate)
    assert dock.status.text() == "Otsu's thresholds: 1 class. Correct it with the brush, then train on it."
    # Another try replaces it, until it was corrected.
    choose(dock, "otsu").controls["objects"].setCurrentIndex(1)
    suggested(dock, qtbot)
    assert len(viewer.layers) == 2
    assert np.mean((layer.data == 0) == truth) > 0.99
    layer.paint((3, 3), 2)
    corrected = layer.data.copy()
    suggested(dock, qtbot)
    assert [x.name for x in viewer.layers] == ["discs", "discs suggestion", "discs suggestion [1]"]
    assert np.array_equal(layer.data, corrected)


def test_touching_objects_are_numbered(viewer: Any, open_suggest: Any, discs: Any, qtbot: Any) -> None:
    dock = open_suggest()
    form = choose(dock, "watershed")
    assert "seeds" not in form.controls
    form.controls["minimum_pixels"].setValue(20)
    assert form.values() == {"minimum_pixels": 20}
    suggested(dock, qtbot)
    assert set(np.unique(viewer.layers["discs suggestion"].data)) == {0, 1, 2, 3}
    assert dock.status.text().startswith("Watershed: 3 objects.")


def test_strokes_are_spread(viewer: Any, open_suggest: Any, discs: Any, qtbot: Any) -> None:
    image, truth = discs
    dock = open_suggest()
    assert not dock.strokes.isVisible()
    choose(dock, "random-walker")
    qtbot.waitUntil(dock.strokes.isVisible)
    suggested(dock, qtbot)
    assert "starts from strokes" in dock.status.text()
    strokes = np.zeros(truth.shape, np.uint8)
    strokes[[2, 15, 87]], strokes[20:80, 70], strokes[:, [3, 116]] = 1, 1, 1
    strokes[40, 25:35], strokes[40, 48:56], strokes[60, 90:99] = 2, 2, 2
    place = {"scale": image.scale, "translate": image.translate}
    viewer.add_labels(strokes.copy(), name="strokes", **place)
    qtbot.waitUntil(lambda: dock.strokes.currentText() == "strokes")
    suggested(dock, qtbot)
    found = viewer.layers["discs suggestion"].data
    assert np.mean((found == 2) == truth) > 0.99
    assert np.array_equal(viewer.layers["strokes"].data, strokes)


def test_a_suggestion_can_be_trained_on(viewer: Any, open_suggest: Any, discs: Any, qtbot: Any) -> None:
    dock = open_suggest()
    suggested(dock, qtbot)
    main = open_dock(viewer)
    qtbot.waitUntil(lambda: main.session.data.labels is viewer.layers["discs suggestion"], timeout=5000)
    qtbot.waitUntil(lambda: not main.session.data.problem(), timeout=5000)


def test_stacks_and_colours(viewer: Any, open_suggest: Any, qtbot: Any) -> None:
    volume = np.full((4, 40, 40), 20, np.uint8)
    volume[1:3, 10:20, 10:20] = 220
    image = viewer.add_image(volume, name="stack", scale=(4, 1, 1))
    dock = open_suggest()
    qtbot.waitUntil(dock.stack.isVisible)
    choose(dock, "otsu").controls["smooth"].setValue(0)
    suggested(dock, qtbot)
    assert np.array_equal(viewer.layers["stack suggestion"].data, volume > 100)
    dock.stack.setCurrentIndex(1)
    suggested(dock, qtbot)
    assert dock.status.text() == "The image is flat: all its values are 20. There is nothing to tell apart."
    viewer.layers.remove(image)
    viewer.add_image(np.dstack([volume[1]] * 3), name="colours", rgb=True)
    qtbot.waitUntil(lambda: dock.image.currentText() == "colours")
    suggested(dock, qtbot)
    assert np.array_equal(viewer.layers["colours suggestion"].data, volume[1] > 100)
