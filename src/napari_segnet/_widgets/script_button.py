"""The button that copies what was done here as a text: a command line or Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtWidgets import QApplication, QMenu, QPushButton

from napari_segnet import _layers, script
from napari_segnet._widgets.labelling import FilePair
from napari_segnet._widgets.prediction import Prediction
from napari_segnet._widgets.session import Session
from napari_segnet.again import missing_files
from napari_segnet.config import PredictConfig, validated
from napari_segnet.errors import ModelFileError, SegNetError
from napari_segnet.io.images import open_image
from napari_segnet.models.info import ModelInfo, read_info
from napari_segnet.run import PairRecord, RunFolder, home

_Key = tuple[str | None, tuple[float, ...] | None]
"""What files have to be told to the shell: axes and pixel size, None where the file says them."""


class ScriptButton(QPushButton):
    """Copies the last run, and the last prediction with its model, into the clipboard.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        super().__init__("Copy as")
        self._session = session
        self.setToolTip("Copy the last training, and the last prediction, as a text that does the same again.")
        self.setMinimumWidth(self.fontMetrics().horizontalAdvance("Copy as") + 30)
        self.setMinimumHeight(28)
        menu = QMenu(self)
        menu.addAction("Command line", lambda: self.copy(python=False))
        menu.addAction("Python", lambda: self.copy(python=True))
        self.setMenu(menu)

    def refresh(self) -> None:
        """Offer it once there is something to repeat."""
        self.setEnabled(self._session.models.run is not None or self._session.predicted is not None)

    def copy(self, python: bool) -> None:
        """Put the text into the clipboard, and say so; what it can't say is said, too."""
        try:
            text, notes = text_of(self._session, python)
        except SegNetError as error:
            self._session.tell(error)
            return
        QApplication.clipboard().setText(text)
        what = "Python" if python else "a command line"
        self._session.say(" ".join([f"Copied as {what}: paste it where it is to run.", *notes]))


def text_of(session: Session, python: bool) -> tuple[str, list[str]]:
    """Write the last run of a session, and the last prediction with the model that predicts now.

    Returns
    -------
    text : str
    notes : list of str
        What it can't repeat, in sentences.

    Raises
    ------
    SegNetError
        If there is nothing to repeat, or the run can't be read.
    """
    run, predicted, notes = session.models.run, session.predicted, list[str]()
    training = None
    new = home()
    if run is not None:
        training, new = script.read_training(run.path), script.free_path(run.path)
        notes += [f"{path} can't be found: without it the run can't be repeated." for path in missing_files(run)[:1]]
    predictions: list[script.Prediction] = []
    if predicted is not None and predicted.told.get("model") == str(session.models.path):
        predictions, unsaid = _predictions(session, predicted, run)
        notes += unsaid
    if training is None and not predictions:
        raise ModelFileError(" ".join(["There is nothing to repeat.", *notes]))
    write = script.python_code if python else script.command_line
    return write(training, new, predictions), notes


def _predictions(
    session: Session, predicted: Prediction, run: RunFolder | None
) -> tuple[list[script.Prediction], list[str]]:
    told = predicted.told
    model = None if run is not None and Path(told["model"]).parent == run.path else Path(told["model"])
    files: dict[_Key, list[Path]] = {}
    notes = []
    for pair in predicted.wanted:
        if isinstance(pair, Path | FilePair):
            files.setdefault((None, None), []).append((pair if isinstance(pair, Path) else pair.image).resolve())
            continue
        images, _ = pair.layers()
        found = _file_of(session, images, pair.axes, run, read_info(told["model"]))
        if found is None:
            name = " + ".join(image.name for image in images) or "A layer that is gone"
            notes.append(f"{name} lies in no file: the text doesn't predict it.")
        else:
            files.setdefault(found[1:], []).append(found[0])
    shown = {name: told[name] for name in ("probabilities", "uncertainty", "instances")}
    return [
        script.Prediction(
            tuple(paths),
            model=model,
            out=script.free_path(predicted.out) if predicted.keeps else None,
            axes=axes,
            config=validated(PredictConfig, {**told["config"], **({"pixel_size": size} if size is not None else {})}),
            **shown,
        )
        for (axes, size), paths in files.items()
    ], notes


def _file_of(
    session: Session, images: list[Image], axes: str, run: RunFolder | None, info: ModelInfo
) -> tuple[Path, str | None, tuple[float, ...] | None] | None:
    """Return the file that holds the pixels of layers, and what has to be told of it; None where there is none."""
    if len(images) != 1:
        return None
    source = images[0].source.path or images[0].metadata.get(_layers.FILE_KEY)
    if source is not None:
        try:
            opened = open_image(source)
        except SegNetError:
            opened = None
        pixels = _layers.pixels_of(images[0])
        if opened is not None and (opened.shape, opened.array.dtype) == (tuple(pixels.shape), pixels.dtype):
            return Path(source).resolve(), None if opened.axes == axes else axes, None
    record = _record_of(session, images[0], run)
    if record is None or len(record.images) != 1:
        return None
    # Copies of layers have no size of their own: it matters where the model brings images to one size.
    size = record.pixel_size if info.resampled and record.units == info.units else None
    return Path(record.images[0]).resolve(), record.axes, size


def _record_of(session: Session, image: Image, run: RunFolder | None) -> PairRecord | None:
    known: Any = session.answers.name_of(image)
    records = {record.name: record for record in run.pairs} if run is not None else {}
    return records.get(known[0]) if known is not None else None
