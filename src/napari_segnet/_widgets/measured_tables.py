"""The tables of a measurement, one behind the other, and how they leave the viewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QTabWidget, QVBoxLayout, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.frame_table import FrameTable
from napari_segnet.measure.columns import describe

if TYPE_CHECKING:
    import pandas as pd

Explain = Callable[[list[str]], dict[str, str]]


def explain_measures(names: list[str]) -> dict[str, str]:
    """Return unit and meaning of the columns of measured tables."""
    return {c.name: f"{c.meaning} {f'Unit: {c.unit}.' if c.unit else ''}".strip() for c in describe(names)}


class MeasuredTables(QWidget):
    """Tables under tabs, and a button that writes the one in front to a file.

    Parameters
    ----------
    tips : mapping of str to str
        Name of a table -> what its rows are.
    explain : callable
        From names of columns to what they mean.
    """

    row_chosen = Signal(str, int)
    """Name of a table, and its row."""
    export_wanted = Signal(str, str)
    """Name of a table, and the file to write."""

    def __init__(self, tips: Mapping[str, str], explain: Explain = explain_measures) -> None:
        super().__init__()
        self.frames: dict[str, pd.DataFrame] = {}
        self._explain = explain
        self.tabs = QTabWidget()
        self.tables = {name: FrameTable(tip) for name, tip in tips.items()}
        for name, table in self.tables.items():
            table.row_chosen.connect(lambda row, name=name: self.row_chosen.emit(name, row))
        self.export = parts.button(
            "Export table ...", "Write the table in front as CSV, or as Parquet if the name ends so.", self._ask_file
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(parts.GAP)
        layout.addWidget(self.tabs, 1)

    def show_frames(self, frames: Mapping[str, pd.DataFrame]) -> None:
        """Show the tables that there are; the one in front stays in front."""
        before = self.front
        self.frames = {name: frames[name] for name in self.tables if name in frames}
        self.tabs.clear()
        for name, table in self.tables.items():
            frame = self.frames.get(name)
            shown = None if frame is None else _unit_last(frame)
            table.show_frame(shown, {} if shown is None else self._explain([str(name) for name in shown.columns]))
            if frame is not None:
                self.tabs.addTab(table, f"{name.capitalize()} ({len(frame)})")
        if before in self.frames:
            self.tabs.setCurrentWidget(self.tables[before])
        self.export.setEnabled(bool(self.frames))

    @property
    def front(self) -> str:
        """Name of the table in front; empty where there is none."""
        shown = self.tabs.currentWidget()
        return next((name for name, table in self.tables.items() if table is shown), "")

    def _ask_file(self) -> None:
        chosen, kind = QFileDialog.getSaveFileName(
            self, "Write the table", f"{self.front}.csv", "CSV (*.csv);;Parquet (*.parquet)"
        )
        if chosen:
            path = Path(chosen)
            ending = ".parquet" if "parquet" in kind else ".csv"
            path = path if path.suffix in (".csv", ".parquet") else path.with_name(path.name + ending)
            self.export_wanted.emit(self.front, str(path))


def _unit_last(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it is looked at: what is the same in all rows doesn't take the first place."""
    return frame[sorted(frame.columns, key=lambda name: name == "unit")]
