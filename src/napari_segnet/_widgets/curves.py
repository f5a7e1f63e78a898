"""Live curves: the loss and the Dice on held-out annotation. pyqtgraph is imported at the first training."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QLabel, QStackedLayout, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.progress import Progress

_REDRAW_MS = 400
_WARM_UP_MS = 2500
_LOSS, _VAL_LOSS, _DICE = "#e8833a", "#b8b8b8", "#4aa3df"


class Curves(QWidget):
    """Two axes over the steps: loss on the left, Dice on the right. Redraws a few times a second at most."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip("Loss (left axis) and Dice on annotation that is not learned from (right axis) over the steps.")
        self.setFixedHeight(116)
        self._stack = QStackedLayout(self)
        hint = QLabel("The loss and the validation Dice appear here while it learns.")
        hint.setWordWrap(True)
        hint.setStyleSheet(f"color: {parts.QUIET}; font-size: 11px; padding: 8px;")
        self._stack.addWidget(hint)
        self._plot: Any = None
        self._lines: dict[str, Any] = {}
        self._progress = Progress()
        self._drawn: tuple[int, int] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW_MS)
        self._timer.timeout.connect(self._draw)
        # pyqtgraph takes some tenths of a second to import: neither while the dock opens nor while it learns.
        self._warm = QTimer(self)
        self._warm.setSingleShot(True)
        self._warm.setInterval(_WARM_UP_MS)
        self._warm.timeout.connect(self._warm_up)
        self._warm.start()

    def show_progress(self, progress: Progress) -> None:
        """Draw soon; a burst of calls makes one drawing."""
        self._progress = progress
        if not self._timer.isActive():
            self._timer.start()

    def points(self, name: str) -> int:
        """Return how many points a curve shows: ``"loss"``, ``"val_loss"`` or ``"val_dice"``."""
        line = self._lines.get(name)
        xs = line.getData()[0] if line is not None else None
        return 0 if xs is None else len(xs)

    def _draw(self) -> None:
        progress = self._progress
        if not progress.steps and not progress.rows:
            if self._plot is not None:
                self._stack.setCurrentIndex(0)
            self._drawn = None
            return
        version = (id(progress), progress.version)
        if self._drawn == version or not self.isVisible():
            return
        self._drawn = version
        if self._plot is None:
            self._make_plot()
        self._stack.setCurrentIndex(1)
        self._lines["loss"].setData([x for x, _ in progress.steps], [y for _, y in progress.steps])
        for name in ("val_loss", "val_dice"):
            self._lines[name].setData(*progress.curve(name))

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """Draw what came while the dock was hidden."""
        super().showEvent(event)
        self.show_progress(self._progress)

    def _warm_up(self) -> None:
        if self._plot is not None or not self.isVisible():
            return
        if QGuiApplication.mouseButtons() != Qt.MouseButton.NoButton:
            # She is painting: later.
            self._warm.start()
            return
        self._make_plot()

    def _make_plot(self) -> None:
        import pyqtgraph

        background = self.palette().window().color()
        plot = pyqtgraph.PlotWidget(background=background)
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(False, False)
        plot.hideButtons()
        plot.viewport().setToolTip(self.toolTip())
        item = plot.getPlotItem()
        item.showGrid(x=False, y=True, alpha=0.15)
        item.setLabel("left", "loss", color=_LOSS)
        item.setLabel("right", "Dice", color=_DICE)
        for side in ("left", "right", "bottom"):
            item.getAxis(side).enableAutoSIPrefix(False)
        dice = pyqtgraph.ViewBox(enableMenu=False)
        dice.setMouseEnabled(False, False)
        item.scene().addItem(dice)
        item.getAxis("right").linkToView(dice)
        dice.setXLink(item)
        dice.setYRange(0, 1, padding=0.03)
        item.vb.sigResized.connect(lambda: dice.setGeometry(item.vb.sceneBoundingRect()))
        self._lines["loss"] = item.plot(pen=pyqtgraph.mkPen(_LOSS, width=1))
        self._lines["val_loss"] = item.plot(pen=pyqtgraph.mkPen(_VAL_LOSS, width=1, style=Qt.PenStyle.DashLine))
        self._lines["val_dice"] = pyqtgraph.PlotDataItem(
            pen=pyqtgraph.mkPen(_DICE, width=2), symbol="o", symbolSize=4, symbolBrush=_DICE, symbolPen=None
        )
        dice.addItem(self._lines["val_dice"])
        self._plot = plot
        self._stack.addWidget(plot)
        item.layout.setContentsMargins(0, 2, 0, 0)
