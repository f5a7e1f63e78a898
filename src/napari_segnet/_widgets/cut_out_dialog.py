"""The dialog of the Cut out button: on what, how softly, as one picture or one an object, and where to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_segnet._widgets import parts
from napari_segnet._widgets.path_field import PathField

_COLOUR, _PICTURE = "?colour", "?picture"
_HINT = "Written as PNG: transparent ones with an alpha channel. Crops come with a table of where they were."


class CutOutDialog(QDialog):
    """Asks how objects are cut out; `values` and `into` hold what was chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Cut out")
        self.into: Path | None = None
        self._chosen = "transparent"
        grid = QGridLayout()
        self.background = parts.combo("What lies behind the objects.", self._choose, self._items())
        self.background.setCurrentIndex(0)
        self.feather = QDoubleSpinBox()
        self.feather.setRange(0, 500)
        self.feather.setValue(2)
        self.feather.setSuffix(" pixels")
        self.feather.setToolTip("Width of the soft edge.")
        self.shrink = QDoubleSpinBox()
        self.shrink.setRange(-500, 500)
        self.shrink.setSuffix(" pixels")
        self.shrink.setToolTip("Move the edge inwards, against fringes of the old background; below 0: outwards.")
        self.margin = QSpinBox()
        self.margin.setRange(0, 10_000)
        self.margin.setSuffix(" pixels")
        self.margin.setToolTip("Room around each object in a picture of its own.")
        self.crops = QCheckBox("A picture an object")
        self.crops.setToolTip("Each object becomes a picture of its own, as large as it is.")
        self.crops.toggled.connect(self.margin.setEnabled)
        self.margin.setEnabled(False)
        for row, (title, control) in enumerate(
            (
                ("Background", self.background),
                ("Soft edge", self.feather),
                ("Edge inwards by", self.shrink),
                ("", self.crops),
                ("Margin", self.margin),
            )
        ):
            grid.addWidget(QLabel(title), row, 0)
            grid.addWidget(control, row, 1)
        self.target = PathField("pictures", grid, title="Into", files=False)
        self.target.changed.connect(self._look)
        self.message = parts.words(_HINT)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._ok = buttons.button(QDialogButtonBox.StandardButton.Ok)
        self._ok.setText("Cut out")
        self._ok.setToolTip("Write the pictures. You can go on meanwhile.")
        layout = QVBoxLayout(self)
        layout.addLayout(grid)
        layout.addWidget(self.message)
        layout.addWidget(buttons)
        self.resize(520, 260)
        self._look()

    def values(self) -> dict[str, Any]:
        """Return the fields of `napari_segnet.measure.options.CutOutOptions`."""
        return {
            "background": self._chosen,
            "feather": self.feather.value(),
            "shrink": self.shrink.value(),
            "margin": self.margin.value() if self.crops.isChecked() else 0,
        }

    def choose_background(self, background: str) -> None:
        """Take transparent, a colour such as white or #ffcc00, or the path of a picture."""
        self._chosen = background
        parts.fill(self.background, self._items(), background)

    def _items(self) -> list[tuple[str, str]]:
        items = [(name, name) for name in ("transparent", "white", "black")]
        if self._chosen not in ("transparent", "white", "black"):
            items.append((Path(self._chosen).name, self._chosen))
        return [*items, ("a colour ...", _COLOUR), ("a picture ...", _PICTURE)]

    def _choose(self, value: str) -> None:
        if value == _COLOUR:
            colour = QColorDialog.getColor(QColor("white"), self, "Colour behind the objects")
            value = colour.name() if colour.isValid() else self._chosen
        elif value == _PICTURE:
            chosen, _ = QFileDialog.getOpenFileName(self, "Picture behind the objects")
            value = chosen or self._chosen
        self.choose_background(value)

    def _look(self) -> None:
        self.into = self.target.paths[0] if self.target.paths else None
        if self.into is not None and self.into.exists() and not self.into.is_dir():
            parts.say(self.message, f"{self.into} is a file, not a folder.", parts.ERROR)
            self.into = None
        else:
            parts.say(self.message, _HINT, parts.QUIET)
        self._ok.setEnabled(self.into is not None)
