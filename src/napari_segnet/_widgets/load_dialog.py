"""The dialog of the Load button: images here, masks there, and a look at what goes together."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QListWidget,
    QVBoxLayout,
    QWidget,
)

from napari_segnet._widgets import parts
from napari_segnet._widgets.path_field import PathField
from napari_segnet.axes import counted
from napari_segnet.errors import SegNetError
from napari_segnet.io.pairing import Pairing, pair_files


class LoadDialog(QDialog):
    """Asks for images and masks, files or folders, and pairs them by name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Load images and masks")
        self.pairing = Pairing(())
        grid = QGridLayout()
        self.fields = {kind: PathField(kind, grid) for kind in ("images", "masks")}
        for field in self.fields.values():
            field.changed.connect(self._pair)
        hint = "Images and masks are paired by name: cell1.tif goes with cell1_mask.png."
        self.list = QListWidget()
        self.list.setToolTip("What goes together. Check it before you load.")
        self.message = parts.words(hint)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self._ok = self.buttons.button(QDialogButtonBox.StandardButton.Ok)
        self._ok.setText("Load")
        self._ok.setToolTip("Put these pairs into the list. The files are read while it learns, not now.")
        self._ok.setEnabled(False)
        layout = QVBoxLayout(self)
        layout.addLayout(grid)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.message)
        layout.addWidget(self.buttons)
        self.resize(560, 380)

    def set_paths(self, kind: str, paths: list[Path]) -> None:
        """Take files or one folder of ``"images"`` or ``"masks"``, and pair anew."""
        self.fields[kind].set(paths)

    def _pair(self) -> None:
        self.list.clear()
        self.pairing = Pairing(())
        images, masks = self.fields["images"].paths, self.fields["masks"].paths
        if images and masks:
            try:
                self.pairing = pair_files(_one_or_many(images), _one_or_many(masks))
                self._show()
            except SegNetError as error:
                parts.say(self.message, str(error), parts.ERROR)
        self._ok.setEnabled(bool(self.pairing.pairs))

    def _show(self) -> None:
        pairing = self.pairing
        self.list.addItems([f"{image.name}  +  {labels.name}" for image, labels in pairing.pairs])
        alone = [path.name for path in (*pairing.unpaired_images, *pairing.unpaired_labels)]
        self.list.addItems([f"{name}  (without a partner)" for name in alone])
        left = f", {len(alone)} without a partner" if alone else ""
        parts.say(
            self.message,
            f"{counted(len(pairing.pairs), 'pair')}{left}.",
            parts.WARNING if alone else parts.QUIET,
        )


def _one_or_many(paths: list[Path]) -> Path | list[Path | str]:
    return paths[0] if len(paths) == 1 else list(paths)
