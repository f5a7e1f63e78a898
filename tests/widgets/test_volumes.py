"""What a user sees when a stack is learned as a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segnet import _layers
from napari_segnet.run import list_runs

pytestmark = pytest.mark.viewer

PLACE = {"scale": (2, 0.5, 0.5), "translate": (1, 2, 3), "units": ("um",) * 3}


@pytest.fixture
def stack(viewer: Any) -> tuple[Any, Any]:
    """A bright box in a dark stack, and strokes in one plane of ten."""
    image = np.zeros((10, 48, 64), np.uint8)
    image[3:8, 10:30, 10:40] = 200
    strokes = np.zeros_like(image)
    strokes[5, 2:5, 2:60], strokes[5, 15:18, 12:38] = 1, 2
    return viewer.add_image(image, name="stack", **PLACE), viewer.add_labels(strokes, name="strokes", **PLACE)


def choose(dock: Any, network: str) -> None:
    dock.session.settings.advanced["model.network"] = network
    dock.session.changed.emit()


def test_a_stack_is_learned_as_a_volume(viewer: Any, open_dock: Any, stack: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "1000")
    qtbot.waitUntil(lambda: dock.data.size.text() == "64 x 48 pixels, 10 planes (learned one by one)", timeout=10_000)
    choose(dock, "dynunet")
    qtbot.waitUntil(lambda: dock.data.size.text() == "64 x 48 pixels, 10 planes (learned as a volume)", timeout=10_000)
    viewer.dims.set_current_step(0, 6)
    dock.session.train()
    # A preview fills the plane that is looked at, then the next one that is.
    qtbot.waitUntil(lambda: "prediction" in viewer.layers, timeout=10_000)
    bright = stack[0].data > 100
    prediction = viewer.layers["prediction"]
    assert not prediction.data[:6].any()
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: bool(prediction.data[2].any()), timeout=10_000)
    for plane in (2, 6):
        # What is out of sight is not predicted.
        seen = prediction.data[plane] > 0
        assert seen.mean() > 0.4
        assert np.array_equal(prediction.data[plane][seen], np.where(bright[plane], 2, 1)[seen])
    run = dock.session.models.run
    assert (run.config.model.network, run.config.data.unlabelled) == ("dynunet", "ignore")
    assert (run.pairs[0].axes, run.pairs[0].pixel_size, run.pairs[0].units) == ("ZYX", (2, 0.5, 0.5), "micrometer")
    dock.session.stop()
    qtbot.waitUntil(lambda: dock.session.phase == "idle" and "uncertainty" in viewer.layers, timeout=10_000)
    qtbot.waitUntil(lambda: not dock.session.steps.pending("show stack"))
    for name in ("prediction", "probability class 1", "probability class 2", "uncertainty"):
        layer = viewer.layers[name]
        assert layer.data.shape == stack[0].data.shape
        assert (tuple(layer.scale), tuple(layer.translate)) == (PLACE["scale"], PLACE["translate"])
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert np.array_equal(prediction.data, np.where(bright, 2, 1))


def test_the_words_are_those_of_a_volume(open_dock: Any, stack: Any, qtbot: Any) -> None:
    dock = open_dock()
    choose(dock, "dynunet")
    # 40 ** 3 voxels in a box of one length along the axes that are long enough: all ten planes, then 80 x 80 pixels,
    # more than there are: the whole volume.
    qtbot.waitUntil(lambda: "patches of about 10 x 48 x 64 voxels" in dock.train.choices.text(), timeout=10_000)
    assert "volumes are about 10 x 48 x 64" in dock.train.choices.toolTip()
    # Planes are four times as far apart as pixels: two levels pool within planes only.
    assert "the first 2 of them flat" in dock.train.choices.toolTip()
    dock.session.settings.advanced["train.patch_size"] = (4, 32, 32)
    dock.session.changed.emit()
    qtbot.waitUntil(lambda: "patches of about 4 x 32 x 32 voxels" in dock.train.choices.text(), timeout=10_000)
    choose(dock, "plain-unet")
    del dock.session.settings.advanced["train.patch_size"]
    dock.session.changed.emit()
    qtbot.waitUntil(lambda: "patches of 64 pixels" in dock.train.choices.text(), timeout=10_000)


def test_a_stack_without_a_unit_still_says_how_far_its_planes_are_apart(viewer: Any) -> None:
    image = viewer.add_image(np.zeros((4, 20, 20), np.uint8), scale=(3, 1, 1))
    assert _layers.pixel_size_of(image, "ZYX") == ((3, 1, 1), None)
    # The first axis may be channels, whose size says nothing; and ones are napari's own.
    assert _layers.pixel_size_of(image, "CYX") == (None, None)
    image.scale = (1, 1, 1)
    assert _layers.pixel_size_of(image, "ZYX") == (None, None)


def test_a_plane_is_refused_by_a_network_for_volumes(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "2")
    qtbot.waitUntil(dock.train.train.isEnabled)
    choose(dock, "unet3d")
    sentence = "'spots' is a plane, but the chosen network is for volumes."
    qtbot.waitUntil(lambda: dock.train.status.text().startswith(sentence), timeout=10_000)
    assert not dock.train.train.isEnabled()
    dock.session.train()
    assert dock.session.is_error
    assert dock.session.sentence.startswith(sentence)
    assert dock.session.models.run is None
    choose(dock, "plain-unet")
    qtbot.waitUntil(dock.train.train.isEnabled)


def test_a_file_of_a_plane_is_refused_before_a_run_begins(
    viewer: Any, open_dock: Any, stack: Any, qtbot: Any, tmp_path: Path, runs: Path
) -> None:
    for name, values in (("plane.npy", stack[0].data[5]), ("plane_mask.npy", stack[1].data[5])):
        np.save(tmp_path / name, values)
    dock = open_dock()
    choose(dock, "vnet")
    dock.session.data.add_files([(tmp_path / "plane.npy", tmp_path / "plane_mask.npy")])
    dock.session.train()
    sentence = "'plane.npy' is a plane, but the chosen network is for volumes."
    qtbot.waitUntil(lambda: dock.session.sentence.startswith(sentence), timeout=10_000)
    assert dock.session.phase == "idle"
    assert not list_runs(runs)


def test_a_model_of_volumes_is_not_for_planes(viewer: Any, open_dock: Any, stack: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "2")
    dock.session.settings.predict_when_finished = False
    choose(dock, "dynunet")
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=10_000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    plane = viewer.add_image(stack[0].data[5], name="plane")
    dock.session.data.choose_image(plane)
    dock.session.predict()
    assert dock.session.sentence.startswith("'plane' is a plane, but the model is for volumes.")
    viewer.add_labels(stack[1].data[5], name="plane strokes")
    dock.session.data.choose_labels(viewer.layers["plane strokes"])
    qtbot.waitUntil(lambda: not dock.session.data.counting, timeout=10_000)
    dock.session.improve()
    assert dock.session.sentence.startswith("'plane' is a plane, but the model is for volumes.")
    assert not dock.session.busy
