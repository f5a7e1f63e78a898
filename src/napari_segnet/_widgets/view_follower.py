"""Tells the worker what is on the canvas, so that previews show just that."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_segnet import _layers
from napari_segnet._widgets.answers import Answers
from napari_segnet._widgets.client import WorkerClient
from napari_segnet._widgets.data_choice import DataChoice

_WAIT_MS = 300
_NOTHING: dict[str, Any] = {"pair": None, "plane": 0, "origin": [0, 0], "shape": [0, 0]}


class ViewFollower(QObject):
    """Sends the command ``view`` when the camera or the sliders have moved, while `wanted` says so.

    Parameters
    ----------
    viewer : napari viewer
        Held weakly.
    client : WorkerClient
    data : DataChoice
    answers : Answers
    wanted : callable
        Whether a training is going on.
    """

    def __init__(
        self,
        viewer: Any,
        client: WorkerClient,
        data: DataChoice,
        answers: Answers,
        wanted: Callable[[], bool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = weakref.ref(viewer)
        self._client, self._data, self._answers, self._wanted = client, data, answers, wanted
        self._sent: dict[str, Any] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_WAIT_MS)
        self._timer.timeout.connect(self.send)
        for event in (
            viewer.scene.camera.events.zoom,
            viewer.scene.camera.events.center,
            viewer.dims.events.current_step,
        ):
            event.connect(self.soon)

    def soon(self, _event: Any = None) -> None:
        """Send the view in a moment; many movements make one command."""
        if self._wanted() and not self._timer.isActive():
            self._timer.start()

    def restart(self) -> None:
        """Send the view again to a worker that doesn't know it."""
        self._sent = None
        self.send()

    def stop(self) -> None:
        """Send nothing more."""
        self._timer.stop()

    def send(self) -> None:
        """Send the view if it has changed."""
        if not self._wanted():
            return
        view = self._view() or _NOTHING
        if view != self._sent:
            self._sent = view
            self._client.send("view", **view)

    def _view(self) -> dict[str, Any] | None:
        viewer, images = self._viewer(), self._data.images
        found = self._answers.name_of(images[0]) if images else None
        if viewer is None or found is None or images[0] not in viewer.layers:
            return None
        name, axes = found
        plane, origin, shape = _layers.view_of(viewer, images[0], axes)
        return {"pair": name, "plane": plane, "origin": list(origin), "shape": list(shape)}
