"""What a user sees when she compares labels: scores as tables, errors as layers, the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_segnet._widgets.compared_layers import pairs_of_list
from napari_segnet._widgets.evaluating import EvaluateDock
from napari_segnet._widgets.outputs import MARK
from napari_segnet.reports.colours import CONFUSED, HIT, IGNORED, INVENTED, MISSED, NOTHING

pytestmark = pytest.mark.viewer

PLACE = {"scale": (0.5, 0.25), "translate": (3.0, 7.0), "units": ("um", "um")}


@pytest.fixture
def open_evaluate(viewer: Any) -> Callable[[], EvaluateDock]:
    def make() -> EvaluateDock:
        dock = EvaluateDock(viewer)
        viewer.window.add_dock_widget(dock, name="evaluate")
        return dock

    return make


@pytest.fixture
def sides(viewer: Any) -> tuple[Any, Any]:
    """A truth of two classes, and a prediction with a part missed, a part invented and a part confused."""
    truth = np.zeros((60, 80), np.uint8)
    truth[10:30, 10:40], truth[40:50, 50:70] = 1, 2
    found = truth.copy()
    found[10:15, 10:40] = 0
    found[45:50, 50:60] = 1
    found[0:2, 0:10] = 2
    viewer.add_image(truth * 100, name="image", **PLACE)
    return viewer.add_labels(found, name="found", **PLACE), viewer.add_labels(truth, name="truth", **PLACE)


def evaluated(dock: EvaluateDock, qtbot: Any) -> pd.DataFrame:
    qtbot.waitUntil(dock.evaluate.isEnabled)
    dock.evaluate.click()
    assert dock.busy
    qtbot.waitUntil(lambda: not dock.busy, timeout=60_000)
    return dock.tables.frames["images"]


def test_scores_and_errors_of_one_image(viewer: Any, open_evaluate: Any, sides: tuple[Any, Any], qtbot: Any) -> None:
    truth = sides[1]
    dock = open_evaluate()
    assert dock.truth.currentText() == "truth"
    assert dock.predictions.text() == "found"
    images = evaluated(dock, qtbot)
    classes = dock.tables.frames["classes"].set_index("class")
    one, two = 2 * 450 / (600 + 500), 2 * 150 / (200 + 170)
    assert classes["dice"][1] == pytest.approx(one)
    assert classes["dice"][2] == pytest.approx(two)
    assert images["dice"][0] == pytest.approx((one + two) / 2)
    assert dock.status.text() == f"1 image, mean Dice {(one + two) / 2:.4f}. Click a row to see its errors."
    errors = viewer.layers["found errors"]
    assert not errors.visible
    wrong = np.full((60, 80), NOTHING)
    wrong[truth.data > 0] = HIT
    wrong[10:15, 10:40], wrong[45:50, 50:60], wrong[0:2, 0:10] = MISSED, CONFUSED, INVENTED
    assert np.array_equal(errors.data, wrong)
    assert np.array_equal(errors.scale, PLACE["scale"])
    assert np.array_equal(errors.translate, PLACE["translate"])
    assert errors.get_color(HIT)[3] == 0
    assert np.allclose(errors.get_color(INVENTED)[:3], np.array([0xD5, 0x5E, 0x00]) / 255, atol=0.01)
    dock.tables.tables["images"].selectRow(0)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["image", "found errors"]
    assert viewer.layers.selection.active is errors
    assert list(dock.tables.frames) == ["images", "classes", "means"]


def test_several_predictions_are_rows_and_each_has_its_errors(
    viewer: Any, open_evaluate: Any, sides: tuple[Any, Any], qtbot: Any
) -> None:
    found, truth = sides
    perfect = viewer.add_labels(truth.data.copy(), name="perfect", metadata={MARK: "prediction"}, **PLACE)
    dock = open_evaluate()
    # What a model made is a prediction before anything else.
    assert dock.predictions.text() == "perfect"
    dock.choose_predictions([found, perfect])
    images = evaluated(dock, qtbot).set_index("image")
    assert images["dice"]["perfect"] == 1
    assert images["dice"]["found"] < 1
    table = dock.tables.tables["images"]
    rows = list(dock.tables.frames["images"]["image"])
    for name, other in (("found", "perfect"), ("perfect", "found")):
        table.selectRow(table.frame.place_of(rows.index(name)))
        assert viewer.layers[f"{name} errors"].visible
        assert not viewer.layers[f"{other} errors"].visible
    # Evaluated anew, the layers are the same.
    evaluated(dock, qtbot)
    assert len([layer for layer in viewer.layers if layer.name.endswith("errors")]) == 2


def test_objects_and_pixels_that_do_not_count(viewer: Any, open_evaluate: Any, qtbot: Any) -> None:
    truth = np.zeros((50, 50), np.uint16)
    truth[5:15, 5:15], truth[5:15, 15:25], truth[30:40, 30:40] = 1, 2, 3
    found = truth.copy()
    found[found == 2] = 1
    viewer.add_labels(found, name="found")
    viewer.add_labels(truth, name="truth")
    dock = open_evaluate()
    dock.values.setCurrentIndex(dock.values.findData(True))
    images = evaluated(dock, qtbot)
    assert images["dice"][0] == 1
    # One object of three is found as it is, two became one.
    assert images["ap50"][0] == pytest.approx(2 / 3)  # at an IoU of just 0.5 the joined ones count as one of them
    assert images["ap"][0] < 0.5
    assert images["merges"][0] == 1
    dock.values.setCurrentIndex(dock.values.findData(False))
    dock.zero.setCurrentIndex(dock.zero.findData("ignore"))
    images = evaluated(dock, qtbot)
    assert images["pixel_accuracy"][0] == pytest.approx(200 / 300)
    assert set(np.unique(viewer.layers["found errors"].data)) == {HIT, CONFUSED, IGNORED}


def test_a_stack_is_shown_at_its_worst_plane(viewer: Any, open_evaluate: Any, qtbot: Any) -> None:
    truth = np.zeros((6, 40, 40), np.uint8)
    truth[:, 10:20, 10:20] = 1
    found = truth.copy()
    found[4, 10:18] = 0
    found[1, 10:12] = 0
    viewer.add_labels(found, name="found", scale=(3, 1, 1))
    viewer.add_labels(truth, name="truth", scale=(3, 1, 1))
    dock = open_evaluate()
    dock.surface.setChecked(True)
    images = evaluated(dock, qtbot)
    assert images["hausdorff"][0] > 0
    dock.tables.tables["classes"].selectRow(1)
    assert viewer.dims.current_step[0] == 4


def test_the_report_is_written_and_opened(
    viewer: Any, open_evaluate: Any, sides: tuple[Any, Any], qtbot: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(
        "napari_segnet._widgets.evaluating.QDesktopServices.openUrl", lambda url: opened.append(url.toLocalFile())
    )
    dock = open_evaluate()
    dock.start_evaluating(tmp_path / "report")
    qtbot.waitUntil(lambda: not dock.busy, timeout=120_000)
    assert dock.status.text() == f"Written into {tmp_path / 'report'}."
    assert opened == [str(tmp_path / "report" / "report.html")]
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "found" in page
    assert (tmp_path / "report" / "metrics.csv").exists()
    dock.export("classes", str(tmp_path / "classes.csv"))
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert len(pd.read_csv(tmp_path / "classes.csv")) == 3


def test_the_list_of_the_main_dock_is_compared_with_its_predictions(
    viewer: Any, open_dock: Any, open_evaluate: Any, spots: Any, qtbot: Any
) -> None:
    main = open_dock("--epochs", "1")
    dock = open_evaluate()
    assert not dock.all_pairs.isVisible()
    main.session.train()
    qtbot.waitUntil(lambda: main.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: main.session.phase == "idle" and "uncertainty" in viewer.layers, timeout=10_000)
    (pair,) = pairs_of_list(viewer, main.session)
    assert (pair.name, pair.prediction(), pair.truth()) == ("spots", viewer.layers["prediction"], spots[1])
    qtbot.waitUntil(dock.all_pairs.isVisible)
    dock.all_pairs.setChecked(True)
    images = evaluated(dock, qtbot)
    assert list(images["image"]) == ["spots"]
    # Strokes are compared where they are: elsewhere nothing is annotated.
    assert images["pixel_accuracy"][0] == 1


def test_mistakes_are_sentences(viewer: Any, open_evaluate: Any, sides: tuple[Any, Any], qtbot: Any) -> None:
    found, truth = sides
    dock = open_evaluate()
    found.scale = (1, 1)
    dock.evaluate.click()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert dock.status.text().startswith("'found' and 'truth' lie in different places (scale).")
    found.scale = truth.scale
    truth.data = np.zeros_like(truth.data)
    dock.zero.setCurrentIndex(dock.zero.findData("ignore"))
    dock.evaluate.click()
    qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
    assert dock.status.text().startswith("The reference labels: no pixel is annotated.")
    viewer.layers.remove(found)
    qtbot.waitUntil(lambda: not dock.evaluate.isEnabled())
    assert dock.predictions.text() == "none"
