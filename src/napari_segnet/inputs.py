"""Images and labels from Python: arrays are copied into the folder of a run, files are referred to."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike, check_axes, guess_axes
from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.labels import as_labels
from napari_segnet.io.pairing import pair_files
from napari_segnet.io.records import make_records
from napari_segnet.io.write import write_npy
from napari_segnet.run import PairRecord

Images = NDArray[Any] | Path | str
"""An array, or the path of a file; to learn from also that of a folder."""


@dataclass(frozen=True)
class Pixels:
    """An image: its array, its axes, and the size of a pixel along [Z], Y, X in some units, where it is known."""

    array: ArrayLike
    axes: str
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None


def read_image(image: Images, axes: str | None = None, spacing: Sequence[float] | None = None) -> Pixels:
    """Read an image, or take an array as it is.

    Parameters
    ----------
    image : array or path
    axes : str, optional
        Default: guessed.
    spacing : sequence of float, optional
        Size of a pixel along [Z], Y, X; counts more than what a file says.

    Raises
    ------
    DataError
        If the file can't be read, or axes or spacing don't fit.
    """
    if isinstance(image, Path | str):
        opened = open_image(Path(image), axes)
        found = Pixels(opened.array, opened.axes, opened.pixel_size, opened.units)
    else:
        array = np.asarray(image)
        found = Pixels(array, check_axes(axes, array.shape) if axes else guess_axes(array.shape, array.dtype))
    if spacing is None:
        return found
    size = tuple(float(step) for step in spacing)
    wanted = [letter for letter in "ZYX" if letter in found.axes]
    if len(size) != len(wanted) or not all(0 < step < float("inf") for step in size):
        given = ", ".join(f"{step:g}" for step in size)
        raise DataError(
            f"A spacing of ({given}) doesn't fit an image with the axes {found.axes}.",
            f"Give {len(wanted)} lengths above zero, along {', '.join(wanted)}.",
        )
    return Pixels(found.array, found.axes, size)


def write_records(
    folder: Path,
    images: Images | Sequence[Images],
    labels: Images | Sequence[Images],
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
) -> list[PairRecord]:
    """Return records of images and labels for a run; arrays are written into the folder's ``data``.

    Parameters
    ----------
    folder : Path
        That of the run; it has no ``data`` yet.
    images, labels : array, path, or sequences of these
    axes, spacing
        As for `read_image`.

    Raises
    ------
    DataError
        If there aren't as many labels as images, or they don't fit.
    """
    image_list, label_list = _as_list(images), _as_list(labels)
    if len(image_list) != len(label_list):
        raise DataError(f"There are {len(image_list)} images, but {len(label_list)} labels.", "Give one of each.")
    pairs = list(zip(image_list, label_list, strict=True))
    if spacing is None and all(isinstance(i, Path | str) for pair in pairs for i in pair):
        return [
            record
            for image, known in pairs
            for record in make_records(pair_files(Path(str(image)), Path(str(known))), axes)
        ]
    data = folder / "data"
    data.mkdir(parents=True)
    try:
        return [
            _write(data, f"image-{number}", read_image(image, axes, spacing), known)
            for number, (image, known) in enumerate(pairs, start=1)
        ]
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)  # what couldn't be written whole isn't left behind
        raise


def _write(data: Path, name: str, image: Pixels, labels: Images) -> PairRecord:
    axes, shape = image.axes, tuple(image.array.shape)
    known = open_labels(labels, axes.replace("C", "")).array if isinstance(labels, Path | str) else as_labels(labels)
    if known.shape != tuple(n for n, a in zip(shape, axes, strict=True) if a != "C"):
        raise DataError(
            f"The labels of {name} are {known.shape}, the image is {shape} ({axes}).",
            "Labels need the size of their image.",
        )
    write_npy(data / f"{name}.npy", np.asarray(image.array))
    write_npy(data / f"{name}_labels.npy", np.asarray(known))
    return PairRecord(
        name=name,
        images=(f"data/{name}.npy",),
        labels=f"data/{name}_labels.npy",
        axes=axes,
        pixel_size=image.pixel_size,
        units=image.units,
    )


def _as_list(values: Images | Sequence[Images]) -> list[Images]:
    if isinstance(values, Path | str) or hasattr(values, "dtype"):
        return [values]  # type: ignore[list-item]
    return list(values)
