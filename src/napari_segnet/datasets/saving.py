"""Prepared images and labels as files that are the same, byte for byte, each time they are made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import counted
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.write import write_tiff
from napari_segnet.run import write_atomically

_SHORT_UNITS = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}


def check_format(format_: Literal["tif", "png"], axes: str, channels: int, dtype: np.dtype[Any], name: str) -> None:
    """Raise `DataError` if a format can't hold an image.

    Parameters
    ----------
    format_ : {"tif", "png"}
    axes : str
    channels : int
    dtype : dtype
    name : str
        What to call the image.
    """
    if format_ == "tif":
        return
    if axes not in ("YX", "CYX") or channels not in (1, 3):
        what = f"the axes {axes} and {counted(channels, 'channel')}"
        raise DataError(f"{name} has {what}, which PNG can't hold.", "Use --format tif.")
    if dtype not in (np.uint8, np.uint16, np.bool_):
        raise DataError(f"{name} holds values of type {dtype}, which PNG can't hold.", "Use --format tif, or --bits 8.")


def save_image(
    path: Path,
    pixels: NDArray[Any],
    axes: str,
    *,
    colours: bool = False,
    pixel_size: Sequence[float] | None = None,
    units: str | None = None,
) -> None:
    """Write an image atomically, as TIFF or PNG by the name of the file.

    Parameters
    ----------
    path : Path
    pixels : array
    axes : str
        In the order T, Z, C, Y, X.
    colours : bool
        Whether three channels are red, green and blue: then any program shows them so.
    pixel_size : sequence of float, optional
        Along [Z], Y, X; a PNG can't hold it.
    units : str, optional

    Raises
    ------
    SegNetError
        If it can't be written.
    """
    if path.suffix == ".png":
        _write(path, _png(pixels))
    elif colours and axes in ("CYX", "ZCYX", "TCYX") and pixels.dtype == np.uint8:
        _write(path, _colour_tiff(pixels, axes, pixel_size, units))
    else:
        _make_folder(path)
        write_tiff(path, pixels, axes, pixel_size, units)


def save_labels(
    path: Path, labels: NDArray[Any], axes: str, pixel_size: Sequence[float] | None = None, units: str | None = None
) -> None:
    """Write labels atomically, as TIFF or PNG by the name of the file; raises `SegNetError` if it can't be done."""
    if path.suffix == ".png":
        if labels.dtype.itemsize > 2:
            raise DataError(f"{path.name} would hold values up to {labels.max()}, too large for PNG.", "--format tif.")
        _write(path, _png(labels))
        return
    _make_folder(path)
    write_tiff(path, labels, axes, pixel_size, units)


def _png(pixels: NDArray[Any]) -> bytes:
    import imagecodecs

    interleaved = np.ascontiguousarray(np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels)
    return bytes(imagecodecs.png_encode(interleaved))


def _colour_tiff(pixels: NDArray[Any], axes: str, pixel_size: Sequence[float] | None, units: str | None) -> bytes:
    import tifffile

    place = axes.index("C")
    metadata: dict[str, Any] = {"axes": axes.replace("C", "") + "S"}
    options: dict[str, Any] = {}
    if pixel_size is not None and units in _SHORT_UNITS:
        metadata["unit"] = _SHORT_UNITS[units]
        if len(pixel_size) == 3:
            metadata["spacing"] = float(pixel_size[0])
        options = {"resolution": (1 / pixel_size[-1], 1 / pixel_size[-2]), "resolutionunit": "NONE"}
    file = io.BytesIO()
    interleaved = np.ascontiguousarray(np.moveaxis(pixels, place, -1))
    tifffile.imwrite(file, interleaved, imagej=True, photometric="rgb", metadata=metadata, **options)
    return file.getvalue()


def _write(path: Path, content: bytes) -> None:
    _make_folder(path)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise SegNetError(
            f"{path} can't be written: {error.strerror or error}.", "Free some room, or choose another --out."
        ) from error


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SegNetError(
            f"{path.parent} can't be made: {error.strerror or error}.", "Choose another --out."
        ) from error
