"""What the docks beside the main one have in common: a job at a time, a sentence, a beginning and an end."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.side_jobs import TABLE_WORKER, SideJob, side_jobs_of
from napari_segnet.errors import SegNetError

_REFRESH_MS = 30


class SideDock(QWidget):
    """A dock whose work is done by the second worker.

    Parameters
    ----------
    viewer : napari viewer
        Held weakly.
    command : sequence of str
        How the worker is started.
    """

    def __init__(self, viewer: Any, command: Sequence[str] = TABLE_WORKER) -> None:
        super().__init__()
        self._viewer = weakref.ref(getattr(viewer, "__wrapped__", viewer))
        self.jobs = side_jobs_of(viewer, command)
        self._end = self.jobs.attach()
        self.destroyed.connect(self._end)
        self._docked = False
        self._followed: weakref.WeakSet[Any] = weakref.WeakSet()
        self._job: SideJob | None = None
        self.status = parts.words()
        self.stop = parts.button("Stop", "Drop what is going on.", self._stop)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(6, 2, 6, 6)
        self.body.setSpacing(parts.GAP)
        self.setMinimumWidth(372)
        # Many changes of one turn of the event loop are shown once.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_REFRESH_MS)
        self._soon.timeout.connect(self.refresh)
        layers = viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.reordered):
            event.connect(self._on_layers)

    @property
    def viewer(self) -> Any:
        """The viewer, None when it is gone."""
        return self._viewer()

    @property
    def busy(self) -> bool:
        """Whether a job of this dock waits or runs."""
        return self._job is not None

    def refresh(self) -> None:
        """Show what there is; docks add to it."""
        self.stop.setVisible(self.busy)

    def follow_names(self, layers: Iterable[Any]) -> None:
        """Show layers anew when they are called otherwise."""
        for layer in layers:
            if layer not in self._followed:
                self._followed.add(layer)
                layer.events.name.connect(self._on_layers)

    def say(self, text: str) -> None:
        """Show a sentence."""
        parts.say(self.status, text, parts.QUIET)

    def tell(self, error: SegNetError) -> None:
        """Show an error."""
        parts.say(self.status, str(error), parts.ERROR)

    def start(
        self,
        command: str,
        words: str,
        prepare: Callable[[Path, dict[str, Any]], Iterator[Any]],
        done: Callable[[Path], None],
    ) -> None:
        """Have the worker do a job, unless another one of this dock is going on.

        Parameters
        ----------
        command : str
            Its kind.
        words : str
            What is going on, such as ``"Measuring"``.
        prepare : callable
            Writes the arrays, see `SideJob`.
        done : callable
            Given the folder with the answers.
        """
        if self.busy:
            return

        def finish(folder: Path) -> None:
            self._job = None
            try:
                done(folder)
            finally:
                self.refresh()

        self._job = SideJob(command, prepare, finish, self._fail, partial(self._progress, words))
        self.say(f"{words} ...")
        self.jobs.run(self._job)
        self.refresh()

    def _progress(self, words: str, share: float) -> None:
        self.say(f"{words} ... {share:.0%}")

    def _fail(self, error: SegNetError) -> None:
        self._job = None
        self.tell(error)
        self.refresh()

    def _stop(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            self.jobs.stop(job)
            self.say("Stopped.")
            self.refresh()

    def _on_layers(self, _event: Any = None) -> None:
        # The last event may come when Qt's part of the dock is gone: the viewer closes it first.
        if self._docked and not self._soon.isActive():
            self._soon.start()

    def event(self, event: QEvent) -> bool:
        """Notice when napari closes the dock: it takes the widget out and sends no closeEvent."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self._docked = False
                self._job = None
                self._end()
        return bool(super().event(event))
