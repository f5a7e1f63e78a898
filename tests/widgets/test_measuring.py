"""What a user sees when she measures labels: tables, objects on the canvas, files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pandas as pd
import psutil
import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QToolButton, QWidget

from napari_segnet._widgets.cut_out_dialog import CutOutDialog
from napari_segnet._widgets.measuring import MeasureDock

pytestmark = pytest.mark.viewer

SCALE, PLACE = (0.5, 0.25), (3.0, 7.0)


@pytest.fixture
def open_measure(viewer: Any, qtbot: Any) -> Callable[[], MeasureDock]:
    def make() -> MeasureDock:
        dock = MeasureDock(viewer)
        viewer.window.add_dock_widget(dock, name="measure")
        return dock

    return make


@pytest.fixture
def squares(viewer: Any) -> tuple[Any, Any]:
    """An image, and two classes on it: a square of 4 x 6 and a bar of 2 x 10 pixels of 1, a square of 5 x 5 of 2."""
    labels = np.zeros((60, 80), np.uint8)
    labels[10:14, 20:26] = 1
    labels[40:42, 60:70] = 1
    labels[30:35, 5:10] = 2
    image = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    place = {"scale": SCALE, "translate": PLACE, "units": ("um", "um")}
    return viewer.add_image(image, name="cells 1", **place), viewer.add_labels(labels, name="classes", **place)


def measured(dock: MeasureDock, qtbot: Any) -> pd.DataFrame:
    dock.measure.click()
    assert dock.busy
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    return dock.tables.frames["objects"]


def test_objects_of_classes_are_measured_in_units(
    viewer: Any, open_measure: Any, squares: tuple[Any, Any], qtbot: Any
) -> None:
    dock = open_measure()
    objects = measured(dock, qtbot)
    assert dock.status.text() == "3 objects; the values are classes: background, class 1, class 2."
    assert list(objects["class"]) == [1, 1, 2]
    assert np.allclose(objects["area"], np.array([24, 20, 25]) * 0.125)
    assert list(objects["unit"]) == ["micrometer"] * 3
    image = squares[0].data
    assert np.allclose(
        objects["cells_1_mean"], [image[10:14, 20:26].mean(), image[40:42, 60:70].mean(), image[30:35, 5:10].mean()]
    )
    counts, cover = dock.tables.frames["counts"], dock.tables.frames["cover"]
    assert list(counts["objects"]) == [2, 1]
    assert np.allclose(cover["fraction"], [1 - 69 / 4800, 44 / 4800, 25 / 4800])
    assert [dock.tables.tabs.tabText(i) for i in range(dock.tables.tabs.count())] == [
        "Objects (3)", "Counts (2)", "Cover (3)",
    ]  # fmt: skip


def test_a_click_on_a_row_goes_to_the_object_and_back(
    viewer: Any, open_measure: Any, squares: tuple[Any, Any], qtbot: Any
) -> None:
    dock = open_measure()
    objects = measured(dock, qtbot)
    layer = viewer.layers["classes objects"]
    assert np.array_equal(np.unique(layer.data), [0, 1, 2, 3])
    assert np.array_equal(layer.scale, SCALE)
    assert np.array_equal(layer.translate, PLACE)
    assert list(layer.features["index"]) == list(objects["label"])
    assert np.allclose(layer.features["area"], objects["area"])
    table = dock.tables.tables["objects"]
    table.selectRow(1)
    bar = int(objects["label"][1])
    assert layer.selected_label == bar
    assert viewer.layers.selection.active is layer
    # The middle of the bar: rows 40 and 41, columns 60 to 69.
    assert np.allclose(viewer.scene.camera.center[-2:], [3 + 40.5 * 0.5, 7 + 64.5 * 0.25])
    assert viewer.scene.camera.zoom * 10 * 0.25 >= 39
    layer.selected_label = int(objects["label"][2])
    assert [table.frame.row_at(i.row()) for i in table.selectionModel().selectedRows()] == [2]
    # Measured anew, the same layer has the new objects.
    viewer.layers["classes"].data[10:14, 20:26] = 0
    viewer.layers["classes"].refresh()
    assert len(measured(dock, qtbot)) == 2
    assert [x.name for x in viewer.layers] == ["cells 1", "classes", "classes objects"]
    assert layer.data.max() == 2


def test_numbered_objects_keep_their_numbers_and_get_features(viewer: Any, open_measure: Any, qtbot: Any) -> None:
    numbers = np.zeros((3, 40, 40), np.uint16)
    numbers[0, 2:6, 2:6] = 700
    numbers[1:3, 20:24, 20:30] = 12
    layer = viewer.add_labels(numbers, name="cells", scale=(4, 1, 1))
    dock = open_measure()
    dock.values.setCurrentIndex(dock.values.findData("instances"))
    objects = measured(dock, qtbot)
    assert list(objects["label"]) == [12, 700]
    assert np.allclose(objects["volume"], [2 * 40 * 4, 16 * 4])
    assert list(layer.features["index"]) == [12, 700]
    assert len(viewer.layers) == 1
    dock.tables.tables["objects"].selectRow(1)
    assert layer.selected_label == 700
    assert viewer.dims.current_step[0] == 0
    dock.tables.tables["objects"].selectRow(0)
    assert viewer.dims.current_step[0] in (1, 2)
    assert np.allclose(viewer.scene.camera.center[-2:], [21.5, 24.5])
    dock.stack.setCurrentIndex(1)
    planes = measured(dock, qtbot)
    assert list(planes["z"]) == [0, 1, 2]
    assert list(planes["area"]) == [16, 40, 40]
    assert "no features" in dock.status.text()


def test_shapes_are_regions(viewer: Any, open_measure: Any, squares: tuple[Any, Any], qtbot: Any) -> None:
    corners = np.array([[8, 18], [8, 28], [16, 28], [16, 18]]) - 0.5
    # Shapes of another scale lie on the labels all the same.
    world = corners * np.array(SCALE) + np.array(PLACE)
    shapes = viewer.add_shapes([world / 2, np.array([[0, 0], [9, 9]])], shape_type=["polygon", "line"], scale=(2, 2))
    shapes.features = pd.DataFrame({"name": ["nest", "way"]})
    dock = open_measure()
    assert dock.regions.currentData() is None
    dock.regions.setCurrentIndex(dock.regions.findData(shapes))
    measured(dock, qtbot)
    regions = dock.tables.frames["regions"]
    assert list(regions["region_name"]) == ["nest"] * 3
    assert np.allclose(regions["region_area"], 80 * 0.125)
    assert list(regions["objects"]) == [0, 1, 0]
    assert np.allclose(regions["fraction"], [56 / 80, 24 / 80, 0])


def test_the_circle_of_a_photograph(viewer: Any, open_measure: Any, qtbot: Any) -> None:
    sky = np.zeros((101, 141), np.uint8)
    sky[:, :70] = 1
    viewer.add_labels(sky, name="sky")
    dock = open_measure()
    dock.fold.setChecked(True)
    dock.options.circle.setChecked(True)
    dock.options.rings.setValue(2)
    measured(dock, qtbot)
    cover = dock.tables.frames["cover"]
    assert list(cover["zenith_stop"]) == [45, 45, 90, 90]
    inside = cover.loc[cover["class"] == 1]
    # 70 of 141 columns, of which the circle of 101 pixels shows 50 on the left of its centre column.
    assert inside["counted_pixels"].sum() == pytest.approx(np.pi * 50.5**2, rel=0.01)
    assert inside["fraction"].to_numpy() == pytest.approx([0.49, 0.49], abs=0.015)


def test_probabilities_of_a_prediction_are_found(viewer: Any, open_measure: Any, qtbot: Any) -> None:
    from napari_segnet._layers import CLASSES_KEY
    from napari_segnet._widgets.outputs import MARK

    classes = {v: {"value": v, "name": n, "colour": "#ff0000"} for v, n in ((1, "ground"), (2, "cell"))}
    labels = np.ones((30, 30), np.uint8)
    labels[5:9, 5:9] = 2
    for name, share in (("cell", 0.75), ("ground", 0.25)):
        chance = np.where(labels == 2, share, 1 - share).astype(np.float32)
        viewer.add_image(chance, name=f"p {name}", contrast_limits=(0, 1), metadata={MARK: f"probability {name}"})
    viewer.add_labels(labels, name="prediction", metadata={MARK: "prediction", CLASSES_KEY: classes})
    dock = open_measure()
    assert dock.probabilities.currentText() == "all classes of the prediction"
    assert dock.zero.currentData() == "ignore"
    objects = measured(dock, qtbot)
    assert list(objects["class_name"]) == ["ground", "cell"]
    assert np.allclose(objects["mean_probability"], 0.75)


def test_tables_are_written_as_csv_and_parquet(
    viewer: Any, open_measure: Any, squares: tuple[Any, Any], qtbot: Any, tmp_path: Path
) -> None:
    dock = open_measure()
    assert not dock.tables.export.isEnabled()
    objects = measured(dock, qtbot)
    for name in ("objects.csv", "objects.parquet"):
        dock.export("objects", str(tmp_path / name))
        qtbot.waitUntil(lambda: not dock.busy, timeout=10_000)
        assert dock.status.text() == f"Written: {tmp_path / name}"
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "objects.csv"), objects, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "objects.parquet"), objects, check_dtype=False)
    (tmp_path / "file").write_text("")
    dock.export("objects", str(tmp_path / "file" / "objects.csv"))
    qtbot.waitUntil(lambda: not dock.busy, timeout=10_000)
    assert "can't be written" in dock.status.text()


def test_mistakes_and_deaths_are_sentences(
    viewer: Any, open_measure: Any, squares: tuple[Any, Any], qtbot: Any
) -> None:
    image, labels = squares
    dock = open_measure()
    labels.data = np.zeros_like(labels.data)
    dock.measure.click()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert dock.status.text() == "There is nothing in these labels. Paint something, or choose another layer."
    labels.data = np.ones_like(labels.data)
    image.scale = (1, 1)
    dock.measure.click()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert "are scaled differently" in dock.status.text()
    dock.choose_images([])
    dock.measure.click()
    psutil.Process(dock.jobs.client.pid).kill()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert dock.status.text().startswith("The worker process was killed. Try again.")
    dock.measure.click()
    assert dock.stop.isVisible()
    dock.stop.click()
    assert dock.status.text() == "Stopped."
    assert len(measured(dock, qtbot)) == 1
    viewer.layers.remove(labels)
    dock.tables.tables["objects"].selectRow(0)
    qtbot.waitUntil(lambda: not dock.measure.isEnabled())


def test_the_viewer_is_free_meanwhile_and_layers_may_go(viewer: Any, open_measure: Any, qtbot: Any) -> None:
    rng = np.random.default_rng(0)
    labels = viewer.add_labels((rng.random((300, 300)) < 0.2).astype(np.uint8), name="many")
    dock = open_measure()
    ticks: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(10)
    dock.measure.click()
    viewer.layers.remove(labels)
    qtbot.waitUntil(lambda: not dock.busy, timeout=60_000)
    timer.stop()
    assert np.diff(ticks).max() < 0.5
    assert dock.status.text() == "The labels layer is gone; its tables are here."
    assert len(dock.tables.frames["objects"]) > 1000


def test_every_control_is_explained(viewer: Any, open_measure: Any, squares: tuple[Any, Any]) -> None:
    dock = open_measure()
    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QAbstractItemView)
    silent = []
    for control in dock.findChildren(QWidget):
        inner = control.objectName().startswith("qt_") or isinstance(
            control.parent(), QComboBox | QAbstractSpinBox | QAbstractItemView
        )
        popup = control.window() is not dock.window() or (isinstance(control, QToolButton) and not control.text())
        if isinstance(control, kinds) and not inner and not popup and not control.toolTip():
            silent.append(control)
    assert not silent


def test_objects_are_cut_out_of_the_image(
    viewer: Any, open_measure: Any, squares: tuple[Any, Any], qtbot: Any, tmp_path: Path
) -> None:
    dock = open_measure()
    viewer.layers["cells 1"].data = np.full((60, 80), 100, np.uint8)
    dock.cut_out(tmp_path / "out", {"feather": 0, "background": "transparent"})
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert dock.status.text() == f"1 picture written into {tmp_path / 'out'}."
    picture = iio.imread(tmp_path / "out" / "cells_1.png")
    assert np.array_equal(picture[..., 3] == 255, viewer.layers["classes"].data > 0)
    assert (picture[12, 22] == [100, 100, 100, 255]).all()
    dock.cut_out(tmp_path / "crops", {"feather": 0, "background": "white", "margin": 1}, crops=True)
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert dock.status.text() == f"3 pictures written into {tmp_path / 'crops'}."
    shapes = sorted(iio.imread(path).shape for path in (tmp_path / "crops").glob("*.png"))
    assert shapes == [(4, 12, 3), (6, 8, 3), (7, 7, 3)]


def test_the_cut_out_dialog_takes_a_folder_and_a_background(qtbot: Any, tmp_path: Path) -> None:
    dialog = CutOutDialog()
    qtbot.addWidget(dialog)
    assert not dialog._ok.isEnabled()
    (tmp_path / "file").write_text("")
    dialog.target.set([tmp_path / "file"])
    assert "is a file" in dialog.message.text()
    dialog.target.set([tmp_path / "new"])
    assert dialog._ok.isEnabled()
    assert dialog.into == tmp_path / "new"
    dialog.choose_background("#ffcc00")
    dialog.margin.setValue(7)
    assert dialog.values() == {"background": "#ffcc00", "feather": 2.0, "shrink": 0.0, "margin": 0}
    dialog.crops.setChecked(True)
    assert dialog.values()["margin"] == 7
    assert dialog.background.currentText() == "#ffcc00"
