"""What a user sees when she chooses images and labels: guesses in words, classes, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from napari_segnet._widgets.load_dialog import LoadDialog
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.pairing import pair_files

pytestmark = pytest.mark.viewer


def counted(dock: Any, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not dock.session.data.counting)


def paint_twenty(labels: Any) -> None:
    """Paint 20 pixels of class 2, the way the brush does."""
    labels.data_setitem((np.repeat([60, 61], 10), np.tile(np.arange(10), 2)), 2)


def test_strokes_are_guessed_and_counted(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    counted(dock, qtbot)
    qtbot.waitUntil(lambda: dock.classes.table.rowCount() == 2)
    assert dock.data.unlabelled.currentText() == "ignored"
    assert dock.data.task.currentText() == "classes"
    assert dock.data.meaning.text().startswith("Guess: 5.6% of the pixels are painted, in 2 classes")
    assert [dock.classes.table.item(row, 3).text() for row in range(2)] == ["195", "90"]
    # The class colours are those that she paints with.
    red, green, blue = (round(255 * v) for v in viewer.layers["strokes"].get_color(2)[:3])
    assert dock.session.data.classes[1].colour == f"#{red:02x}{green:02x}{blue:02x}"
    paint_twenty(viewer.layers["strokes"])
    qtbot.waitUntil(lambda: dock.classes.table.item(1, 3).text() == "110", timeout=3000)


def test_objects_are_guessed(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    labels = np.zeros((64, 64), np.uint16)
    for number in range(9):
        y, x = divmod(number, 3)
        labels[y * 20 + 2 : y * 20 + 12, x * 20 + 2 : x * 20 + 12] = number + 1
    viewer.add_image(labels * 10)
    viewer.add_labels(labels)
    dock = open_dock()
    counted(dock, qtbot)
    qtbot.waitUntil(lambda: dock.data.task.currentText() == "objects")
    assert [c.name for c in dock.session.data.classes] == ["background", "object"]
    assert dock.classes.table.item(1, 3).text() == "900"
    assert not dock.classes.add.isEnabled()
    assert dock.session.data.problem() == ""


def test_the_guess_can_be_changed(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    counted(dock, qtbot)
    dock.session.data.set_meaning("semantic", "background")
    qtbot.waitUntil(lambda: dock.classes.table.rowCount() == 3)
    assert dock.data.unlabelled.currentText() == "background"
    assert dock.classes.table.item(0, 1).text() == "background"
    paint_twenty(viewer.layers["strokes"])
    qtbot.wait(400)
    counted(dock, qtbot)
    assert dock.session.data.meaning.unlabelled == "background"


def test_adding_a_class_picks_it_and_names_stay(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    counted(dock, qtbot)
    dock.classes.add.click()
    strokes = viewer.layers["strokes"]
    assert strokes.selected_label == 3
    assert strokes.mode == "paint"
    assert viewer.layers.selection.active is strokes
    qtbot.waitUntil(lambda: dock.classes.table.rowCount() == 3)
    dock.classes.table.item(2, 1).setText("nucleus")
    dock.classes.table.item(2, 2).setText("2.5")
    assert dock.session.data.classes[2].name == "nucleus"
    assert dock.session.data.classes[2].weight == 2.5
    dock.classes.table.cellClicked.emit(0, 1)
    assert strokes.selected_label == 1
    viewer.window.remove_dock_widget(dock)
    again = open_dock(name="again")
    counted(again, qtbot)
    assert [c.name for c in again.session.data.classes] == ["class 1", "class 2", "nucleus"]
    again.session.data.remove_class(3)
    assert len(again.session.data.classes) == 2
    with pytest.raises(DataError, match="195 pixels of that class are painted"):
        again.session.data.remove_class(1)
    with pytest.raises(ConfigError):
        again.session.data.set_class(1, weight=-1)


def test_a_changed_colour_colours_the_strokes(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    counted(dock, qtbot)
    dock.session.data.set_class(1, colour="#00ff00")
    assert np.allclose(viewer.layers["strokes"].get_color(1), (0, 1, 0, 1))


def test_a_new_labels_layer_lies_on_its_image(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    viewer.add_image(np.zeros((3, 40, 50)), name="three", scale=(1, 2, 2), translate=(0, 5, 6))
    dock = open_dock()
    assert "There are no labels yet" in dock.session.data.problem()
    dock.session.data.choose_axes("CYX")
    dock.data.new.click()
    strokes = viewer.layers["strokes"]
    assert strokes.data.shape == (40, 50)
    assert tuple(strokes.scale) == (2, 2)
    assert tuple(strokes.translate) == (5, 6)
    assert strokes.mode == "paint"
    assert "Nothing is painted yet" in dock.session.data.problem()


@pytest.mark.parametrize(
    ("shape", "place", "words"),
    [
        ((32, 40), {}, "The labels 'strokes' are 32 x 40, but 'image' is 64 x 80."),
        ((64, 80), {"scale": (2, 2)}, "scaled differently from 'image' (2, 2 instead of 1, 1)"),
        ((64, 80), {"translate": (0, 1)}, "moved differently from 'image'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    viewer: Any, open_dock: Any, qtbot: Any, shape: tuple[int, int], place: dict[str, Any], words: str
) -> None:
    viewer.add_image(np.zeros((64, 80)), name="image")
    labels = np.zeros(shape, np.uint8)
    labels[:5], labels[-5:] = 1, 2
    viewer.add_labels(labels, name="strokes", **place)
    dock = open_dock()
    counted(dock, qtbot)
    assert words in dock.session.data.problem()
    qtbot.waitUntil(lambda: words in dock.train.status.text())
    assert not dock.train.train.isEnabled()


def test_one_class_of_strokes_is_too_few(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    strokes = viewer.layers["strokes"]
    strokes.data = np.where(strokes.data == 1, 1, 0)
    dock = open_dock()
    counted(dock, qtbot)
    # A single class is taken for objects on a background ...
    assert dock.session.data.meaning.unlabelled == "background"
    assert dock.session.data.problem() == ""
    qtbot.waitUntil(lambda: "Only class 1 is painted, on 3.8% of the pixels" in dock.train.warnings.text())
    # ... and can't be learned if the rest is ignored.
    dock.session.data.set_meaning("semantic", "ignore")
    assert dock.session.data.problem().startswith("Only class 1 is painted")


def test_what_will_work_badly_is_said_before_training(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    image = np.random.default_rng(0).random((50, 80))
    image[3, 4] = np.nan
    labels = np.zeros((50, 80), np.uint8)
    labels[10, 5:75], labels[20, 5:15] = 1, 2
    viewer.add_image(image, name="dim")
    viewer.add_labels(labels, name="strokes")
    dock = open_dock()
    counted(dock, qtbot)
    qtbot.waitUntil(lambda: "NaN" in dock.train.warnings.text())
    assert "class 2 has only 10 painted pixels" in dock.train.warnings.text()
    assert "50 x 80 pixels, less than a patch" in dock.train.warnings.text()
    assert dock.train.train.isEnabled()


def test_an_image_without_contrast_can_not_be_learned_from(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    labels = np.zeros((64, 80), np.uint8)
    labels[10:20], labels[40:50] = 1, 2
    viewer.add_image(np.full((64, 80), 7, np.uint8), name="empty")
    viewer.add_labels(labels, name="strokes")
    dock = open_dock()
    counted(dock, qtbot)
    assert "empty has the same value everywhere" in dock.session.data.problem()
    assert not dock.train.train.isEnabled()


def test_a_grey_mask_is_refused(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    viewer.add_image(grey)
    viewer.add_labels(grey, name="jpeg")
    dock = open_dock()
    counted(dock, qtbot)
    assert "different values" in dock.session.data.problem()


def test_channels_of_several_layers(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    place = {"scale": (0.5, 0.25), "translate": (3, 7), "units": ("um", "um")}
    second = viewer.add_image(np.ones((64, 80), np.float32), name="second", **place)
    viewer.add_image(np.ones((10, 10)), name="small")
    dock = open_dock("--epochs", "2")
    data = dock.session.data
    data.choose_image(spots[0])
    data.choose_channels([spots[0], second])
    counted(dock, qtbot)
    assert data.problem() == ""
    qtbot.waitUntil(lambda: dock.data.channels.text() == "2 channels")
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    (record,) = dock.session.models.run.pairs
    assert len(record.images) == 2
    assert np.load(record.images[1]).max() == 1
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    data.choose_channels([spots[0], viewer.layers["small"]])
    assert "Layers that are used as channels of one image need one size" in data.problem()


def test_several_pairs_of_layers_and_files(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        iio.imwrite(tmp_path / "images" / f"{name}.png", np.full((40, 40), 7, np.uint8))
        mask = np.zeros((40, 40), np.uint8)
        mask[:2], mask[9:12] = 1, 3
        iio.imwrite(tmp_path / "masks" / f"{name}_mask.png", mask)
    iio.imwrite(tmp_path / "images" / "lonely.png", np.zeros((40, 40), np.uint8))
    dock = open_dock("--epochs", "2")
    dock.session.settings.predict_when_finished = False
    dock.data.add.click()
    dock.data.load_files(pair_files(tmp_path / "images", tmp_path / "masks"))
    counted(dock, qtbot)
    qtbot.waitUntil(lambda: dock.data.list.count() == 3)
    assert dock.data.list.item(1).text() == "a.png  +  a_mask.png"
    assert dock.data.unpaired.text() == "Without a partner: lonely.png."
    assert dock.session.data.counts[3] == 2 * 3 * 40
    assert [c.value for c in dock.session.data.classes] == [1, 2, 3]
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    records = dock.session.models.run.pairs
    assert [record.name for record in records] == ["spots", "a", "b"]
    assert records[1].images == (str((tmp_path / "images" / "a.png").resolve()),)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    dock.session.data.clear_pairs()
    qtbot.waitUntil(dock.data.list.isHidden)


def test_the_load_dialog_shows_what_goes_together(qtbot: Any, tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "b.png"):
        iio.imwrite(tmp_path / name, np.zeros((8, 8), np.uint8))
    dialog = LoadDialog()
    qtbot.addWidget(dialog)
    dialog.set_paths("images", [tmp_path / "a.png", tmp_path / "b.png"])
    assert not dialog._ok.isEnabled()
    dialog.set_paths("masks", [tmp_path / "a_mask.png"])
    assert dialog.message.text() == "1 pair, 1 without a partner."
    assert [dialog.list.item(i).text() for i in range(dialog.list.count())] == [
        "a.png  +  a_mask.png",
        "b.png  (without a partner)",
    ]
    assert dialog._ok.isEnabled()
    dialog.set_paths("masks", [tmp_path / "nothing here"])
    assert not dialog._ok.isEnabled()
    assert "nothing here" in dialog.message.text()


def test_a_listed_pair_can_be_shown(viewer: Any, open_dock: Any, qtbot: Any, tmp_path: Path) -> None:
    image = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    iio.imwrite(tmp_path / "a.png", image)
    iio.imwrite(tmp_path / "a_mask.png", (image > 800).astype(np.uint8))
    dock = open_dock()
    dock.data.load_files(pair_files(tmp_path / "a.png", tmp_path / "a_mask.png"))
    # With an empty viewer the first pair is shown at once, and it isn't learned twice.
    assert [layer.name for layer in viewer.layers] == ["a", "a_mask"]
    assert np.array_equal(viewer.layers["a"].data, image)
    assert viewer.layers["a_mask"].data.max() == 1
    counted(dock, qtbot)
    assert len(dock.session.data.everything()) == 1
    assert dock.session.data.counts == {0: 801, 1: 799}
    # A correction of the mask that is shown is what is learned.
    viewer.layers["a_mask"].data = np.where(image < 80, 2, viewer.layers["a_mask"].data)
    counted(dock, qtbot)
    assert dock.session.data.counts == {0: 721, 1: 799, 2: 80}


def test_pairs_of_other_channels_are_refused(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    counted(dock, qtbot)
    dock.data.add.click()
    colours = viewer.add_image(np.zeros((64, 80, 3), np.uint8), rgb=True, name="colours")
    marks = viewer.add_labels(viewer.layers["strokes"].data.copy(), name="marks")
    dock.session.data.choose_image(colours)
    dock.session.data.choose_labels(marks)
    counted(dock, qtbot)
    assert "'colours' has 3 channel(s), but 'spots' has 1" in dock.session.data.problem()
