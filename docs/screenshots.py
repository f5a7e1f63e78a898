"""Make the pictures of the documentation from the real viewer: learning, measuring, evaluating, suggested labels.

Usage: ``make screenshots``, or ``python docs/screenshots.py`` where there is a display. Takes about four minutes.
``python docs/screenshots.py measure evaluate`` makes the pictures of these scenes alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parent / "images"
MINUTES = 0.85
PATIENCE = 240
COIN = 2  # the value of coins in the reference mask of the sample; background is 1
CHOSEN = 7  # the place of a coin near the middle, among coins by size
DOCK_WIDTH = 540
ROWS_OF_COINS = ((12, 80), (91, 149), (152, 222), (229, 293))  # first and last row of pixels of each


def main() -> None:
    """Play the scenes that are named, or all of them, each in a viewer of its own."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"{', '.join(SCENES)}; all if none is named")
    wanted = parser.parse_args().scenes or list(SCENES)
    unknown = [name for name in wanted if name not in SCENES]
    if unknown:
        parser.error(f"there is no scene {unknown[0]!r}: {', '.join(SCENES)}")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        # Runs of the one who makes the pictures are not offered in them, nor do new ones stay.
        os.environ["NAPARI_SEGNET_HOME"] = home
        for name in wanted:
            SCENES[name]()


def _photograph_learning() -> None:
    """Do what the tutorial tells, and take a picture at each stage."""
    from napari_segnet._screenshot import PLUGIN, close, open_viewer, photograph, settle

    viewer, dock = open_viewer()
    session = dock.session
    viewer.open_sample(PLUGIN, "coins")
    _wait(lambda: session.phase == "idle", session, "the worker is ready")
    photograph(viewer, IMAGES / "strokes.png")
    _photograph_augmentation(viewer, dock)

    session.settings.minutes = MINUTES
    session.changed.emit()
    settle(0.5)
    dock.train.train.click()
    _wait(lambda: _has(viewer, "prediction"), session, "there is a preview")
    settle(MINUTES * 60 * 0.6)
    photograph(viewer, IMAGES / "training.png")

    _wait(lambda: session.phase == "idle", session, "it is finished")
    for layer in viewer.layers:
        layer.visible = not any(word in layer.name for word in ("probability", "uncertainty"))
    photograph(viewer, IMAGES / "prediction.png")
    for layer in viewer.layers:
        layer.visible = "uncertainty" in layer.name
    photograph(viewer, IMAGES / "uncertainty.png")
    close(viewer)


def _photograph_augmentation(viewer: Any, dock: Any) -> None:
    from qtpy.QtWidgets import QScrollArea

    from napari_segnet._screenshot import photograph, settle

    form = dock.train.advanced
    dock.train.fold.setChecked(True)
    for name, fold in form.folds.items():
        fold.setChecked(name == "Augmentation")
    settle(1)
    form.preview.click()
    _wait(lambda: _has(viewer, "augmentation preview"), dock.session, "augmentation is shown")
    area = dock.findChild(QScrollArea)
    area.ensureWidgetVisible(form.preview)
    photograph(viewer, IMAGES / "augmentation.png")
    dock.train.fold.setChecked(False)
    for layer in [layer for layer in viewer.layers if layer.name.startswith("augmentation preview")]:
        viewer.layers.remove(layer)
    area.verticalScrollBar().setValue(0)
    viewer.reset_view()


def _photograph_measuring() -> None:
    """Measure the reference mask of the coins, with each of their rows as a region; choose a coin."""
    from qtpy.QtCore import Qt

    from napari_segnet._screenshot import PLUGIN, close, open_viewer, settle

    viewer, _ = open_viewer(dock=False)
    image, mask = _coins()
    viewer.add_image(image, name="coins")
    viewer.add_labels(mask, name="coin mask", opacity=0.35, **_look_of_coins())
    right = image.shape[1] - 3
    shapes = viewer.add_shapes(
        [[[top, 2], [top, right], [bottom, right], [bottom, 2]] for top, bottom in ROWS_OF_COINS],
        name="rows of coins",
        features={"name": [f"row {number}" for number in range(1, len(ROWS_OF_COINS) + 1)]},
        edge_color="white",
        face_color="transparent",
    )
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Measure labels")
    settle(1)
    dock.regions.setCurrentIndex(dock.regions.findData(shapes))
    dock.measure.click()
    _finish(dock, "the coins are measured")
    _widen(viewer, dock)
    table = dock.tables.tables["objects"]
    heads = [table.frame.headerData(i, Qt.Orientation.Horizontal) for i in range(table.frame.columnCount())]
    table.sortByColumn(heads.index("pixels"), Qt.SortOrder.DescendingOrder)
    table.selectRow(CHOSEN)
    # The status bar shows the numbers of the coin under the mouse: it is the one in the middle now.
    viewer.cursor.position = viewer.scene.camera.center[-2:]
    _photograph_as_it_is(viewer, IMAGES / "measure.png")
    close(viewer)


def _photograph_evaluation() -> None:
    """Compare a network, which learned strokes, and a threshold with the reference mask."""
    import tifffile

    from napari_segnet._screenshot import PLUGIN, close, open_viewer, settle
    from napari_segnet.demo import run_demo
    from napari_segnet.measure import pre_annotate

    image, truth = _coins()
    with tempfile.TemporaryDirectory() as folder:
        demo = run_demo(Path(folder) / "demo", viewer=False, minutes=MINUTES)
        network = (tifffile.imread(demo.labels) == COIN).astype("uint8")
    viewer, _ = open_viewer(dock=False)
    viewer.add_image(image, name="coins")
    for name, labels in (("network", network), ("threshold", pre_annotate(image, "otsu")), ("truth", truth)):
        viewer.add_labels(labels, name=name, opacity=0.35, **_look_of_coins())
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Evaluate labels")
    settle(1)
    dock.choose_truth(viewer.layers["truth"])
    dock.choose_predictions([viewer.layers["network"], viewer.layers["threshold"]])
    dock.evaluate.click()
    _finish(dock, "the predictions are compared")
    _widen(viewer, dock)
    dock.tables.tables["images"].selectRow(1)
    _photograph_as_it_is(viewer, IMAGES / "evaluate.png")
    close(viewer)


def _photograph_suggestion() -> None:
    """Have Canny's method suggest labels of the coins."""
    from napari_segnet._screenshot import PLUGIN, close, open_viewer, photograph, settle

    viewer, _ = open_viewer(dock=False)
    viewer.add_image(_coins()[0], name="coins")
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Suggest labels")
    settle(1)
    dock.method.setCurrentIndex(dock.method.findData("canny"))
    dock.method.activated.emit(dock.method.currentIndex())
    dock.forms["canny"].controls["minimum_pixels"].setValue(100)
    dock.suggest.click()
    _finish(dock, "labels are suggested")
    photograph(viewer, IMAGES / "suggest.png")
    close(viewer)


def _coins() -> tuple[Any, Any]:
    """Return the coins, and their reference mask with background 0 and coins 1."""
    from napari_segnet.samples import load_sample

    image, _, reference = load_sample("coins")
    return image, (reference == COIN).astype("uint8")


def _look_of_coins() -> dict[str, Any]:
    from napari_segnet._looks import class_look
    from napari_segnet.config import LabelClass
    from napari_segnet.data.labels import PALETTE

    return class_look([LabelClass(value=1, name="coin", colour=PALETTE[1])])


def _widen(viewer: Any, dock: Any) -> None:
    """Give a dock room for the columns of its tables, as one does with the mouse, and see the whole image again."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDockWidget

    from napari_segnet._screenshot import settle

    holder = dock.parent()
    while not isinstance(holder, QDockWidget):
        holder = holder.parent()
    holder.parent().resizeDocks([holder], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    settle(1)
    viewer.reset_view()
    settle(0.5)


def _photograph_as_it_is(viewer: Any, path: Path) -> None:
    """Write a picture of the window with the view where a click brought it."""
    import imageio.v3 as iio

    from napari_segnet._screenshot import settle

    settle(1)
    iio.imwrite(path, viewer.screenshot(canvas_only=False, flash=False)[..., :3])


def _has(viewer: Any, name: str) -> bool:
    return any(layer.name.startswith(name) for layer in viewer.layers)


def _wait(until: Callable[[], bool], session: Any, what: str) -> None:
    _wait_and_tell(until, lambda: session.sentence, what)


def _finish(dock: Any, what: str) -> None:
    _wait_and_tell(lambda: not dock.busy, dock.status.text, what)


def _wait_and_tell(until: Callable[[], bool], sentence: Callable[[], str], what: str) -> None:
    from napari_segnet._screenshot import settle

    settle(PATIENCE, until)
    if not until():
        sys.exit(f"error: waited {PATIENCE} s until {what}; the dock says: {sentence()}")
    print(f"screenshots: {what}")


SCENES: dict[str, Callable[[], None]] = {
    "learning": _photograph_learning,
    "measure": _photograph_measuring,
    "evaluate": _photograph_evaluation,
    "suggest": _photograph_suggestion,
}


if __name__ == "__main__":
    main()
