"""Opening images and labels of any of the formats, lazily where the format allows.

TIFF (ImageJ and OME too), PNG, JPEG, BMP, GIF, NumPy (``.npy``), NIfTI, NRRD, DICOM files, and folders of OME-Zarr or
of the files of a DICOM series.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.axes import ArrayLike, ImageStack, check_axes, guess_axes, to_stack, view
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.dicom import is_dicom_file, is_dicom_folder, read_dicom, read_dicom_folder
from napari_segnet.io.formats import DAMAGE, SUFFIXES, RawImage, format_of, is_zarr
from napari_segnet.io.guard import GuardedArray
from napari_segnet.io.labels import as_labels, check_lossless, one_channel


@dataclass(frozen=True)
class ImageFile:
    """An image or a label image of a file.

    Attributes
    ----------
    path : Path
    array : array-like
        Numpy array, memory map, or an array that is read when it is sliced (OME-Zarr, large compressed TIFF).
        Its axes are `axes`.
    axes : str
        Among T, Z, C, Y and X.
    pixel_size : tuple of float or None
        Size of a pixel along [Z], Y, X in `units`; without Z where the file doesn't tell it.
    units : str or None
        Such as ``"micrometer"``.
    """

    path: Path
    array: ArrayLike
    axes: str
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(int(n) for n in self.array.shape)

    @property
    def shape_without_channels(self) -> tuple[int, ...]:
        """Length of each axis but C: the shape of labels of this image."""
        return tuple(n for n, letter in zip(self.shape, self.axes, strict=True) if letter != "C")

    def stack(self, spatial: str = "YX") -> ImageStack:
        """Return the planes (C, Y, X), or the volumes (C, Z, Y, X)."""
        return to_stack(self.array, self.axes, spatial)


def open_image(path: Path | str, axes: str | None = None) -> ImageFile:
    """Open an image.

    Parameters
    ----------
    path : Path
        A file, an OME-Zarr folder, or a folder with the files of one DICOM series.
    axes : str, optional
        Its axes, where the guess is wrong (see `napari_segnet.axes.guess_axes`). They may be those of the
        file, or leave out T, Z and C of length one, as the guess does.

    Returns
    -------
    ImageFile
        Without transparency (alpha).

    Raises
    ------
    DataError
        If there is no such file, it is empty, damaged, cut short or no image, or the axes don't fit.
    """
    path = Path(path)
    raw = _read(path, indices=False)
    own = guess_axes(raw.array.shape, raw.array.dtype, raw.hint)
    array = _without_alpha(raw, own)
    return _finish(path, array, own, axes, raw)


def open_labels(path: Path | str, axes: str | None = None) -> ImageFile:
    """Open a label image: unsigned integers, without C.

    Palette images give the numbers of their colours, bool becomes 0 and 1, floats that are whole numbers
    become integers, several equal channels become one.

    Parameters
    ----------
    path : Path
        A file, or an OME-Zarr folder.
    axes : str, optional
        Its axes, as for `open_image`; a C is ignored. Leading axes that the file lacks are added with length
        one.

    Raises
    ------
    DataError
        As `open_image`; and for colour masks, JPEGs with blurred values, fractions and negative numbers.
    """
    path = Path(path)
    raw = _read(path, indices=True)
    # Samples in separate planes are what some programs make of three or four sections, not colours.
    hint = raw.hint if not raw.hint or raw.hint.endswith("S") else raw.hint.replace("S", "?")
    own = guess_axes(raw.array.shape, raw.array.dtype, hint, channels=False)
    array = _without_alpha(raw, own)
    if "C" in own:
        array = one_channel(array, own.index("C"), str(path))
        own = own.replace("C", "")
    if raw.lossy:
        check_lossless(np.asarray(array), str(path))
    wanted = axes.upper().replace("S", "").replace("C", "") if axes else None
    if wanted and len(wanted) > len(own):
        array, own = np.asarray(array)[(np.newaxis,) * (len(wanted) - len(own))], wanted
    return _finish(path, as_labels(array, str(path)), own, wanted, raw)


def _read(path: Path, *, indices: bool) -> RawImage:
    if not path.exists():
        raise DataError(f"There is no file {path}.", "Check the name.")
    try:
        raw = _reader_output(path, indices=indices)
        dtype, shape = np.dtype(raw.array.dtype), raw.array.shape
    except SegNetError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} can't be read: {error.strerror}.", "Ask for the right to read it.") from error
    except MemoryError as error:
        raise DataError(f"{path} doesn't fit into memory.", "Save it as a tiled TIFF or as OME-Zarr.") from error
    except DAMAGE as error:
        raise DataError(
            f"{path} can't be read: it is damaged, cut short, or no image of this format.",
            "Open it in the program that made it, and save it again.",
        ) from error
    if dtype.kind not in "buif":
        raise DataError(f"{path} holds values of type {dtype}.", "Save them as integers or floats.")
    if 0 in shape:
        raise DataError(f"{path} holds an image without pixels, shape {tuple(shape)}.", "Save it again.")
    return raw if isinstance(raw.array, np.ndarray) else replace(raw, array=GuardedArray(raw.array, path))


def _reader_output(path: Path, *, indices: bool) -> RawImage:
    if path.is_dir():
        if is_zarr(path):
            # Imported where it is needed: opening the dock must not wait for zarr.
            from napari_segnet.io import ome_zarr

            return ome_zarr.read_zarr(path)
        if is_dicom_folder(path):
            return read_dicom_folder(path)
        raise DataError(f"{path} is a folder, not an image.", "Name a file in it, or an OME-Zarr folder.")
    if not path.name.lower().endswith(SUFFIXES):
        if is_dicom_file(path):
            return read_dicom(path)
        raise DataError(f"{path} is of no format that can be read.", f"Formats: {', '.join(SUFFIXES)}.")
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise DataError(f"{path} is empty.", "Copy or save it again.")
    return format_of(path, start).read(path, indices=indices)


def _without_alpha(raw: RawImage, axes: str) -> ArrayLike:
    if not raw.alpha or "C" not in axes:
        return raw.array
    return view(raw.array, axes, axes, stop={"C": raw.array.shape[axes.index("C")] - 1})


def _finish(path: Path, array: ArrayLike, own: str, wanted: str | None, raw: RawImage) -> ImageFile:
    """Apply the axes that were asked for, or leave out T, Z and C of length one."""
    kept = "".join(a for a, n in zip(own, array.shape, strict=True) if n != 1 or a in "YX")
    if wanted is not None and len(wanted) == len(own):
        axes = check_axes(wanted, array.shape, str(path))
    else:
        array = array if kept == own else view(array, own, kept)
        axes = kept if wanted is None else check_axes(wanted, array.shape, str(path))
    size = _pixel_size(raw, axes)
    return ImageFile(path, array, axes, size, raw.units if size else None)


def _pixel_size(raw: RawImage, axes: str) -> tuple[float, ...] | None:
    if not {"Y", "X"} <= set(raw.pixel_size):
        return None
    letters: Any = "ZYX" if "Z" in axes and "Z" in raw.pixel_size else "YX"
    return tuple(raw.pixel_size[letter] for letter in letters)
