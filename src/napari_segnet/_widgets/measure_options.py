"""The folded part of the Measure dock: which objects count, and the circle of a hemispherical photograph."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLabel, QSpinBox, QVBoxLayout, QWidget

from napari_segnet._widgets import parts

_PROJECTIONS = [(name, name) for name in ("equidistant", "equisolid", "stereographic")]


class MeasureOptionsForm(QWidget):
    """Options that are left alone mostly; `values` gives them as the worker takes them."""

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 0, 0, 0)
        layout.setSpacing(parts.GAP)
        self.smallest = QSpinBox()
        self.smallest.setRange(0, 1_000_000_000)
        self.smallest.setSuffix(" pixels")
        self.smallest.setToolTip("Smaller objects are left out.")
        self.border = _check("Not at the border", "Leave out objects that touch the edge of the image.")
        self.holes = _check("Fill holes", "Count pixels that an object encloses as its own.")
        layout.addLayout(parts.row(QLabel("At least"), self.smallest, stretch=1))
        layout.addLayout(parts.row(self.border, self.holes))
        self.circle = _check(
            "Circle of a hemispherical photograph",
            "Cover is counted in the largest circle that fits the image, with the zenith in its centre.",
        )
        layout.addWidget(self.circle)
        self._angles = QWidget()
        grid = parts.form()
        self._angles.setLayout(grid)
        self.zenith = _angle(90, "Count pixels up to this angle from the zenith.", 0.5, 179)
        self.view = _angle(180, "Angle that the whole circle shows.", 1, 359)
        self.rings = QSpinBox()
        self.rings.setRange(1, 90)
        self.rings.setToolTip("Rings of equal width in angle, each with rows of its own.")
        self.projection = parts.combo("How the lens maps angles to distances.", lambda _value: None, _PROJECTIONS)
        self.projection.setCurrentIndex(0)
        self.sky = _check("Weigh by the part of the sky", "Fractions are of the sky that pixels show, not of pixels.")
        self.rings.setMinimumWidth(90)
        for row, (title, widgets) in enumerate(
            (
                ("Up to", (self.zenith, QLabel("of"), self.view)),
                ("Rings", (self.rings,)),
                ("Lens", (self.projection,)),
                ("", (self.sky,)),
            )
        ):
            grid.addWidget(QLabel(title), row, 0)
            grid.addLayout(parts.row(*widgets, stretch=0), row, 1)
        layout.addWidget(self._angles)
        self.circle.toggled.connect(self._angles.setVisible)
        self._angles.hide()

    def values(self) -> dict[str, Any]:
        """Return ``objects`` and ``circle`` of `napari_segnet.measure.options.MeasureOptions`."""
        found: dict[str, Any] = {
            "objects": {
                "minimum_pixels": self.smallest.value(),
                "exclude_border": self.border.isChecked(),
                "fill_holes": self.holes.isChecked(),
            }
        }
        if self.circle.isChecked():
            found["circle"] = {
                "field_of_view": self.view.value(),
                "zenith": [0.0, min(self.zenith.value(), self.view.value() / 2)],
                "rings": self.rings.value(),
                "projection": self.projection.currentData(),
                "weights": "solid-angle" if self.sky.isChecked() else "pixels",
            }
        return found


def _check(text: str, tip: str) -> QCheckBox:
    made = QCheckBox(text)
    made.setToolTip(tip)
    return made


def _angle(value: float, tip: str, least: float, most: float) -> QDoubleSpinBox:
    made = QDoubleSpinBox()
    made.setRange(least, most)
    made.setDecimals(1)
    made.setSuffix("°")
    made.setMinimumWidth(90)
    made.setValue(value)
    made.setToolTip(tip)
    return made
