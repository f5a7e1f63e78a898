"""Small pieces that the sections of the dock are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QFont, QWheelEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

GAP = 4
WARNING = "#d9a441"
ERROR = "#e0635a"
QUIET = "rgba(140, 145, 155, 1)"


class Section(QFrame):
    """A titled part of the dock; `body` is where its widgets go."""

    def __init__(self, title: str) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 2)
        layout.setSpacing(GAP)
        layout.addWidget(heading(title))
        self.body = QVBoxLayout()
        self.body.setContentsMargins(2, 0, 2, 0)
        self.body.setSpacing(GAP)
        layout.addLayout(self.body)


def heading(text: str) -> QWidget:
    """Return a title with a thin line to its right."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 4, 0, 0)
    layout.setSpacing(6)
    label = QLabel(text)
    font = QFont(label.font())
    font.setBold(True)
    label.setFont(font)
    label.setStyleSheet("font-weight: bold;")
    line = QFrame()
    line.setFixedHeight(1)
    line.setStyleSheet(f"background-color: {QUIET};")
    line.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    layout.addWidget(label)
    layout.addWidget(line, 1)
    return row


def words(text: str = "", colour: str = QUIET) -> QLabel:
    """Return a small, wrapped line of text; it takes no room while it is empty."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setStyleSheet(f"color: {colour}; font-size: 11px;")
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    # Qt reckons the least height of wrapped text at its least width: that must not be a few pixels.
    label.setMinimumWidth(300)
    label.setVisible(bool(text))
    return label


def say(label: QLabel, text: str, colour: str | None = None) -> None:
    """Change a `words` label; it hides while it is empty."""
    if label.text() != text:
        label.setText(text)
    if colour is not None:
        sheet = f"color: {colour}; font-size: 11px;"
        if label.styleSheet() != sheet:
            label.setStyleSheet(sheet)
    label.setVisible(bool(text))


def stand_out(control: QPushButton) -> None:
    """Show that a button is what its dock is for."""
    control.setStyleSheet("font-weight: bold;")
    control.setMinimumHeight(28)


def button(text: str, tip: str, clicked: Callable[[], Any]) -> QPushButton:
    """Return a push button with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda _checked=False: clicked())
    return made


def fold(text: str, tip: str, body: QWidget) -> QToolButton:
    """Return a button with an arrow that shows and hides `body`, which is hidden at first."""
    made = QToolButton()
    made.setText(text)
    made.setToolTip(tip)
    made.setCheckable(True)
    made.setAutoRaise(True)
    made.setArrowType(Qt.ArrowType.RightArrow)
    made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)

    def turn(on: bool) -> None:
        made.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        body.setVisible(on)

    made.toggled.connect(turn)
    body.hide()
    return made


class _Box(QComboBox):
    """A combo box that leaves the wheel to the dock, which scrolls: nobody changes a choice in passing."""

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 - Qt's name
        """Pass the wheel on."""
        event.ignore()


def combo(tip: str, chosen: Callable[[Any], Any], items: Iterable[tuple[str, Any]] = ()) -> QComboBox:
    """Return a combo box that calls `chosen` with the data of what the user picks."""
    made = _Box()
    made.setToolTip(tip)
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    made.setMinimumContentsLength(4)
    made.setMinimumWidth(70)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    fill(made, items, None)
    made.activated.connect(lambda index: chosen(made.itemData(index)))
    return made


def fill(box: QComboBox, items: Iterable[tuple[str, Any]], current: Any) -> None:
    """Show other items in a combo box without telling anybody; `current` is the data of the chosen one."""
    items = list(items)
    now = [(box.itemText(i), box.itemData(i)) for i in range(box.count())]
    with QSignalBlocker(box):
        if [t for t, _ in now] != [t for t, _ in items] or any(
            a is not b and a != b for (_, a), (_, b) in zip(now, items, strict=True)
        ):
            box.clear()
            for text, data in items:
                box.addItem(text, data)
        index = next((i for i, (_, data) in enumerate(items) if data is current or data == current), -1)
        box.setCurrentIndex(index)


def form() -> QGridLayout:
    """Return a grid for rows of a label and its controls."""
    grid = QGridLayout()
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(6)
    grid.setVerticalSpacing(GAP)
    grid.setColumnStretch(1, 1)
    return grid


def row(*widgets: QWidget, stretch: int | None = None) -> QHBoxLayout:
    """Return widgets side by side; `stretch` is the index of the one that takes the room."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(GAP)
    for index, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if index == stretch else 0)
    return layout
