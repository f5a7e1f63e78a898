"""Data for the tutorials, drawn by the program itself: no download, and the truth is known.

Each data set is one module with `write(folder, count, rng)`, and one entry in `DATA_SETS`. They look like the images
that the tutorials are about, and are easier: numbers reached on them say nothing of real data.
"""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_segnet.errors import SegNetError, unknown_name

__all__ = ["DATA_SETS", "DataSet", "write_data"]


@dataclass(frozen=True)
class DataSet:
    """A data set that can be drawn; `count` is how many images it has unless told otherwise."""

    name: str
    shows: str
    count: int

    def write(self, folder: Path, count: int, rng: np.random.Generator) -> None:
        """Draw the images and what belongs to them."""
        importlib.import_module(f"napari_segnet.tutorials.{self.name}").write(folder, count, rng)


DATA_SETS: dict[str, DataSet] = {
    known.name: known
    for known in (
        DataSet("canopy", "photographs of a canopy against the sky, with masks of the sky", 20),
        DataSet("brain", "slices with lesions, outlined in VGG Image Annotator", 16),
        DataSet("animals", "horses on grass and gravel, with trimaps", 16),
        DataSet("darkfield", "blood cells and bacteria in dark field, three classes", 16),
        DataSet("tissue", "stacks with cells, planes further apart than pixels", 6),
    )
}


def write_data(name: str, out: Path | str, count: int | None = None, seed: int = 0) -> Path:
    """Draw a data set into a folder.

    Parameters
    ----------
    name : str
        A key of `DATA_SETS`.
    out : Path
        The folder, which must not exist yet or be empty.
    count : int, optional
        How many images, from 2 on.
    seed : int
        Same seed, same images.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        If there is no such data set.
    SegNetError
        If the folder holds something, can't be written, or `count` is too small.
    """
    out = Path(out)
    if name not in DATA_SETS:
        raise unknown_name("tutorial data set", name, DATA_SETS)
    number = DATA_SETS[name].count if count is None else count
    if number < 2:
        raise SegNetError(f"{number} images are too few.", "Ask for two or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SegNetError(f"{out} exists and is not empty.", "Choose another --out.")
    existed = out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        DATA_SETS[name].write(out, number, np.random.default_rng(seed))
    except OSError as error:
        if not existed:
            shutil.rmtree(out, ignore_errors=True)
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another --out.") from error
    return out
