"""The commands of the manifest: napari calls these for the plugin's widget and menu entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari

    from napari_segnet._widgets.dock import SegmentationDock

PLUGIN, WIDGET = "napari-segnet", "Paint, train, predict"


def open_dock(viewer: napari.viewer.Viewer) -> SegmentationDock:
    """Show the dock in a viewer; the one that is there is raised.

    Parameters
    ----------
    viewer : napari viewer

    Returns
    -------
    SegmentationDock
    """
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    dock.show()
    dock.raise_()
    made: SegmentationDock = widget
    return made


def new_strokes(viewer: napari.viewer.Viewer) -> None:
    """Make an empty labels layer on the chosen image, and pick up the brush."""
    open_dock(viewer).session.data.new_labels()


def shapes_to_labels(viewer: napari.viewer.Viewer) -> None:
    """Draw the shapes of the active layer as labels of the image below them."""
    from napari_segnet._shapes import shapes_to_labels as draw

    draw(viewer)


def load_files(viewer: napari.viewer.Viewer) -> None:
    """Ask for images and masks, and put their pairs into the list of the dock."""
    open_dock(viewer).data.ask_for_files()


def train(viewer: napari.viewer.Viewer) -> None:
    """Learn what is painted."""
    open_dock(viewer).session.train()


def predict(viewer: napari.viewer.Viewer) -> None:
    """Apply the model to the chosen image."""
    open_dock(viewer).session.predict()
