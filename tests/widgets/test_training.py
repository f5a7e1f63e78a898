"""What a user sees when she trains: curves, previews, layers that lie on the image, and words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segnet.run import RunFolder

pytestmark = pytest.mark.viewer


def bright(viewer: Any) -> np.ndarray:
    return viewer.layers["spots"].data > 100


def run_of(dock: Any) -> RunFolder:
    return dock.session.models.run


def finished(dock: Any) -> bool:
    return dock.session.phase == "idle" and not dock.session.steps.pending("show spots")


def test_training_fills_curves_and_layers(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "30")
    qtbot.waitUntil(dock.train.train.isEnabled)
    dock.train.train.click()
    qtbot.waitUntil(lambda: dock.train.curves.points("loss") > 10, timeout=10_000)
    assert dock.train.line.text().startswith("Epoch ")
    assert "left" in dock.train.line.text()
    assert dock.train.stop.isVisible()
    assert not dock.train.train.isEnabled()
    qtbot.waitUntil(lambda: finished(dock) and "uncertainty" in viewer.layers, timeout=15_000)
    qtbot.waitUntil(lambda: dock.train.curves.points("val_dice") == 30)
    assert [layer.name for layer in viewer.layers] == [
        "spots",
        "probability class 1",
        "probability class 2",
        "uncertainty",
        "prediction",
        "strokes",
    ]
    prediction = viewer.layers["prediction"]
    assert np.array_equal(prediction.data, np.where(bright(viewer), 2, 1))
    assert np.allclose(viewer.layers["probability class 2"].data, np.where(bright(viewer), 0.75, 0.25))
    assert np.all(viewer.layers["uncertainty"].data == 0.5)
    for name in ("prediction", "probability class 1", "uncertainty"):
        layer = viewer.layers[name]
        assert tuple(layer.scale) == (0.5, 0.25)
        assert tuple(layer.translate) == (3, 7)
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    # The next stroke still goes into the strokes.
    assert viewer.layers.selection.active is viewer.layers["strokes"]
    qtbot.waitUntil(lambda: "Best validation Dice 0.900" in dock.train.status.text())


def test_the_run_folder_holds_the_strokes(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "2")
    dock.train.minutes.setValue(7)
    dock.session.settings.advanced["train.batch_size"] = 3
    dock.session.train()
    painted = viewer.layers["strokes"].data.copy()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    viewer.layers["strokes"].data[:] = 0
    run = run_of(dock)
    (record,) = run.pairs
    assert (record.name, record.axes, record.pixel_size, record.units) == ("spots", "YX", (0.5, 0.25), "micrometer")
    assert np.array_equal(np.load(record.labels), painted)
    assert np.array_equal(np.load(record.images[0]), viewer.layers["spots"].data)
    config = run.config
    assert (config.train.minutes, config.train.batch_size, config.train.preset) == (7, 3, "fast")
    assert (config.data.task, config.data.unlabelled) == ("semantic", "ignore")
    assert [c.value for c in config.data.classes] == [1, 2]
    # What the preset decides stays open, so that it can be adapted to the data.
    assert "patch_size" not in config.train.explicit()


def test_the_presets_words_go_by_the_memory_that_the_worker_has(open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--memory", str(2**24))
    qtbot.waitUntil(lambda: "patches of 64 pixels, 2 a step" in dock.train.choices.text(), timeout=5000)


def test_stop_saves_and_resume_goes_on(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    dock.session.settings.predict_when_finished = False
    dock.session.train()
    qtbot.waitUntil(lambda: len(dock.session.progress.rows) >= 3, timeout=10_000)
    dock.train.stop.click()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=5000)
    epochs = len(dock.session.progress.rows)
    qtbot.waitUntil(dock.train.resume.isVisible)
    assert "Stopped" in dock.train.status.text()
    dock.train.resume.click()
    qtbot.waitUntil(lambda: len(dock.session.progress.rows) > epochs + 1, timeout=5000)
    steps = dock.session.progress.epoch_steps
    assert steps == sorted(steps)
    dock.session.stop()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=5000)


def test_previews_follow_the_view(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "1000")
    viewer.scene.camera.zoom *= 3
    viewer.scene.camera.center = (0, 3 + 0.5 * 30, 7 + 0.25 * 40)
    qtbot.wait(50)
    dock.session.train()
    qtbot.waitUntil(lambda: "prediction" in viewer.layers, timeout=10_000)
    prediction = viewer.layers["prediction"].data
    assert prediction[30, 40] == 2
    # What is out of sight was not predicted.
    assert prediction[0, 0] == 0
    viewer.reset_view()
    qtbot.waitUntil(lambda: bool(np.all(viewer.layers["prediction"].data > 0)), timeout=10_000)
    assert np.array_equal(viewer.layers["prediction"].data, np.where(bright(viewer), 2, 1))
    dock.session.stop()
    qtbot.waitUntil(lambda: finished(dock), timeout=10_000)


def test_an_edited_prediction_is_left_alone(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "3")
    dock.session.train()
    qtbot.waitUntil(lambda: finished(dock) and "uncertainty" in viewer.layers, timeout=10_000)
    mine = viewer.layers["prediction"]
    mine.paint((10, 10), 2)
    painted = mine.data.copy()
    qtbot.waitUntil(dock.predict.predict.isEnabled)
    dock.predict.predict.click()
    qtbot.waitUntil(lambda: "prediction [1]" in viewer.layers, timeout=10_000)
    qtbot.waitUntil(lambda: finished(dock), timeout=10_000)
    assert np.array_equal(viewer.layers["prediction"].data, painted)
    assert np.array_equal(viewer.layers["prediction [1]"].data, np.where(bright(viewer), 2, 1))
    qtbot.waitUntil(lambda: "You have edited 'prediction'" in dock.train.warnings.text())
    # An edited prediction may be learned from; a fresh one may not.
    assert mine in dock.session.data.labels_layers()
    assert viewer.layers["prediction [1]"] not in dock.session.data.labels_layers()


def test_answers_are_updated_not_multiplied(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "6")
    for _ in range(2):
        dock.session.train()
        qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
        qtbot.waitUntil(lambda: finished(dock) and "uncertainty" in viewer.layers, timeout=10_000)
    assert len(viewer.layers) == 6
    viewer.layers["spots"].translate = (1, 1)
    dock.session.predict()
    qtbot.waitUntil(lambda: finished(dock), timeout=10_000)
    assert tuple(viewer.layers["prediction"].translate) == (1, 1)


def test_fine_tuning_and_models_as_files(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Any) -> None:
    dock = open_dock("--epochs", "2")
    qtbot.waitUntil(lambda: len(dock.session.data.classes) == 2)
    dock.session.data.set_class(2, name="square", colour="#123456", weight=3)
    dock.session.train()
    qtbot.waitUntil(lambda: finished(dock) and "uncertainty" in viewer.layers, timeout=10_000)
    dock.session.save_model(tmp_path / "mine")
    model = tmp_path / "mine.safetensors"
    assert model.is_file()
    dock.train.start_from(model)
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    assert run_of(dock).config.model.weights == str(model)
    assert run_of(dock).config.data.classes[1].weight == 3
    qtbot.waitUntil(lambda: finished(dock), timeout=10_000)
    dock.session.use_model(model)
    qtbot.waitUntil(lambda: "class 1, square; 1 channel" in dock.predict.about.text())
    assert "probability square" in viewer.layers
    assert np.allclose(viewer.layers["prediction"].get_color(2)[:3], (0x12 / 255, 0x34 / 255, 0x56 / 255))


def test_a_hostile_model_file_is_a_sentence(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Any) -> None:
    dock = open_dock()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\xff" * 8 + b"garbage")
    dock.session.use_model(bad)
    qtbot.waitUntil(lambda: "is not a model file, or is damaged" in dock.train.status.text())
    assert dock.session.settings.model is None
    assert not dock.predict.predict.isEnabled()


def test_a_failed_training_is_a_sentence(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--fail", "The strokes are too thin.")
    dock.session.train()
    qtbot.waitUntil(lambda: dock.train.status.text() == "The strokes are too thin. Paint more.", timeout=5000)
    assert dock.session.phase == "idle"
    qtbot.waitUntil(dock.train.train.isEnabled)


def test_a_model_of_other_channels_is_refused(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "2")
    dock.session.train()
    qtbot.waitUntil(lambda: finished(dock) and "uncertainty" in viewer.layers, timeout=10_000)
    rgb = viewer.add_image(np.zeros((64, 80, 3), np.uint8), name="colours", rgb=True)
    dock.session.data.choose_image(rgb)
    dock.session.predict()
    assert dock.session.sentence.startswith("'colours' has 3 channels, but the model was trained on 1.")


def test_stacks_and_channels(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    stack = np.zeros((4, 48, 64), np.uint16)
    stack[:, 10:30, 10:30] = 1000
    labels = np.zeros_like(stack, np.uint8)
    labels[2, 0:4] = 1
    labels[2, 15:20, 12:28] = 2
    viewer.add_image(stack, name="stack", scale=(3, 1, 1))
    viewer.add_labels(labels, name="paint", scale=(3, 1, 1))
    viewer.dims.set_current_step(0, 2)
    dock = open_dock("--epochs", "4")
    assert dock.data.size.text() == "64 x 48 pixels, 4 planes (learned one by one)"
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: "uncertainty" in viewer.layers and dock.session.phase == "idle", timeout=10_000)
    qtbot.waitUntil(lambda: not dock.session.steps.pending("show stack"))
    assert np.array_equal(viewer.layers["prediction"].data, np.where(stack > 500, 2, 1))
    assert viewer.layers["probability class 1"].data.shape == stack.shape
    assert tuple(viewer.layers["prediction"].scale) == (3, 1, 1)
    # The same array as channels: the labels lose that axis, and so do the answers.
    dock.session.data.choose_axes("CYX")
    qtbot.waitUntil(lambda: not dock.session.data.counting)
    assert dock.session.data.problem() == ""
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    record = run_of(dock).pairs[0]
    assert record.axes == "CYX"
    assert np.array_equal(np.load(record.labels), labels.max(axis=0))
    qtbot.waitUntil(lambda: "prediction [1]" in viewer.layers, timeout=10_000)
    assert viewer.layers["prediction [1]"].data.shape == (48, 64)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)


def test_answers_lie_where_their_image_lies_however_it_is_turned(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    image = np.zeros((64, 80), np.uint8)
    image[16:48, 20:60] = 200
    strokes = np.zeros(image.shape, np.uint8)
    strokes[2:5, 5:70], strokes[30:33, 25:55] = 1, 2
    place = {
        "scale": (0.5, 0.25),
        "translate": (3, 7),
        "rotate": 20,
        "shear": [0.3],
        "affine": np.array([[1, 0.1, 4], [0, 1, 5], [0, 0, 1]]),
        "units": ("um", "um"),
        "axis_labels": ("row", "column"),
    }
    viewer.add_image(image, name="spots", **place)
    viewer.add_labels(strokes, name="strokes", **place)
    dock = open_dock("--epochs", "2")

    def check() -> None:
        for name in ("prediction", "probability class 1", "uncertainty"):
            layer = viewer.layers[name]
            for corner in ((0, 0), (63, 79), (10, 40)):
                assert np.allclose(layer.data_to_world(corner), viewer.layers["spots"].data_to_world(corner))
            assert layer.axis_labels == ("row", "column")
            assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]

    dock.session.train()
    qtbot.waitUntil(lambda: finished(dock) and "uncertainty" in viewer.layers, timeout=10_000)
    check()
    spots = viewer.layers["spots"]
    spots.shear, spots.rotate, spots.affine = [0.1], 35, np.array([[1, 0, 9], [0.2, 1, 5], [0, 0, 1]])
    dock.session.predict()
    qtbot.waitUntil(lambda: dock.session.busy, timeout=5000)
    qtbot.waitUntil(lambda: finished(dock), timeout=10_000)
    check()


def test_multiscale_images(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    image = np.zeros((128, 160), np.uint8)
    image[30:90, 40:120] = 250
    strokes = np.zeros(image.shape, np.uint8)
    strokes[2:5, 5:100], strokes[50:53, 60:100] = 1, 2
    viewer.add_image([image, image[::2, ::2], image[::4, ::4]], multiscale=True, name="levels")
    viewer.add_labels(strokes, name="strokes")
    dock = open_dock("--epochs", "12")
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    assert np.array_equal(np.load(run_of(dock).pairs[0].images[0]), image)
    qtbot.waitUntil(lambda: "uncertainty" in viewer.layers and dock.session.phase == "idle", timeout=10_000)
    assert np.array_equal(viewer.layers["prediction"].data, np.where(image > 100, 2, 1))


def test_all_pairs_are_predicted(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Any) -> None:
    dock = open_dock("--epochs", "2")
    dock.session.settings.uncertainty = dock.session.settings.predict_when_finished = False
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    image = np.zeros((40, 40), np.uint8)
    image[:, 20:] = 99
    np.save(tmp_path / "half.npy", image)
    np.save(tmp_path / "half_mask.npy", (image > 0).astype(np.uint8))
    dock.session.data.add_files([(tmp_path / "half.npy", tmp_path / "half_mask.npy")])
    dock.session.settings.all_pairs = True
    dock.session.predict()
    qtbot.waitUntil(lambda: dock.session.busy, timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle" and "prediction (half)" in viewer.layers, timeout=10_000)
    assert np.array_equal(viewer.layers["prediction (half)"].data, np.where(image > 50, 2, 1))
    assert np.array_equal(viewer.layers["prediction"].data, np.where(bright(viewer), 2, 1))
