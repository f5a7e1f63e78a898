"""The dock: its sections from top to bottom, and its beginning and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_segnet._widgets import parts, recovery, shortcuts
from napari_segnet._widgets.class_table import ClassTable
from napari_segnet._widgets.client import WORKER
from napari_segnet._widgets.data_section import DataSection
from napari_segnet._widgets.predict_section import PredictSection
from napari_segnet._widgets.session import Session
from napari_segnet._widgets.sessions import session_of
from napari_segnet._widgets.train_section import TrainSection

if TYPE_CHECKING:
    import napari

_REFRESH_MS = 30


class SegmentationDock(QWidget):
    """Paint, train, predict: the plugin's one dock.

    Parameters
    ----------
    napari_viewer : napari viewer
    command : sequence of str
        How the worker is started.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, command: Sequence[str] = WORKER) -> None:
        super().__init__()
        self.setObjectName("napari-segnet")
        self.session: Session = session_of(napari_viewer, command)
        self._end = self.session.attach()
        self.offer = _Offer(self.session)
        self.data = DataSection(self.session)
        self.classes = ClassTable(self.session)
        self.train = TrainSection(self.session)
        self.predict = PredictSection(self.session)
        inner = QWidget()
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(4, 0, 6, 4)
        layout.setSpacing(2)
        for part in (self.offer, self.data, self.classes, self.train, self.predict):
            layout.addWidget(part)
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(372)
        # Many changes of one turn of the event loop are shown once.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_REFRESH_MS)
        self._soon.timeout.connect(self.refresh)
        self.session.changed.connect(self._refresh_soon)
        self.destroyed.connect(self._end)
        self._docked = False
        self._bind_shortcuts()
        self.refresh()
        # The worker and the look at old runs wait until the dock is on the screen.
        QTimer.singleShot(0, self.session.begin)

    def refresh(self) -> None:
        """Show what the session holds."""
        for part in (self.offer, self.data, self.classes, self.train, self.predict):
            part.refresh()

    def _refresh_soon(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _bind_shortcuts(self) -> None:
        session = self.session
        for name, section, function in (
            ("train", self.train, session.train),
            ("predict", self.predict, session.predict),
        ):
            key = shortcuts.bind(session.viewer, name, shortcuts.wanted_key(name), function)
            section.set_shortcut(key)

    def event(self, event: QEvent) -> bool:
        """Notice when napari closes the dock: it takes the widget out and sends no closeEvent."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self._docked = False
                self._end()
        return bool(super().event(event))


class _Offer(QFrame):
    """The banner that offers an interrupted run."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.setStyleSheet(f"_Offer {{ border: 1px solid {parts.WARNING}; border-radius: 3px; }}")
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.resume = parts.button(
            "Resume",
            "Bring its images and strokes back, and go on learning from its last checkpoint.",
            lambda: session.restore(resume=True),
        )
        self.restore = parts.button(
            "Only the strokes",
            "Bring its images and strokes back as layers, and learn nothing.",
            lambda: session.restore(resume=False),
        )
        self.dismiss = parts.button(
            "Not now", "Don't offer this run again. Its folder stays on disk.", session.offers.dismiss
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addWidget(self.words)
        layout.addLayout(parts.row(self.resume, self.restore, self.dismiss))

    def refresh(self) -> None:
        """Show the run that is offered, or nothing."""
        run = self._session.offers.run
        self.setVisible(run is not None and not self._session.busy)
        if run is not None:
            self.words.setText(recovery.in_words(run))
