"""The dialog of the Files button: which images a model is applied to, and where the answers go."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QVBoxLayout, QWidget

from napari_segnet._widgets import parts
from napari_segnet._widgets.path_field import PathField
from napari_segnet.axes import counted
from napari_segnet.errors import SegNetError
from napari_segnet.io.pairing import list_images

_HINT = "Labels, and what is ticked in the dock, are written as TIFF (OME-Zarr for OME-Zarr) under the images' names."


class FilesDialog(QDialog):
    """Asks for images and for a folder; `images` and `out` hold what was chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Predict files")
        self.images: list[Path] = []
        self.out: Path | None = None
        self._suggested: list[Path] = []
        grid = QGridLayout()
        self.inputs = PathField("images", grid)
        self.target = PathField("predictions", grid, title="Into", files=False)
        for field in (self.inputs, self.target):
            field.changed.connect(self._look)
        self.message = parts.words(_HINT)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self._ok = self.buttons.button(QDialogButtonBox.StandardButton.Ok)
        self._ok.setText("Predict")
        self._ok.setToolTip("Apply the model to all of them. You can look at other images meanwhile, or press Stop.")
        self._ok.setEnabled(False)
        layout = QVBoxLayout(self)
        layout.addLayout(grid)
        layout.addWidget(self.message)
        layout.addStretch(1)
        layout.addWidget(self.buttons)
        self.resize(560, 160)

    def _look(self) -> None:
        self.images, self.out = [], None
        try:
            if self.inputs.paths:
                self.images = list_images(self.inputs.paths)
            if self.images and self.target.paths == self._suggested:
                wanted = [_beside(self.inputs.paths[0])]
                if wanted != self._suggested:
                    self._suggested = wanted
                    self.target.set(wanted)
                    return
            self._say()
        except SegNetError as error:
            parts.say(self.message, str(error), parts.ERROR)
        self._ok.setEnabled(bool(self.images) and self.out is not None)

    def _say(self) -> None:
        if not self.images:
            parts.say(self.message, _HINT, parts.QUIET)
            return
        out = self.target.paths[0]
        if out.exists() and not out.is_dir():
            parts.say(self.message, f"{out} is a file, not a folder.", parts.ERROR)
            return
        if out.resolve() in {image.parent.resolve() for image in self.images}:
            parts.say(self.message, "The predictions need a folder of their own, not that of the images.", parts.ERROR)
            return
        self.out = out
        count = f"{counted(len(self.images), 'image')}."
        if _holds_something(out):
            parts.say(
                self.message, f"{count} The folder isn't empty: files of the same names are replaced.", parts.WARNING
            )
        else:
            parts.say(self.message, f"{count} {_HINT}", parts.QUIET)


def _beside(path: Path) -> Path:
    """Return a folder beside the images, not among them: a second time its files would be taken for images."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    return folder / "predictions" if folder == folder.parent else folder.with_name(f"{folder.name}_predictions")


def _holds_something(folder: Path) -> bool:
    try:
        return folder.is_dir() and any(folder.iterdir())
    except OSError:
        return False  # the worker says it in a sentence
