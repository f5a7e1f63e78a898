"""From strokes to numbers in a real viewer with real workers, and the same again as a script."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from qtpy.QtWidgets import QApplication
from safetensors.numpy import load_file
from skimage.draw import disk

from napari_segnet._commands import open_dock

pytestmark = [pytest.mark.viewer, pytest.mark.slow]

SECONDS = 120_000


def cells():
    """A noisy image (96, 96) of five discs, and which disc is where."""
    rng = np.random.default_rng(1)
    truth = np.zeros((96, 96), np.uint8)
    for number, centre in enumerate(((18, 20), (20, 70), (50, 44), (76, 18), (74, 76)), start=1):
        truth[disk(centre, 11, shape=truth.shape)] = number
    return (50 + 120 * (truth > 0) + rng.normal(0, 8, truth.shape)).clip(0, 255).astype(np.uint8), truth


def strokes(truth):
    labels = np.zeros_like(truth)
    labels[[2, 35, 62, 93], 4:92] = 1
    for row, column in ((18, 20), (20, 70), (50, 44)):
        labels[row - 1 : row + 2, column - 7 : column + 7] = 2
    return np.where((labels == 1) & (truth > 0), 0, labels)


@pytest.fixture
def viewer(make_napari_viewer, qtbot):
    made = make_napari_viewer(show=True)
    yield made
    if hasattr(made.window, "_qt_window"):
        made.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not psutil.Process().children(), timeout=20_000)


def test_train_measure_evaluate_and_the_same_again_as_a_script(viewer, qtbot, tmp_path):
    image, truth = cells()
    viewer.add_image(image, name="cells", scale=(0.5, 0.5), units=("um", "um"))
    place = {"scale": (0.5, 0.5), "units": ("um", "um")}
    viewer.add_labels(strokes(truth), name="strokes", **place)
    main = open_dock(viewer)
    session = main.session
    session.settings.advanced |= {"train.epochs": 3, "train.steps_per_epoch": 8, "train.batch_size": 4}
    session.settings.advanced |= {"train.patch_size": 64}
    qtbot.waitUntil(main.train.train.isEnabled, timeout=SECONDS)
    session.data.set_class(2, name="cell")
    main.train.train.click()
    qtbot.waitUntil(lambda: session.phase == "training", timeout=SECONDS)
    qtbot.waitUntil(lambda: session.phase == "idle" and "uncertainty" in viewer.layers, timeout=SECONDS)

    _, measure = viewer.window.add_plugin_dock_widget("napari-segnet", "Measure labels")
    assert measure.labels.currentText() == "prediction"
    assert measure.probabilities.currentText() == "all classes of the prediction"
    measure.options.smallest.setValue(50)
    measure.measure.click()
    qtbot.waitUntil(lambda: not measure.busy, timeout=SECONDS)
    objects = measure.tables.frames["objects"]
    found = objects[objects["class_name"] == "cell"]
    assert len(found) == 5
    assert found["area"].to_numpy() == pytest.approx(np.pi * 11**2 * 0.25, rel=0.15)
    assert (found["mean_probability"] > 0.6).all()
    assert (found["cells_mean"] > 150).all()

    viewer.add_labels((truth > 0).astype(np.uint8) + 1, name="truth", **place)
    _, evaluate = viewer.window.add_plugin_dock_widget("napari-segnet", "Evaluate labels")
    qtbot.waitUntil(evaluate.evaluate.isEnabled, timeout=5000)
    evaluate.choose_truth(viewer.layers["truth"])
    assert evaluate.predictions.text() == "prediction"
    evaluate.evaluate.click()
    qtbot.waitUntil(lambda: not evaluate.busy, timeout=SECONDS)
    classes = evaluate.tables.frames["classes"].set_index("name")
    cell = viewer.layers["prediction"].data == 2
    assert classes["dice"]["cell"] == pytest.approx(2 * (cell & (truth > 0)).sum() / (cell.sum() + (truth > 0).sum()))
    assert classes["dice"]["cell"] > 0.9
    wrong = viewer.layers["prediction errors"].data
    assert np.array_equal((wrong >= 2) & (wrong <= 4), cell != (truth > 0))

    main.predict.copy.copy(python=True)
    text = QApplication.clipboard().text()
    run = session.models.run
    (tmp_path / "again.py").write_text(f"{text}import numpy\nnumpy.save('labels.npy', result.labels)\n", "utf-8")
    done = subprocess.run([sys.executable, "again.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    again = load_file(Path(f"{run.path}-again") / "model.safetensors")
    close = 0 if session.device.startswith("cpu") else 1e-3
    for name, weights in load_file(run.model).items():
        assert np.allclose(again[name], weights, rtol=close, atol=close), name
    assert np.mean(np.load(tmp_path / "labels.npy") == viewer.layers["prediction"].data) > 0.999
