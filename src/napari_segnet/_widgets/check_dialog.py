"""The window of the Check button: what is wrong with the data, or odd, before anything is learned from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDialog, QVBoxLayout, QWidget

from napari_segnet import _layers
from napari_segnet._widgets import layer_arrays, parts
from napari_segnet._widgets.data_choice import LayerPair
from napari_segnet._widgets.frame_table import FrameTable
from napari_segnet._widgets.labelling import FilePair
from napari_segnet._widgets.session import Session
from napari_segnet._widgets.side_jobs import SideJob, side_jobs_of
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.frames import read_frame

_PAGE = "check.html"


class CheckDialog(QDialog):
    """Looks through everything that would be learned from, and shows what it finds.

    Parameters
    ----------
    session : Session
    folder : Path
        Gets the page with pictures; it outlives the window, because a browser may still be reading.
    parent : QWidget, optional
    """

    pair_chosen = Signal(int)
    """The number of a pair, in the order in which they are learned from."""

    def __init__(self, session: Session, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Check data")
        self._session = session
        self._jobs = side_jobs_of(session.viewer)
        self._end = self._jobs.attach()
        self.destroyed.connect(self._end)
        self.finished.connect(self._end)
        self._folder = folder
        self.status = parts.words("Looking at the data ...")
        self.findings = FrameTable("A row a question: whether that is in order, and what to do if it isn't.")
        self.images = FrameTable("A row an image. Click it to see it in the viewer.")
        self.images.row_chosen.connect(self.pair_chosen)
        self.page = parts.button(
            "Open the sheet", "Open the page with a picture of each image and its labels in the browser.", self._open
        )
        self.page.setEnabled(False)
        layout = QVBoxLayout(self)
        layout.addWidget(self.status)
        layout.addWidget(self.findings, 3)
        layout.addWidget(self.images, 2)
        layout.addLayout(parts.row(self.page))
        self.resize(900, 620)
        self._job: SideJob | None = SideJob("check", self._prepare, self._show, self._fail, self._progress)
        self._jobs.run(self._job)

    def _prepare(self, folder: Path, values: dict[str, Any]) -> Iterator[Any]:
        session = self._session
        pairs = session.data.everything()
        if not pairs:
            raise DataError("There is nothing to check yet.", "Open an image and paint on it, or load files.")
        meaning = session.data.meaning
        values.update(into=str(self._folder), pairs=[], task=meaning.task, unlabelled=meaning.unlabelled)
        names: list[str] = []
        for pair in pairs:
            if isinstance(pair, FilePair):
                values["pairs"].append({"image": str(pair.image.resolve()), "labels": str(pair.labels.resolve())})
                yield
            else:
                yield from _layers_steps(folder, pair, names, values["pairs"])

    def _show(self, folder: Path) -> None:
        self._job = None
        findings, images = read_frame(folder / "findings.npz"), read_frame(folder / "images.npz")
        self.findings.show_frame(findings)
        for column in (2, 3):
            self.findings.setColumnWidth(column, 330)
        self.images.show_frame(images)
        counts = {status: int((findings[""] == status).sum()) for status in ("fail", "warn")}
        if counts["fail"]:
            what = ", ".join(findings.loc[findings[""] == "fail", "what"])
            parts.say(self.status, f"This can't be learned from as it is: {what}.", parts.ERROR)
        elif counts["warn"]:
            what = ", ".join(findings.loc[findings[""] == "warn", "what"])
            parts.say(self.status, f"It can be learned from. Worth a look: {what}.", parts.WARNING)
        else:
            parts.say(self.status, "Nothing is wrong.", parts.QUIET)
        self.page.setEnabled(True)

    def _fail(self, error: SegNetError) -> None:
        self._job = None
        parts.say(self.status, str(error), parts.ERROR)

    def _progress(self, share: float) -> None:
        parts.say(self.status, f"Looking at the data ... {share:.0%}")

    def _open(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder / _PAGE)))

    def done(self, result: int) -> None:
        """Drop what is going on when the window is closed."""
        if self._job is not None:
            self._jobs.stop(self._job)
            self._job = None
        super().done(result)


def _layers_steps(folder: Path, pair: LayerPair, names: list[str], pairs: list[dict[str, Any]]) -> Iterator[Any]:
    """Write the layers of a pair, step by step, and fill in its entry of the worker's command."""
    images, labels = pair.layers()
    if not images or labels is None:
        raise DataError("A layer was deleted meanwhile.", "Check again.")
    _layers.check_pair(images, labels, pair.axes)
    names.append(_layers.file_name(images[0].name, names))
    size, units = _layers.pixel_size_of(images[0], pair.axes)
    entry: dict[str, Any] = {"name": names[-1], "images": [], "labels": {}, "pixel_size": size, "units": units}
    pairs.append(entry)
    yield from layer_arrays.labels_steps(folder, f"{names[-1]}_labels", labels, entry["labels"])
    entry["labels"]["axes"] = pair.axes.replace("C", "")
    yield from _layers.write_image(folder, names[-1], images)
    for path in _layers.image_files(folder, names[-1], len(images)):
        entry["images"].append({"path": str(path), "axes": pair.axes})
