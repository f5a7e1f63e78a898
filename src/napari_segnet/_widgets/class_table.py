"""The class table of the dock: name, colour, weight and painted pixels of each class."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QSignalBlocker, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QColorDialog, QHeaderView, QTableWidget, QTableWidgetItem, QToolButton

from napari_segnet._widgets import parts
from napari_segnet._widgets.session import Session
from napari_segnet.config import LabelClass
from napari_segnet.errors import SegNetError

_COLOUR, _NAME, _WEIGHT, _PAINTED = range(4)
_ROW_HEIGHT = 22
_MOST_ROWS_SHOWN = 5


class ClassTable(parts.Section):
    """A row a class; clicking a row picks the class in the labels layer."""

    def __init__(self, session: Session) -> None:
        super().__init__("Classes")
        self._session = session
        self.table = QTableWidget(0, 4)
        self.table.setHorizontalHeaderLabels(["", "Class", "Weight", "Painted"])
        tips = (
            "Colour of the class, in your labels and in the predictions. Click to change it.",
            "Name of the class; it travels inside the model. Double-click to change it.",
            "How much a pixel of this class counts in learning. Raise it for a class that gets lost.",
            "Pixels painted so far. Classes learn best with comparable amounts.",
        )
        for column, tip in enumerate(tips):
            self.table.horizontalHeaderItem(column).setToolTip(tip)
        self.table.setToolTip("Click a class to paint it. Double-click its name or weight to change it.")
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setFixedHeight(_ROW_HEIGHT)
        for column, width in ((_COLOUR, 30), (_WEIGHT, 58), (_PAINTED, 76)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            self.table.setColumnWidth(column, width)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.cellClicked.connect(self._clicked)
        self.table.itemChanged.connect(self._edited)
        self.body.addWidget(self.table)
        self.add = parts.button("Add class", "Add a class, and pick it in the labels layer.", self._add)
        self.remove = parts.button(
            "Remove", "Take the selected class off the table, if none of it is painted.", self._remove
        )
        self.body.addLayout(parts.row(self.add, self.remove))
        self._shown: tuple[LabelClass, ...] | None = None

    def refresh(self) -> None:
        """Show the classes of the session; cells keep their place while only the counts change."""
        data = self._session.data
        objects = data.meaning.task == "instances"
        with QSignalBlocker(self.table):
            if self._shown != data.classes:
                self._shown = data.classes
                self.table.setRowCount(len(data.classes))
                for row, label_class in enumerate(data.classes):
                    self._fill(row, label_class)
                rows = min(max(len(data.classes), 2), _MOST_ROWS_SHOWN)
                self.table.setFixedHeight((rows + 1) * _ROW_HEIGHT + 4)
            for row, label_class in enumerate(data.classes):
                item = self.table.item(row, _PAINTED)
                text = f"{self._painted(label_class):,}"
                if item.text() != text:
                    item.setText(text)
            self._select(data.labels.selected_label if data.labels is not None else -1)
        self.add.setEnabled(not objects and bool(data.images))
        self.remove.setEnabled(not objects and bool(data.classes))

    def _fill(self, row: int, label_class: LabelClass) -> None:
        button = QToolButton()
        button.setToolTip(f"Colour of {label_class.name}. Click to change it.")
        pixels = QPixmap(QSize(14, 14))
        pixels.fill(QColor(label_class.colour))
        button.setIcon(QIcon(pixels))
        button.setAutoRaise(True)
        button.clicked.connect(partial(self._ask_colour, label_class.value))
        self.table.setCellWidget(row, _COLOUR, button)
        for column, text in ((_NAME, label_class.name), (_WEIGHT, f"{label_class.weight:g}"), (_PAINTED, "")):
            item = QTableWidgetItem(text)
            if column == _PAINTED:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            if column != _NAME:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.setItem(row, column, item)

    def _painted(self, label_class: LabelClass) -> int:
        data = self._session.data
        if data.meaning.task == "instances" and label_class is data.classes[-1]:
            # All numbered objects are one class.
            return sum(number for value, number in data.counts.items() if value >= label_class.value)
        return data.counts.get(label_class.value, 0)

    def _select(self, value: int) -> None:
        for row, label_class in enumerate(self._shown or ()):
            if label_class.value == value:
                self.table.setCurrentCell(row, _NAME)
                return
        self.table.clearSelection()

    def _value(self, row: int) -> int:
        return self._session.data.classes[row].value

    def _clicked(self, row: int, _column: int) -> None:
        if self._session.data.meaning.task == "semantic":
            self._session.data.pick(self._value(row))

    def _edited(self, item: QTableWidgetItem) -> None:
        text = item.text().strip()
        try:
            if item.column() == _NAME:
                self._session.data.set_class(self._value(item.row()), name=text)
            elif item.column() == _WEIGHT:
                self._session.data.set_class(self._value(item.row()), weight=text.replace(",", "."))
        except SegNetError as error:
            self._shown = None
            self._session.tell(error)

    def _ask_colour(self, value: int, _checked: bool = False) -> None:
        now = next(c.colour for c in self._session.data.classes if c.value == value)
        chosen = QColorDialog.getColor(QColor(now), self, "Colour of the class")
        if chosen.isValid():
            self._session.data.set_class(value, colour=chosen.name())

    def _add(self) -> None:
        self._session.data.add_class()

    def _remove(self) -> None:
        row = self.table.currentRow()
        if row < 0:
            return
        try:
            self._session.data.remove_class(self._value(row))
        except SegNetError as error:
            self._session.tell(error)
