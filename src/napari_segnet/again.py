"""The images and labels of a run once more, for another run."""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_segnet.errors import RunFolderError
from napari_segnet.models.info import fold_folders
from napari_segnet.run import PairRecord, RunFolder, check_new


def run_of(path: Path | str) -> RunFolder:
    """Return a run folder, or the first fold of a folder of folds; raises `RunFolderError` if it is neither."""
    path = Path(path)
    folds = [] if (path / "config.json").is_file() else fold_folders(path)
    return RunFolder(folds[0] if folds else path)


def missing_files(run: RunFolder) -> list[Path]:
    """Return the images and labels of a run that are not there any more."""
    return [Path(name) for record in run.pairs for name in (*record.images, record.labels) if not Path(name).exists()]


def copy_records(source: Path | str, folder: Path | str) -> list[PairRecord]:
    """Return the records of a run for another one.

    Files that lie in the old run folder are copied, so that the new one stays whole when the old one goes; files
    elsewhere are referred to, as the old one did.

    Parameters
    ----------
    source : Path
        A run folder, or a folder of folds.
    folder : Path
        That of the new run; it is empty, or not there yet.

    Returns
    -------
    list of PairRecord
        Relative paths start at `folder`; names, axes, pixel sizes and units are those of the old run.

    Raises
    ------
    RunFolderError
        If `source` is no run folder, an image or its labels are gone, or `folder` can't be written.
    """
    try:
        run, folder = run_of(source), Path(folder)
    except RunFolderError as error:
        raise RunFolderError(
            f"{source} comes without labels, and is not a run folder.",
            "Name its labels, or a run folder to learn its images and labels once more.",
        ) from error
    missing = missing_files(run)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise RunFolderError(
            f"{missing[0]}{more} of the run {source} can't be found.",
            "Old runs lose their copies of images after a while; files may have been moved.",
        )
    check_new(folder)
    records = run.pairs
    # What the run refers to by a relative path is its own: folds have theirs one folder up.
    own = {
        name: Path("data") / Path(name).name
        for record in records
        for name in (*record.images, record.labels)
        if Path(name).is_relative_to(run.path)
    }
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        for name, copy in own.items():
            shutil.copyfile(name, folder / copy)
    except OSError as error:
        shutil.rmtree(folder / "data", ignore_errors=True)  # what couldn't be copied whole isn't left behind
        raise RunFolderError(f"{folder} can't be written: {error.strerror or error}.") from error

    def place(name: str) -> str:
        return own[name].as_posix() if name in own else str(Path(name).resolve())

    return [
        record.replace(images=tuple(place(name) for name in record.images), labels=place(record.labels))
        for record in records
    ]
