"""Cross-validation as a folder: a run folder for each fold, their scores in a table, and all of them as one model.

``OUT/fold-1`` ... ``OUT/fold-K`` are ordinary run folders, which say in their configuration which fold they are.
``OUT/folds.csv`` and ``OUT/model.safetensors``, the ensemble, are written when all are finished.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_segnet import events
from napari_segnet.config import RunConfig
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.executor import Control, execute
from napari_segnet.models.card import model_card
from napari_segnet.models.file import join_models, load_model, write_model
from napari_segnet.models.info import fold_folders, read_info
from napari_segnet.reports.training import try_training_report
from napari_segnet.run import PairRecord, RunFolder, check_new, write_atomically

_COLUMNS = ("fold", "val_dice", "val_loss", "epoch")


def execute_folder(path: Path, control: Control | None = None) -> Iterator[events.Event]:
    """Train what a folder asks for: a run, or a cross-validation. Events and errors are theirs."""
    return execute_folds(path, control) if is_folds(path) else execute(RunFolder(path), control)


def train_folder(
    path: Path, config: RunConfig, records: Sequence[PairRecord], control: Control | None = None
) -> Iterator[events.Event]:
    """Make a run folder, or those of a cross-validation where folds are asked for, and train.

    A run that can't begin leaves nothing behind, so that its name is free for the next try: whoever calls this has
    made sure (`check_new`) that nothing else lies in the folder.

    Raises
    ------
    SegNetError
        If something can't work.
    """
    if config.data.folds and not config.data.fold:
        yield from execute_folds(create_folds(path, config, records), control)
        return
    run = RunFolder.create(path, config, records)
    try:
        yield from execute(run, control)
    except SegNetError:
        run.discard_unless_started()
        raise


def create_folds(path: Path | str, config: RunConfig, records: Sequence[PairRecord]) -> Path:
    """Make the run folders of a cross-validation.

    Parameters
    ----------
    path : Path
        The folder to make; it may hold ``data/`` already.
    config : RunConfig
        Its `data.folds` says how many.
    records : sequence of PairRecord
        The images of all folds. Relative paths start at `path`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DataError
        If there are fewer images than folds.
    RunFolderError
        If the folder exists and isn't empty, or can't be made.
    """
    path = Path(path)
    folds = config.data.folds
    images = len({record.name for record in records})
    if folds < 2:
        raise ConfigError(f"{folds} folds can't be trained.", "Use 2 or more.")
    if images < folds:
        raise DataError(
            f"{folds} folds need at least {folds} images, but there are {images}.",
            f"Use --folds {images}, or add images." if images > 1 else "Train without --folds.",
        )
    check_new(path, allowed=("data",))
    inside = [_from_below(record) for record in records]
    for fold in range(1, folds + 1):
        _create_fold(path, fold, config, inside)
    return path


def is_folds(path: Path | str) -> bool:
    """Say whether a folder is that of a cross-validation."""
    return not (Path(path) / "config.json").exists() and (Path(path) / "fold-1" / "config.json").is_file()


def execute_folds(path: Path | str, control: Control | None = None) -> Iterator[events.Event]:
    """Train what isn't finished of a cross-validation, then write the table and the ensemble.

    Parameters
    ----------
    path : Path
    control : Control, optional
        As for `execute`.

    Yields
    ------
    Event
        Those of each fold, but for its `Finished`; at the end one `Finished` for all.

    Raises
    ------
    SegNetError
        If something can't work.
    """
    path = Path(path)
    control = control or Control()
    first = RunFolder(path / "fold-1")
    folds = first.config.data.folds
    for fold in range(1, folds + 1):
        if not (path / f"fold-{fold}" / "config.json").is_file():
            # It was killed while the folders were made.
            _create_fold(path, fold, first.config, [_from_fold(record, path) for record in first.pairs])
        run = RunFolder(path / f"fold-{fold}")
        if run.state() == "finished":
            continue
        yield events.Notice(f"Fold {fold} of {folds}.")
        for event in execute(run, control):
            if not isinstance(event, events.Finished):
                yield event
            elif event.reason == "stopped":
                yield event
                return
    yield _finish(path)
    if control.report:
        try_training_report(path)


def _finish(path: Path) -> events.Event:
    runs = fold_folders(path)
    rows = []
    for number, run in enumerate(runs, start=1):
        scores = read_info(run).scores
        rows.append({"fold": number, **{name: scores.get(name) for name in _COLUMNS[1:]}})
    write_atomically(path / "folds.csv", _table(rows))
    info, network = join_models([load_model(run) for run in runs])
    dice = [float(row["val_dice"]) for row in rows if row["val_dice"] is not None]
    scores = {"val_dice": statistics.fmean(dice)} if dice else {}
    info = info.replace(scores=scores)
    write_model(path / "model.safetensors", info, network)
    write_atomically(path / "model_card.md", model_card(info))
    return events.Finished("completed", str(path / "model.safetensors"), scores)


def _table(rows: list[dict[str, float | int | None]]) -> str:
    """Return folds.csv: a row a fold, then the mean and the standard deviation of the folds (N - 1)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow(["" if row[name] is None else row[name] for name in _COLUMNS])
    for word, function in (("mean", statistics.fmean), ("sd", statistics.stdev)):
        columns = [[float(row[name]) for row in rows if row[name] is not None] for name in _COLUMNS[1:3]]  # type: ignore[arg-type]
        writer.writerow([word, *(function(column) if len(column) > 1 else "" for column in columns), ""])
    return text.getvalue()


def _create_fold(path: Path, fold: int, config: RunConfig, records: Sequence[PairRecord]) -> None:
    data = {**config.data.explicit(), "fold": fold}
    RunFolder.create(path / f"fold-{fold}", config.replace(data=data), records)


def _from_below(record: PairRecord) -> PairRecord:
    """Return a record whose relative paths start one folder below."""
    files = [name if Path(name).is_absolute() else f"../{name}" for name in (*record.images, record.labels)]
    return record.replace(images=tuple(files[:-1]), labels=files[-1])


def _from_fold(record: PairRecord, path: Path) -> PairRecord:
    """Return a record of the first fold, whose paths are whole, as another fold has it."""
    start = (path / "fold-1").resolve()
    files = []
    for name in (*record.images, record.labels):
        inside = Path(name).resolve()
        files.append(f"../{inside.relative_to(start.parent)}" if inside.is_relative_to(start.parent) else str(inside))
    return record.replace(images=tuple(files[:-1]), labels=files[-1])
