"""A table of a hundred thousand rows in the dock: sorted by a click on a column, told which row is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QMouseEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

if TYPE_CHECKING:
    import pandas as pd

_ROW_HEIGHT, _WIDEST, _LOOKED_AT = 20, 180, 60
_NOWHERE = QModelIndex()


class FrameModel(QAbstractTableModel):
    """A pandas table as Qt wants it, in an order of its own.

    Parameters
    ----------
    parent : QObject, optional
        The owner.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._columns: list[NDArray[Any]] = []
        self._names: list[str] = []
        self._tips: Mapping[str, str] = {}
        self._order: NDArray[np.int64] = np.arange(0)
        self._sorted: tuple[int, Qt.SortOrder] | None = None

    def set_frame(self, frame: pd.DataFrame | None, tips: Mapping[str, str] | None = None) -> None:
        """Show another table; `tips` explains columns. It is sorted as before, if it has that column."""
        self.beginResetModel()
        by = self._names[self._sorted[0]] if self._sorted is not None else None
        self._names = [] if frame is None else [str(name) for name in frame.columns]
        self._columns = [] if frame is None else [frame.iloc[:, i].to_numpy() for i in range(len(self._names))]
        self._tips = tips or {}
        self._order = np.arange(0 if frame is None else len(frame))
        if self._sorted is not None and by in self._names:
            self._sorted = self._names.index(by), self._sorted[1]
            self._order = _sorted_rows(self._columns[self._sorted[0]], self._sorted[1])
        else:
            self._sorted = None
        self.endResetModel()

    def row_at(self, place: int) -> int:
        """Return which row of the table is at a place on the screen."""
        return int(self._order[place])

    def place_of(self, row: int) -> int:
        """Return at which place on the screen a row of the table is."""
        return int(np.flatnonzero(self._order == row)[0])

    def value(self, place: int, column: int) -> Any:
        """Return the value of a cell, which shows fewer digits of it."""
        return self._columns[column][self._order[place]]

    # Qt's own names.

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """Return the number of rows."""
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self._names)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what Qt asks for of a cell."""
        if not index.isValid():
            return None
        value = self.value(index.row(), index.column())
        if role == Qt.ItemDataRole.DisplayRole:
            return _in_words(value)
        if role == Qt.ItemDataRole.ToolTipRole and isinstance(value, float | np.floating | str):
            return str(value)  # more digits, or more of a text, than the cell shows
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if isinstance(value, str) else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: N802
        """Return the name of a column, or what it means."""
        if orientation == Qt.Orientation.Vertical or section >= len(self._names):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._names[section].replace("_", " ")
        return self._tips.get(self._names[section]) if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; rows without a number come last. -1: the order of the table."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        rows = [int(self._order[index.row()]) for index in before]
        if 0 <= column < len(self._columns):
            self._sorted = column, order
            self._order = _sorted_rows(self._columns[column], order)
        else:
            self._sorted, self._order = None, np.arange(len(self._order))
        places = np.empty_like(self._order)
        places[self._order] = np.arange(len(self._order))
        moved = [self.index(int(places[row]), index.column()) for row, index in zip(rows, before, strict=True)]
        self.changePersistentIndexList(before, moved)
        self.layoutChanged.emit()


class FrameTable(QTableView):
    """Shows a table, and tells which row is chosen.

    Parameters
    ----------
    tip : str
    parent : QWidget, optional
    """

    row_chosen = Signal(int)
    """A row of the table, wherever it is on the screen."""

    def __init__(self, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.frame = FrameModel(self)
        self.setModel(self.frame)
        self.setToolTip(tip)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self.horizontalHeader().setResizeContentsPrecision(_LOOKED_AT)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        self.selectionModel().currentRowChanged.connect(self._on_current)
        self.clicked.connect(self._on_clicked)
        self._told = False

    def show_frame(self, frame: pd.DataFrame | None, tips: Mapping[str, str] | None = None) -> None:
        """Show another table; nothing is chosen in it."""
        self.frame.set_frame(frame, tips)
        self.resizeColumnsToContents()
        for column in range(self.frame.columnCount()):
            self.setColumnWidth(column, min(self.columnWidth(column), _WIDEST))

    def choose(self, row: int) -> None:
        """Choose a row without telling anybody, and make it visible."""
        index = self.frame.index(self.frame.place_of(row), 0)
        flags = QItemSelectionModel.SelectionFlag
        with QSignalBlocker(self):
            # Not selectRow(): with Shift or Ctrl held down it would add to what is chosen.
            self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self.scrollTo(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Copy the selected rows with their heads, as a spreadsheet takes them."""
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.selected_text())
        else:
            super().keyPressEvent(event)

    def selected_text(self) -> str:
        """Return the selected rows: tabs between columns, a line a row, heads first."""
        columns = range(self.frame.columnCount())
        places = sorted(index.row() for index in self.selectionModel().selectedRows())
        heads = [self.frame.headerData(column, Qt.Orientation.Horizontal) for column in columns]
        rows = [[str(self.frame.value(place, column)) for column in columns] for place in places]
        return "".join("\t".join(row) + "\n" for row in [heads, *rows])

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Notice whether the click chooses another row."""
        self._told = False
        super().mousePressEvent(event)

    def _on_current(self, index: QModelIndex) -> None:
        if index.isValid():
            self._told = True
            self.row_chosen.emit(self.frame.row_at(index.row()))

    def _on_clicked(self, index: QModelIndex) -> None:
        # A click on the row that is chosen already: the view may have moved on since.
        if not self._told:
            self.row_chosen.emit(self.frame.row_at(index.row()))


def _sorted_rows(column: NDArray[Any], order: Qt.SortOrder) -> NDArray[np.int64]:
    """Return the rows in order, equal ones as they were; those without a value last."""
    if column.dtype.kind == "O":
        values: NDArray[Any] = np.array([str(value) for value in column], dtype=np.str_)
        missing = values == ""
    else:
        values = column
        missing = np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)
    _, ranks = np.unique(values, return_inverse=True)
    ranks = ranks.reshape(-1) if order == Qt.SortOrder.AscendingOrder else -ranks.reshape(-1)
    found: NDArray[np.int64] = np.lexsort((ranks, missing))
    return found


def _in_words(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.5g}"
    return str(value)
