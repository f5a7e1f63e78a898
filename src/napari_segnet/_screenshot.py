"""Photograph a real viewer: ``python -m napari_segnet._screenshot DEMO_FOLDER --out FILE.png``.

Used by the demo, in a process of its own, and by ``docs/screenshots.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import napari
import psutil
import tifffile
from npe2 import PluginManager
from qtpy.QtWidgets import QApplication

from napari_segnet.run import write_atomically
from napari_segnet.samples import SAMPLES

PLUGIN = "napari-segnet"
_SIZE = (1560, 940)
_PATIENCE = 60


def open_viewer(dock: bool = True) -> tuple[Any, Any]:
    """Open a viewer with the dock of the plugin in it.

    Returns
    -------
    viewer : napari.Viewer
    widget : QWidget or None
        The content of the dock.
    """
    viewer = napari.Viewer(title="napari-segnet", show=True)
    viewer.window.resize(*_SIZE)
    widget = None
    if dock:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, widget_name())
    return viewer, widget


def widget_name() -> str:
    """Return the name of the plugin's first widget, as its manifest has it."""
    manager = PluginManager.instance()
    manager.discover()
    widgets = manager.get_manifest(PLUGIN).contributions.widgets or []
    return str(widgets[0].display_name)


def add_demo(viewer: Any, folder: Path) -> None:
    """Add image and strokes of a demo, and what the network made of them.

    Parameters
    ----------
    viewer : napari.Viewer
    folder : Path
        As `napari_segnet.demo.run_demo` leaves it.
    """
    name = next(folder.glob("*.safetensors")).stem
    image, strokes = viewer.open_sample(PLUGIN, name)
    classes = list(SAMPLES[name].classes)
    probabilities = tifffile.imread(folder / f"{name}_probabilities.tif")
    place = {"scale": image.scale, "units": image.units}
    viewer.add_image(
        probabilities[-1],
        name=f"probability {classes[-1]}",
        colormap="magma",
        contrast_limits=(0, 1),
        visible=False,
        **place,
    )
    labels = tifffile.imread(folder / f"{name}.tif")
    viewer.add_labels(labels, name="prediction", opacity=0.35, colormap=strokes.colormap, **place)
    viewer.layers.move(viewer.layers.index(strokes), len(viewer.layers))
    viewer.layers.selection.active = strokes


def settle(seconds: float = 1.0, until: Callable[[], bool] = lambda: False) -> None:
    """Let the viewer draw and its timers run, for some seconds or until something holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.01)


def photograph(viewer: Any, path: Path) -> None:
    """Write a picture of the whole window, as a PNG file."""
    # The canvas gets its size with the first drawing: only then can the view be fitted to it.
    settle(1)
    viewer.reset_view()
    settle(1)
    picture = viewer.screenshot(canvas_only=False, flash=False)
    write_atomically(path, iio.imwrite("<bytes>", picture[..., :3], extension=".png"))


def close(viewer: Any) -> None:
    """Close a viewer, and let the dock end its worker."""
    viewer.close()
    settle(10, lambda: not psutil.Process().children())


def main(arguments: Sequence[str] | None = None) -> None:
    """Open a viewer on a demo folder, photograph it, and leave it open on request."""
    parser = argparse.ArgumentParser(description="Photograph a viewer with the results of a demo.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stay", action="store_true", help="leave the viewer open")
    options = parser.parse_args(arguments)
    viewer, dock = open_viewer()
    add_demo(viewer, options.folder)
    settle(_PATIENCE, lambda: dock.session.phase != "starting")
    # The one who stays can predict at once, and paint and train on.
    dock.session.use_model(next(options.folder.glob("*.safetensors")))
    photograph(viewer, options.out)
    if options.stay:
        napari.run()
    else:
        close(viewer)


if __name__ == "__main__":
    main()
