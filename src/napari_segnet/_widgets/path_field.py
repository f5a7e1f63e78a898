"""A line for the paths of files or of a folder: typed, or chosen with buttons."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QLineEdit

from napari_segnet._widgets import parts


class PathField(QObject):
    """A row of a form that asks for images, masks ...

    Parameters
    ----------
    kind : str
        What is asked for, in lower case, such as ``"images"``.
    grid : QGridLayout
        Gets the row at its end: title, line, buttons.
    files : bool
        Whether files may be chosen; otherwise one folder.
    """

    changed = Signal()

    def __init__(self, kind: str, grid: QGridLayout, *, title: str | None = None, files: bool = True) -> None:
        super().__init__(grid.parentWidget())
        self.paths: list[Path] = []
        self._kind = kind
        self.line = QLineEdit()
        what = f"A folder or files of {kind}" if files else f"The folder of {kind}"
        self.line.setToolTip(f"{what}; type a path, or use the buttons.")
        self.line.editingFinished.connect(self._typed)
        row = grid.rowCount()
        grid.addWidget(QLabel(title or kind.capitalize()), row, 0)
        grid.addWidget(self.line, row, 1)
        grid.addWidget(parts.button("Folder ...", f"Choose a folder of {kind}.", self._ask_folder), row, 2)
        if files:
            grid.addWidget(parts.button("Files ...", f"Choose files of {kind}.", self._ask_files), row, 3)

    def set(self, paths: list[Path]) -> None:
        """Take some files or one folder."""
        self.paths = paths
        self.line.setText("; ".join(str(p) for p in paths))
        self.changed.emit()

    def _typed(self) -> None:
        paths = [Path(text.strip()).expanduser() for text in self.line.text().split(";") if text.strip()]
        if paths != self.paths:
            self.paths = paths
            self.changed.emit()

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self.line, f"Choose a folder of {self._kind}")
        if chosen:
            self.set([Path(chosen)])

    def _ask_files(self) -> None:
        chosen, _ = QFileDialog.getOpenFileNames(self.line, f"Choose {self._kind}")
        if chosen:
            self.set([Path(path) for path in chosen])
