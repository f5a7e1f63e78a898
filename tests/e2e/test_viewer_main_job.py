"""The whole main job in a real viewer with the real worker: paint, train, correct, fine-tune, save, predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_segnet._commands import open_dock
from napari_segnet.models.info import read_info
from napari_segnet.run import RunFolder

pytestmark = [pytest.mark.viewer, pytest.mark.slow]

SCALE, TRANSLATE = (0.5, 0.5), (10.0, -4.0)
SECONDS = 120_000


@pytest.fixture
def make_viewer(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Callable[[], Any]]:
    """Make viewers, and see to it that their workers are gone at the end."""
    made: list[Any] = []

    def make() -> Any:
        made.append(make_napari_viewer(show=True))
        return made[-1]

    yield make
    for viewer in made:
        if hasattr(viewer.window, "_qt_window"):
            viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not _workers(), timeout=15_000)


def _workers() -> list[int]:
    """The worker processes of this test."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and "napari_segnet.worker" in process.cmdline():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def squares() -> tuple[np.ndarray, np.ndarray]:
    """A noisy image (128, 128) with bright squares, and where they are."""
    rng = np.random.default_rng(3)
    truth = np.zeros((128, 128), bool)
    for y, x in ((14, 12), (20, 74), (70, 20), (78, 80)):
        truth[y : y + 34, x : x + 34] = True
    return (60 + 90 * truth + rng.normal(0, 12, truth.shape)).clip(0, 255).astype(np.uint8), truth


def stroke(viewer: Any, qtbot: Any, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag the brush over the canvas, from pixel to pixel of the image, with the left button."""
    canvas = viewer.window._qt_viewer.canvas.native
    layer = viewer.layers.selection.active
    size = np.array([canvas.height(), canvas.width()])

    def at(pixel: np.ndarray) -> QPoint:
        world = np.array(layer.data_to_world(pixel))[-2:]
        y, x = (world - np.array(viewer.scene.camera.center)[-2:]) * viewer.scene.camera.zoom + size / 2
        return QPoint(round(x), round(y))

    points = [at(np.array(begin) + (np.array(end) - np.array(begin)) * f) for f in np.linspace(0, 1, 12)]
    qtbot.mouseMove(canvas, points[0])
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=points[0])
    for point in points[1:]:
        qtbot.mouseMove(canvas, point)
        qtbot.wait(5)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=points[-1])


def dice(labels: np.ndarray, truth: np.ndarray) -> float:
    found = labels == 2
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def idle(dock: Any) -> bool:
    return dock.session.phase == "idle" and not dock.session.steps.pending("show squares")


def test_paint_train_correct_fine_tune_save_predict(make_viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    image, truth = squares()
    viewer = make_viewer()
    viewer.add_image(image, name="squares", scale=SCALE, translate=TRANSLATE, units=("um", "um"))
    dock = open_dock(viewer)
    dock.data.new.click()
    strokes = viewer.layers["strokes"]
    strokes.brush_size = 5
    qtbot.wait(100)
    dock.classes.add.click()
    stroke(viewer, qtbot, (8, 60), (120, 62))
    dock.classes.add.click()
    stroke(viewer, qtbot, (24, 20), (40, 40))
    stroke(viewer, qtbot, (88, 90), (104, 106))
    qtbot.waitUntil(lambda: set(dock.session.data.counts) == {0, 1, 2}, timeout=5000)
    assert strokes.data[64, 61] == 1
    assert strokes.data[32, 30] == 2
    assert dock.session.data.meaning.unlabelled == "ignore"
    dock.session.data.set_class(2, name="square", colour="#ff0000")

    dock.train.minutes.setValue(0.3)
    qtbot.waitUntil(dock.train.train.isEnabled)
    dock.train.train.click()
    qtbot.waitUntil(lambda: dock.train.curves.points("loss") >= 3, timeout=SECONDS)
    qtbot.waitUntil(lambda: idle(dock) and "uncertainty" in viewer.layers, timeout=SECONDS)
    prediction = viewer.layers["prediction"]
    assert dice(prediction.data, truth) > 0.9
    for name in ("prediction", "probability square", "uncertainty"):
        layer = viewer.layers[name]
        assert tuple(layer.scale) == SCALE
        assert tuple(layer.translate) == TRANSLATE
        assert str(layer.units[0]) == "micrometer"
        assert layer.data.shape == image.shape
    assert np.allclose(prediction.get_color(2)[:3], (1, 0, 0))
    probabilities = [viewer.layers[f"probability {name}"].data for name in ("class 1", "square")]
    assert np.allclose(sum(probabilities), 1, atol=0.02)

    # Correct a little, and go on from that model.
    viewer.layers.selection.active = strokes
    stroke(viewer, qtbot, (86, 30), (86, 45))
    first = dock.session.models.last
    dock.train.minutes.setValue(0.1)
    qtbot.waitUntil(dock.train.improve.isEnabled)
    dock.train.improve.click()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=SECONDS)
    qtbot.waitUntil(lambda: idle(dock), timeout=SECONDS)
    assert dock.session.models.last != first
    assert RunFolder(dock.session.models.run.path).config.model.weights == str(first)
    assert dice(prediction.data, truth) > 0.9
    assert [layer.name for layer in viewer.layers].count("prediction") == 1

    model = tmp_path / "squares.safetensors"
    dock.session.save_model(model)
    assert [c.name for c in read_info(model).classes] == ["class 1", "square"]
    before = prediction.data.copy()

    other = make_viewer()
    other.add_image(image, name="squares")
    second = open_dock(other)
    second.session.use_model(model)
    second.session.settings.probabilities = False
    qtbot.waitUntil(second.predict.predict.isEnabled, timeout=5000)
    second.predict.predict.click()
    qtbot.waitUntil(lambda: idle(second) and "uncertainty" in other.layers, timeout=SECONDS)
    assert np.array_equal(other.layers["prediction"].data, before)
    assert "probability square" not in other.layers


def test_a_killed_worker_resumes(make_viewer: Any, qtbot: Any) -> None:
    image, truth = squares()
    viewer = make_viewer()
    viewer.add_image(image, name="squares")
    labels = np.zeros(image.shape, np.uint8)
    labels[4:124, 60:64], labels[24:30, 16:40], labels[90:96, 84:110] = 1, 2, 2
    viewer.add_labels(labels.copy(), name="strokes")
    dock = open_dock(viewer)
    dock.session.settings.advanced["train.steps_per_epoch"] = 4
    dock.session.settings.minutes = 0.5
    qtbot.waitUntil(dock.train.train.isEnabled, timeout=5000)
    dock.train.train.click()
    qtbot.waitUntil(
        lambda: dock.session.models.run is not None and any(dock.session.models.run.checkpoints.glob("*.safetensors")),
        timeout=SECONDS,
    )
    psutil.Process(dock.session.client.pid).kill()
    qtbot.waitUntil(lambda: dock.session.phase == "broken", timeout=5000)
    assert np.array_equal(viewer.layers["strokes"].data, labels)
    run = dock.session.models.run
    assert run.state() == "interrupted"
    qtbot.waitUntil(dock.train.resume.isVisible, timeout=5000)
    dock.train.resume.click()
    qtbot.waitUntil(lambda: idle(dock) and "uncertainty" in viewer.layers, timeout=SECONDS)
    assert dock.session.models.run is run
    started = [event for event in run.events() if event.kind == "started"]
    assert len(started) == 2
    assert started[1].epoch > 0
    assert dice(viewer.layers["prediction"].data, truth) > 0.85
