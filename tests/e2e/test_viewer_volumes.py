"""A volume in a real viewer with the real worker: strokes in a few planes, a network for volumes, its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from napari_segnet._commands import open_dock
from napari_segnet.models.info import read_info

pytestmark = [pytest.mark.viewer, pytest.mark.slow]

PLACE = {"scale": (1.0, 0.5, 0.5), "translate": (5.0, 0.0, -4.0), "units": ("um",) * 3}
SECONDS = 120_000


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Any]:
    made = make_napari_viewer(show=True)
    yield made
    if hasattr(made.window, "_qt_window"):
        made.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not _workers(), timeout=15_000)


def _workers() -> list[psutil.Process]:
    alive = psutil.Process().children(recursive=True)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def boxes() -> tuple[np.ndarray, np.ndarray]:
    """A noisy volume (12, 64, 64) with bright boxes, and where they are."""
    rng = np.random.default_rng(5)
    truth = np.zeros((12, 64, 64), bool)
    for z, y, x in ((1, 6, 8), (5, 8, 38), (4, 38, 12), (2, 36, 40)):
        truth[z : z + 6, y : y + 20, x : x + 20] = True
    return (60 + 90 * truth + rng.normal(0, 10, truth.shape)).clip(0, 255).astype(np.uint8), truth


def test_strokes_in_three_planes_teach_a_volume(viewer: Any, qtbot: Any) -> None:
    image, truth = boxes()
    strokes = np.zeros(image.shape, np.uint8)
    for z in (2, 6, 10):
        strokes[z, ::5] = truth[z, ::5] + 1
    layer = viewer.add_image(image, name="boxes", **PLACE)
    viewer.add_labels(strokes, name="strokes", **PLACE)
    dock = open_dock(viewer)
    session = dock.session
    session.settings.advanced.update(
        {
            "model.network": "dynunet",
            "model.options.width": 8,
            "model.options.depth": 2,
            "model.options.flat_levels": 1,
            "train.patch_size": (8, 32, 32),
            "train.batch_size": 4,
            "train.steps_per_epoch": 20,
            "train.epochs": 8,
            "train.preview_seconds": 0.2,
        }
    )
    session.settings.preview_seconds = 0.2
    session.changed.emit()
    viewer.dims.set_current_step(0, 7)
    qtbot.waitUntil(dock.train.train.isEnabled, timeout=SECONDS)
    dock.train.train.click()
    qtbot.waitUntil(lambda: "prediction" in viewer.layers or session.is_error, timeout=SECONDS)
    assert not session.is_error, session.sentence
    prediction = viewer.layers["prediction"]
    # Only the plane that is looked at, as far as it is in sight.
    assert [bool(plane.any()) for plane in prediction.data] == [z == 7 for z in range(12)]
    assert (prediction.data[7] > 0).mean() > 0.4
    qtbot.waitUntil(
        lambda: session.phase == "idle" and "uncertainty" in viewer.layers and not session.steps.pending("show boxes"),
        timeout=SECONDS,
    )
    assert not session.is_error, session.sentence
    model = read_info(session.models.path)
    assert (model.network, model.axes, model.pixel_size) == ("dynunet", "ZYX", (1.0, 0.5, 0.5))
    assert (session.data.meaning.task, session.data.meaning.unlabelled) == ("semantic", "ignore")
    found = prediction.data == 2
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85
    for name in ("prediction", "probability class 1", "probability class 2", "uncertainty"):
        made = viewer.layers[name]
        assert made.data.shape == image.shape
        assert np.array_equal(made.scale, layer.scale)
        assert np.array_equal(made.translate, layer.translate)
        assert [str(unit) for unit in made.units] == ["micrometer"] * 3
    total = sum(viewer.layers[f"probability class {value}"].data for value in (1, 2))
    assert np.allclose(total, 1, atol=0.02)


@pytest.mark.parametrize("network", ["plain-unet", "unet3d"])
def test_the_augmentation_of_planes_and_volumes_is_shown(viewer: Any, qtbot: Any, network: str) -> None:
    image, truth = boxes()
    viewer.add_image(image, name="boxes", **PLACE)
    viewer.add_labels(truth.astype(np.uint8), name="masks", **PLACE)
    dock = open_dock(viewer)
    session = dock.session
    patch = 32 if network == "plain-unet" else (16, 32, 32)
    session.settings.advanced = {"model.network": network, "train.patch_size": patch, "train.augment.rotation": 90.0}
    session.changed.emit()
    qtbot.waitUntil(dock.train.train.isEnabled, timeout=SECONDS)
    session.preview_augmentation()
    qtbot.waitUntil(lambda: session.phase == "idle" and not session.data.counting, timeout=SECONDS)
    assert not session.is_error, session.sentence
    grid, labels = viewer.layers["augmentation preview"].data, viewer.layers["augmentation preview labels"].data
    # Four places, each unchanged and changed five times, two pixels between them; of volumes the middle planes.
    assert grid.shape == (4 * 34 - 2, 6 * 34 - 2, 3)
    assert labels.shape == grid.shape[:2]
    assert set(np.unique(labels)) == {0, 1}
    # Image and labels are changed alike: what is labelled is brighter, in the unchanged patches and in the others.
    for column in range(6):
        part = slice(column * 34, column * 34 + 32)
        values, inside = grid[:, part, 0].astype(float), labels[:, part] == 1
        gaps = (np.arange(len(values)) % 34 >= 32)[:, None] & np.ones_like(inside)
        assert values[inside].mean() > values[~inside & ~gaps].mean() + 20


def test_a_misspelt_encoder_is_answered_with_near_names(viewer: Any, qtbot: Any) -> None:
    image, truth = boxes()
    viewer.add_image(image[4], name="plane")
    viewer.add_labels(truth[4].astype(np.uint8), name="mask")
    dock = open_dock(viewer)
    dock.train.fold.setChecked(True)
    field = dock.train.advanced.fields["model.encoder"]
    field.setText("resnet33")
    field.editingFinished.emit()
    qtbot.waitUntil(dock.train.train.isEnabled, timeout=SECONDS)
    dock.train.train.click()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=SECONDS)
    assert dock.session.is_error
    assert "There is no encoder called 'resnet33'" in dock.session.sentence
    assert "'resnet34'" in dock.session.sentence
