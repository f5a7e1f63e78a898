"""Looks for a run that was interrupted, and holds the one that is offered to the user."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer, Signal

from napari_segnet._widgets import recovery
from napari_segnet.errors import SegNetError
from napari_segnet.run import RunFolder, home

_LOOK_AGAIN_MS = 7000


class Offers(QObject):
    """At most one interrupted run.

    Parameters
    ----------
    wanted : callable
        Whether an offer would be welcome now.
    """

    changed = Signal()

    def __init__(self, wanted: Callable[[], bool], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted = wanted
        self.run: RunFolder | None = None
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(_LOOK_AGAIN_MS)
        self._again.timeout.connect(self._look)

    def look(self) -> None:
        """Look now, and once more in a while: the worker of a dock just closed may still be saving its run."""
        self._look()
        self._again.start()

    def stop(self) -> None:
        """Look no more."""
        self._again.stop()
        self.run = None

    def take(self) -> RunFolder | None:
        """Return the run that is offered; from now on it isn't."""
        run, self.run = self.run, None
        self.changed.emit()
        return run

    def dismiss(self) -> None:
        """Never offer that run again."""
        run = self.take()
        if run is not None:
            recovery.dismiss(run)

    def _look(self) -> None:
        if not self._wanted() or self.run is not None:
            return
        try:
            self.run = recovery.interrupted_run(home())
        except (OSError, SegNetError):
            self.run = None
        if self.run is not None:
            self.changed.emit()
