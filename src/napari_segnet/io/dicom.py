"""DICOM: single files, files of several frames, and folders whose files are the planes of one series.

pydicom reads them (the extra ``dicom``); it is imported when the first file is opened. The pages of the standard that
are meant here are named by their section: https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.axes import counted, times
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.dicom_pixels import is_lossy, pixels
from napari_segnet.io.dicom_planes import Plane, arrange, planes_of
from napari_segnet.io.formats import DICOM_SUFFIXES, SUFFIXES, RawImage

_MAGIC = b"DICM"
_MOST_LOOKS = 20
"""Files of an unknown ending that are opened to find out whether a folder holds DICOM."""
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_TAGS = ("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "Rows", "Columns")


@dataclass(frozen=True)
class Series:
    """The files of a folder that belong together; `words` says which series it is."""

    uid: str
    words: str
    files: tuple[Path, ...]


def is_dicom_file(path: Path) -> bool:
    """Say whether a file is DICOM by its ending, or by what stands at its 129th byte."""
    if path.name.lower().endswith(DICOM_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            file.seek(128)
            return file.read(4) == _MAGIC and path.name.upper() != "DICOMDIR"
    except OSError:
        return False


def is_dicom_folder(path: Path) -> bool:
    """Say whether a folder holds DICOM files, and no images of another format."""
    found, looks = False, 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.startswith(".") or not entry.is_file():
                    continue
                if name.endswith(DICOM_SUFFIXES):
                    found = True
                elif name.endswith(SUFFIXES):
                    return False
                elif not found and looks < _MOST_LOOKS:
                    looks += 1
                    found = is_dicom_file(Path(entry.path))
    except OSError:
        return False
    return found


def dicom_images(folder: Path) -> list[Path]:
    """Return the images of a folder of DICOM files.

    Returns
    -------
    list of Path
        The folder itself where its files are the planes of one series; the files where each is a series of its
        own, as radiographs are.

    Raises
    ------
    DataError
        If there is none, or several series have several files each: which one is meant?
    """
    files = _dicom_files(folder)
    if len(files) < 2:
        return files
    # A series has hundreds of files: where the first, the middle and the last agree, opening it looks at the rest.
    some = _group([files[0], files[len(files) // 2], files[-1]])
    if len(some) == 1:
        return [folder]
    found = list_series(folder)
    if not found:
        raise _nothing(folder)
    if all(len(series.files) == 1 for series in found):
        return [series.files[0] for series in found]
    if len(found) == 1:
        return [folder]
    raise _several(folder, found)


def list_series(folder: Path | str) -> list[Series]:
    """Return the series of images of a folder, in the order of their first files' names.

    Raises
    ------
    DataError
        If pydicom is missing, or a file is damaged.
    """
    return _group(_dicom_files(Path(folder)))


def read_dicom(path: Path) -> RawImage:
    """Read a DICOM file: a plane, or the frames of a volume or a film.

    Stored values become those of the modality (rescale slope and intercept: Hounsfield units in computed tomography).
    Where white is said to be low (MONOCHROME1), values are turned round, unless they have a unit. Frames are
    sorted along the normal of their planes. The pixel size is in millimetres.

    Raises
    ------
    DataError
        If pydicom is missing, or the file holds no image, tiles of a slide, a compression that can't be decoded, or
        frames that make up no volume.
    """
    return _image([path], str(path))


def read_dicom_folder(folder: Path | str, series: str | None = None) -> RawImage:
    """Read the files of one series as a volume ZYX, or TZYX where each place was recorded several times.

    Parameters
    ----------
    folder : Path
    series : str, optional
        Unique identifier of one of several series, see `list_series`.

    Returns
    -------
    RawImage
        Planes in the order of their positions along the normal of the planes (section C.7.6.2), whatever the
        names of the files; their distance is that of their positions.

    Raises
    ------
    DataError
        As `read_dicom`; and if there are several series, planes differ in size or direction, or some are missing.
    """
    found = list_series(folder)
    chosen = [one for one in found if series in (None, one.uid)]
    if not chosen:
        raise _nothing(folder, series)
    if len(chosen) > 1:
        raise _several(Path(folder), found)
    return _image(chosen[0].files, str(folder))


def _nothing(folder: Path | str, series: str | None = None) -> DataError:
    named = f" of the series {series}" if series else ""
    return DataError(f"{folder} holds no DICOM image{named}.", "Name a folder whose files have pixels.")


def _several(folder: Path, found: Sequence[Series]) -> DataError:
    shown = "; ".join(f"{s.words}: {counted(len(s.files), 'file')}" for s in found[:5])
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return DataError(
        f"{folder} holds {len(found)} series ({shown}{more}).",
        "Put the files of each into a folder of its own, and name that one.",
    )


def _dicom_files(folder: Path) -> list[Path]:
    from napari_segnet.io.pairing import natural_key

    files = [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()]
    return sorted((p for p in files if is_dicom_file(p)), key=natural_key)


def _group(files: Sequence[Path]) -> list[Series]:
    """Return the series of files that hold images; reports and plans among them are left out."""
    groups: dict[str, tuple[str, list[Path]]] = {}
    for path in files:
        header = _open(path, _TAGS)
        if "Rows" not in header:
            continue
        uid = str(header.get("SeriesInstanceUID", ""))
        name = str(header.get("SeriesDescription", "") or header.get("Modality", "") or "without a name")
        number = header.get("SeriesNumber")
        groups.setdefault(uid, (f"{number} {name}" if number is not None else name, []))[1].append(path)
    return [Series(uid, words, tuple(paths)) for uid, (words, paths) in groups.items()]


def _open(path: Path, tags: Sequence[str] | None = None) -> Any:
    """Read a file, or some elements of its header."""
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError as error:
        raise DataError(f"{path} is DICOM, which needs pydicom.", 'Run: pip install "napari-segnet[dicom]".') from error
    try:
        # Old files begin without a word: those are taken at their name's.
        return pydicom.dcmread(
            path, force=True, specific_tags=None if tags is None else list(tags), stop_before_pixels=tags is not None
        )
    except OSError:
        raise
    except Exception as error:  # pydicom raises whatever the place of the damage suggests
        raise DataError(
            f"{path} can't be read: it is damaged, cut short, or not DICOM.", "Copy or export it again."
        ) from error


def _image(files: Sequence[Path], name: str) -> RawImage:
    planes: list[Plane] = []
    arrays: list[Any] = []
    lossy = False
    for path in files:
        dataset = _open(path)
        _check(path, dataset)
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        if frames > 1 and len(files) > 1:
            raise DataError(f"{name} holds several files of several frames.", f"Name one of them, such as {path}.")
        try:
            array = pixels(path, dataset)
            array = array if array.shape[0] == frames and frames > 1 else array[np.newaxis]
            planes += planes_of(path, dataset, len(array))
        except SegNetError:
            raise
        except Exception as error:
            raise DataError(f"{path} can't be decoded: it is damaged or cut short.", "Export it again.") from error
        if arrays and array.shape != arrays[0].shape:
            raise DataError(
                f"{files[0]} is {times(arrays[0].shape[1:])} pixels, {path.name} {times(array.shape[1:])}: they are "
                "no planes of one volume.",
                "Put images of each size into a folder of their own.",
            )
        arrays.append(array)
        lossy = lossy or is_lossy(dataset)
    order, size, moving = arrange(planes, name)
    stack = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    colours = "C" * (stack.ndim - 3)
    if order.size == 1:
        return RawImage(stack[0], f"YX{colours}", size, "millimeter" if size else None, lossy=lossy)
    if order.shape[0] == 1:
        axes, index = f"{'T' if moving else 'Z'}YX", order[0]
    else:
        axes, index = "TZYX", order
    same = np.array_equal(index, np.arange(len(stack)))
    return RawImage(
        stack if same else stack[index], f"{axes}{colours}", size, "millimeter" if size else None, lossy=lossy
    )


def _check(path: Path, dataset: Any) -> None:
    """Refuse what holds no image, or another thing than planes."""
    if "Rows" not in dataset or not any(n in dataset for n in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DataError(f"{path} holds no image.", "Name a DICOM file or folder that has pixels.")
    kind = str(dataset.get("SOPClassUID", ""))
    if kind == _WHOLE_SLIDE or "TotalPixelMatrixColumns" in dataset:
        raise DataError(f"{path} is a slide in tiles, which can't be read.", "Save it as a tiled TIFF or as OME-Zarr.")
    if kind == _SEGMENTATION:
        raise DataError(
            f"{path} is a DICOM segmentation, which can't be read.", "Save it as NIfTI or NRRD, as 3D Slicer can."
        )
