"""Make the pictures of the documentation from the real viewer: strokes, learning, the finished prediction.

Usage: ``make screenshots``, or ``python docs/screenshots.py`` where there is a display. Takes about two minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parent / "images"
MINUTES = 0.85
PATIENCE = 240


def main() -> None:
    """Do what the tutorial tells, and take a picture at each stage."""
    with tempfile.TemporaryDirectory() as home:
        # Runs of the one who makes the pictures are not offered in them, nor do new ones stay.
        os.environ["NAPARI_SEGNET_HOME"] = home
        _photograph_all()


def _photograph_all() -> None:
    from napari_segnet._screenshot import PLUGIN, close, open_viewer, photograph, settle

    IMAGES.mkdir(exist_ok=True)
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


def _has(viewer: Any, name: str) -> bool:
    return any(layer.name.startswith(name) for layer in viewer.layers)


def _wait(until: Callable[[], bool], session: Any, what: str) -> None:
    from napari_segnet._screenshot import settle

    settle(PATIENCE, until)
    if not until():
        sys.exit(f"error: waited {PATIENCE} s until {what}; the dock says: {session.sentence}")
    print(f"screenshots: {what}")


if __name__ == "__main__":
    main()
