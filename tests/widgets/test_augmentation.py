"""What a user sees when she asks what augmentation does to her images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.viewer

IMAGE, LABELS = "augmentation preview", "augmentation preview labels"


def ask(dock: Any, qtbot: Any) -> None:
    dock.session.preview_augmentation()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    assert not dock.session.is_error, dock.session.sentence


def test_the_grid_lies_beside_the_image_and_is_no_data(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, runs: Path
) -> None:
    dock = open_dock()
    viewer.layers.selection.active = viewer.layers["strokes"]
    ask(dock, qtbot)
    grid, labels = viewer.layers[IMAGE], viewer.layers[LABELS]
    assert grid.rgb
    assert grid.data.shape == (20, 42, 3)
    assert labels.data.shape == (20, 42)
    assert set(np.unique(labels.data)) == {0, 2}
    assert np.allclose(labels.get_color(2), viewer.layers["strokes"].get_color(2), atol=1 / 255)
    for layer in (grid, labels):
        assert tuple(layer.scale) == (0.5, 0.25)
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        # To the right of the image, whose columns are 80 x 0.25 long.
        assert layer.translate[1] > 7 + 80 * 0.25
    assert viewer.layers.selection.active is viewer.layers["strokes"]
    assert dock.session.data.images == [spots[0]]
    assert grid not in dock.session.data.image_layers()
    assert labels not in dock.session.data.labels_layers()
    # The run folder that it was made from is gone, and is none that could be resumed.
    qtbot.waitUntil(lambda: not list((runs / "predictions").iterdir()), timeout=10_000)
    assert dock.session.models.run is None
    assert dock.session.resumable is None


def test_another_click_updates_the_layers_but_not_edited_ones(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any
) -> None:
    dock = open_dock()
    ask(dock, qtbot)
    grid, labels = viewer.layers[IMAGE], viewer.layers[LABELS]
    ask(dock, qtbot)
    assert [layer.name for layer in viewer.layers].count(IMAGE) == 1
    assert grid.data.max() == 2
    labels.paint((3, 3), 2)
    edited = labels.data.copy()
    ask(dock, qtbot)
    assert grid.data.max() == 3
    assert np.array_equal(labels.data, edited)
    assert not viewer.layers[f"{LABELS} [1]"].data[3, 3]
    # Even an edited one is not learned from.
    assert labels not in dock.session.data.labels_layers()
    viewer.layers.remove(grid)
    ask(dock, qtbot)
    assert viewer.layers[IMAGE].data.max() == 4


def test_it_can_be_stopped_and_fail(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, runs: Path) -> None:
    dock = open_dock()
    dock.session.preview_augmentation()
    qtbot.waitUntil(lambda: dock.session.phase == "augmenting", timeout=10_000)
    qtbot.waitUntil(dock.train.stop.isVisible, timeout=10_000)
    assert not dock.train.train.isEnabled()
    dock.train.stop.click()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    assert dock.session.sentence == "Stopped."
    assert IMAGE not in viewer.layers
    # What is being saved for it can be dropped, too.
    dock.session.preview_augmentation()
    dock.session.stop()
    assert dock.session.phase == "idle"
    viewer.layers["strokes"].data = np.zeros((64, 80), np.uint8)
    qtbot.waitUntil(lambda: not dock.session.data.counting, timeout=10_000)
    dock.session.preview_augmentation()
    assert dock.session.is_error
    assert dock.session.phase == "idle"
    qtbot.waitUntil(lambda: not list((runs / "predictions").iterdir()), timeout=10_000)


def test_what_the_worker_says_against_it_is_a_sentence(open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--fail", "The strokes are too thin.")
    dock.session.preview_augmentation()
    qtbot.waitUntil(lambda: dock.train.status.text() == "The strokes are too thin. Paint more.", timeout=10_000)
    assert dock.session.phase == "idle"
    assert dock.session.resumable is None


def test_a_worker_that_dies_meanwhile_comes_back(open_dock: Any, spots: Any, qtbot: Any, viewer: Any) -> None:
    import psutil

    dock = open_dock()
    dock.session.preview_augmentation()
    qtbot.waitUntil(lambda: dock.session.phase == "augmenting", timeout=10_000)
    psutil.Process(dock.session.client.pid).kill()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    assert dock.session.is_error
    assert dock.session.resumable is None
    ask(dock, qtbot)
    assert IMAGE in viewer.layers
