"""What a user sees when she applies a model: to files, to large images, and to what she corrects meanwhile."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from napari.layers import Image

from napari_segnet._widgets import outputs
from napari_segnet._widgets.files_dialog import FilesDialog
from napari_segnet.config import LabelClass
from napari_segnet.models.info import read_info

pytestmark = pytest.mark.viewer

CLASSES = (LabelClass(value=1, name="dark", colour="#0000ff"), LabelClass(value=2, name="bright", colour="#ff0000"))


def learn(dock: Any, qtbot: Any) -> None:
    dock.session.settings.predict_when_finished = False
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)


def make_images(folder: Path, *names: str) -> list[Path]:
    folder.mkdir()
    for name in names:
        np.save(folder / name, np.zeros((40, 40), np.uint8))
    return [folder / name for name in names]


def test_a_folder_is_predicted_into_a_folder(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Path
) -> None:
    dock = open_dock("--epochs", "2")
    assert not dock.predict.files.isEnabled()
    learn(dock, qtbot)
    qtbot.waitUntil(dock.predict.files.isEnabled)
    images = make_images(tmp_path / "mine", "a.npy", "b.npy", "c.npy")
    qtbot.waitUntil(lambda: not dock.session.steps.pending("preview"))
    layers = len(viewer.layers)
    dock.session.predict_files(images, tmp_path / "out")
    qtbot.waitUntil(lambda: dock.train.status.text() == "Predicting 2 of 3: b.npy ... 50 %", timeout=5000)
    assert dock.train.stop.isVisible()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=5000)
    assert dock.session.sentence == f"3 images predicted in {tmp_path / 'out'}."
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif", "c.tif"]
    assert len(viewer.layers) == layers


def test_stop_and_errors_keep_the_files_that_are_done(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Path
) -> None:
    dock = open_dock("--epochs", "2")
    learn(dock, qtbot)
    images = make_images(tmp_path / "mine", "a.npy", "b.npy", "bad.npy")
    dock.session.predict_files(images[:2], tmp_path / "out")
    qtbot.waitUntil(lambda: (tmp_path / "out" / "a.tif").exists(), timeout=5000)
    dock.train.stop.click()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=5000)
    assert dock.session.sentence == f"Stopped: 1 of 2 images predicted in {tmp_path / 'out'}."
    dock.session.predict_files(images, tmp_path / "out")
    qtbot.waitUntil(lambda: dock.session.is_error, timeout=5000)
    assert dock.session.sentence.endswith(f"bad.npy is damaged. Leave it out. What is done lies in {tmp_path / 'out'}.")


def test_a_worker_that_dies_while_it_predicts_is_a_sentence(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Path
) -> None:
    dock = open_dock("--epochs", "2")
    learn(dock, qtbot)
    for press_stop in (False, True):
        dock.session.predict_files(make_images(tmp_path / f"mine{press_stop}", "a.npy", "b.npy"), tmp_path / "out")
        qtbot.waitUntil(lambda: "b.npy" in dock.session.sentence, timeout=5000)
        if press_stop:
            dock.session.phase = "stopping"
        psutil.Process(dock.session.client.pid).kill()
        qtbot.waitUntil(lambda: dock.session.is_error, timeout=5000)
        assert dock.session.phase == "idle"
        assert dock.session.resumable is None
        assert dock.session.sentence == (
            f"The worker process was killed. Press Predict to try again. What is done lies in {tmp_path / 'out'}."
        )


def test_the_files_dialog_offers_a_folder_beside_the_images(qtbot: Any, tmp_path: Path) -> None:
    make_images(tmp_path / "mine", "a.npy", "b.npy")
    dialog = FilesDialog()
    qtbot.addWidget(dialog)
    dialog.inputs.set([tmp_path / "nowhere"])
    assert "There is no file or folder" in dialog.message.text()
    assert not dialog._ok.isEnabled()
    dialog.inputs.set([tmp_path / "mine"])
    assert dialog.out == tmp_path / "mine_predictions"
    assert dialog.message.text().startswith("2 images. ")
    assert dialog._ok.isEnabled()
    dialog.target.set([tmp_path / "mine"])
    assert dialog.message.text() == "The predictions need a folder of their own, not that of the images."
    assert not dialog._ok.isEnabled()
    dialog.target.line.setText(str(tmp_path))
    dialog.target.line.editingFinished.emit()
    assert "files of the same names are replaced" in dialog.message.text()
    assert dialog.out == tmp_path
    assert [p.name for p in dialog.images] == ["a.npy", "b.npy"]


def test_improve_goes_on_from_the_model_and_keeps_its_classes(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Path
) -> None:
    dock = open_dock("--epochs", "2")
    assert not dock.train.improve.isVisible()
    qtbot.waitUntil(lambda: len(dock.session.data.classes) == 2)
    dock.session.data.set_class(2, name="square")
    learn(dock, qtbot)
    first = dock.session.models.last
    qtbot.waitUntil(dock.train.improve.isVisible)
    # Another image, where something new is painted and nothing else: alone it would look like a mask.
    image = viewer.add_image(viewer.layers["spots"].data.copy(), name="more")
    strokes = np.zeros((64, 80), np.uint8)
    strokes[20:24, 30:50] = 3
    labels = viewer.add_labels(strokes, name="corrections")
    dock.session.data.choose_pair([image], labels, "YX")
    qtbot.waitUntil(lambda: not dock.session.data.counting and 3 in dock.session.data.counts)
    qtbot.waitUntil(dock.train.improve.isEnabled)
    assert dock.session.data.meaning.unlabelled == "background"
    dock.train.improve.click()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    config = dock.session.models.run.config
    assert config.model.weights == str(first)
    assert config.data.unlabelled == "ignore"
    assert [(c.value, c.name) for c in config.data.classes] == [(1, "class 1"), (2, "square"), (3, "class 3")]
    assert dock.session.data.meaning.words == "As in the model that it starts from."
    assert dock.session.data.warnings(dock.session.models.known) == []
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    # It was for this once: Train begins anew, with what is painted here.
    assert dock.session.settings.start_from is None
    assert "Only class 3 is painted" in dock.session.data.problem()
    assert [c.name for c in read_info(dock.session.models.last).classes] == ["class 1", "square", "class 3"]


def test_what_crashed_viewers_left_behind_goes(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, runs: Path) -> None:
    host = platform.node()
    gone, mine, theirs = f"{2**22 + 1}-1@{host}", f"{os.getpid()}-999@{host}", f"{os.getppid()}-1@{host}"
    elsewhere, long_ago = "7-1@gpu-server", "8-1@gpu-server"
    for name in (gone, mine, theirs, elsewhere, long_ago):
        (runs / "predictions" / name / "inputs").mkdir(parents=True)
    os.utime(runs / "predictions" / long_ago, (1.0, 1.0))

    def left() -> list[str]:
        return sorted(p.name for p in (runs / "predictions").iterdir())

    dock = open_dock("--epochs", "2")
    qtbot.waitUntil(lambda: not dock.session.steps.pending("left over"))
    assert left() == sorted((theirs, elsewhere))
    dock.session.train()
    qtbot.waitUntil(lambda: "uncertainty" in viewer.layers and dock.session.phase == "idle", timeout=10_000)
    qtbot.waitUntil(lambda: left() == sorted((theirs, elsewhere)), timeout=5000)


def test_a_stopped_preparation_leaves_nothing(viewer: Any, open_dock: Any, qtbot: Any, runs: Path, spots: Any) -> None:
    dock = open_dock("--epochs", "2")
    learn(dock, qtbot)
    image = viewer.layers["spots"]
    image.data = np.zeros((6000, 6000), np.uint8)
    dock.session.predict()
    qtbot.waitUntil(lambda: bool(list((runs / "predictions").rglob(".*.tmp"))), timeout=5000)
    assert dock.session.phase == "preparing"
    dock.session.stop()
    qtbot.waitUntil(lambda: not list((runs / "predictions").iterdir()), timeout=5000)
    assert dock.session.sentence == "Stopped."


def test_a_large_answer_is_filled_in_small_steps(viewer: Any) -> None:
    image = viewer.add_image(np.zeros((3, 1500, 2000), np.uint8), name="large")
    made = outputs.OutputLayers(viewer)
    answer = np.random.default_rng(0).integers(1, 3, image.data.shape, np.uint8)
    whole = (slice(None),) * 3
    assert sum(1 for _ in made.labels_steps(image, "ZYX", answer, whole, CLASSES)) == 4
    made.reveal()
    layer = viewer.layers["prediction"]
    assert np.array_equal(layer.data, answer)
    assert sum(1 for _ in made.image_steps(image, "ZYX", "p", answer / np.float32(2), whole, "viridis")) == 7
    assert np.array_equal(viewer.layers["p"].data, answer / 2)
    # A window of one plane.
    window = (slice(1, 2), slice(100, 300), slice(50, 450))
    list(made.labels_steps(image, "ZYX", np.full((1, 200, 400), 7, np.uint8), window, CLASSES))
    assert np.all(layer.data[1, 100:300, 50:450] == 7)
    assert (layer.data != answer).sum() == 200 * 400


def test_a_correction_while_an_answer_comes_in_is_kept(viewer: Any) -> None:
    image = viewer.add_image(np.zeros((3, 1500, 2000), np.uint8), name="large")
    made = outputs.OutputLayers(viewer)
    whole = (slice(None),) * 3
    list(made.labels_steps(image, "ZYX", np.ones(image.data.shape, np.uint8), whole, CLASSES))
    mine = viewer.layers["prediction"]
    steps = made.labels_steps(image, "ZYX", np.full(image.data.shape, 2, np.uint8), whole, CLASSES)
    next(steps)
    mine.data_setitem((np.array([2]), np.array([5]), np.array([6])), 9)
    list(steps)
    assert mine.data[2, 5, 6] == 9
    assert (mine.data == 1).sum() == mine.data.size - 1
    assert np.all(viewer.layers["prediction [1]"].data == 2)
    assert any("You have edited 'prediction'" in text for text in made.take_said())


def test_an_answer_to_an_image_that_was_exchanged_is_dropped(viewer: Any) -> None:
    image: Image = viewer.add_image(np.zeros((60, 70), np.uint8), name="small")
    made = outputs.OutputLayers(viewer)
    for other in ((50, 50), (3, 60, 70)):
        image.data = np.zeros((60, 70), np.uint8)
        steps = made.labels_steps(image, "YX", np.ones((60, 70), np.uint8), (slice(None),) * 2, CLASSES)
        next(steps)
        image.data = np.zeros(other, np.uint8)
        list(steps)
        assert [layer.name for layer in viewer.layers] == ["small"]
