"""NRRD, attached (``.nrrd``) and with its data in another file (``.nhdr``): volumes of 3D Slicer, ITK and teem.

The header is read with pynrrd; the data here, because they may be mapped instead of read, and because no more of a
compressed file is unpacked than its header says there is. The format: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import bz2
import gzip
import math
import os
import shlex
from pathlib import Path
from typing import IO, Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import DataError
from napari_segnet.io.formats import RawImage, unit_name

_TYPES: dict[str, str] = {
    name: code
    for code, names in {
        "i1": "signed char|int8|int8_t",
        "u1": "uchar|unsigned char|uint8|uint8_t",
        "i2": "short|short int|signed short|signed short int|int16|int16_t",
        "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
        "i4": "int|signed int|int32|int32_t",
        "u4": "uint|unsigned int|uint32|uint32_t",
        "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
        "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split("|")
}
_COLOURS = ("color", "vector", "point", "normal", "gradient", "complex", "quaternion", "matrix")
# Of a patient: what writes such files measures in millimetres, and seldom says so.
_PATIENT = ("left", "right", "las", "lps", "ras")


def read_nrrd(path: Path) -> RawImage:
    """Read an NRRD file; data that aren't compressed stay a memory map.

    The fastest axis comes first in the file, and last here: X, Y, Z of the file become Z, Y, X. The length of each
    space direction is the size of a pixel; its direction is not used.

    Raises
    ------
    DataError
        If the data are spread over several files, lie outside the header's folder, or are of an unknown type.
    """
    with path.open("rb") as file:
        header = _header(file)
        sizes = [int(n) for n in header["sizes"]]
        if len(sizes) != int(header["dimension"]) or min(sizes, default=0) < 1:
            raise DataError(f"{path} says that it has the sizes {sizes}.", "Save it again.")
        dtype = _dtype(path, header)
        array = _data(path, file, header, dtype, math.prod(sizes))
    hint, pixel_size, units = _axes(header, len(sizes))
    return RawImage(array.reshape(sizes[::-1]), hint, pixel_size, units)


def _header(file: IO[bytes]) -> dict[str, Any]:
    """Read the header; the file then stands at the first byte behind it."""
    try:
        found = dict(nrrd.read_header(file))
    except (nrrd.NRRDError, StopIteration) as error:
        raise ValueError(str(error)) from error
    return {name.replace(" ", ""): value for name, value in found.items()}


def _dtype(path: Path, header: dict[str, Any]) -> np.dtype[Any]:
    name = str(header["type"]).lower()
    if name not in _TYPES:
        raise DataError(f"{path} holds values of type {name!r}.", "Save them as integers or floats.")
    dtype = np.dtype(_TYPES[name])
    if dtype.itemsize == 1 or header["encoding"].lower() in ("ascii", "text", "txt"):
        return dtype
    order = {"little": "<", "big": ">"}[header["endian"].lower()]
    return np.dtype(order + _TYPES[name])


def _data(path: Path, file: IO[bytes], header: dict[str, Any], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    name = header.get("datafile")
    if name is None:
        return _values(path, file, header, dtype, count)
    other = _data_file(path, str(name))
    with other.open("rb") as detached:
        return _values(other, detached, header, dtype, count)


def _data_file(path: Path, name: str) -> Path:
    """Return the file that a header names; a hostile header must not make other files readable."""
    parts = name.split()
    if parts[:1] == ["LIST"] or "%" in name:
        raise DataError(
            f"The data of {path} are spread over several files.", "Save it again as one file that ends with .nrrd."
        )
    folder = path.parent.resolve()
    candidates = dict.fromkeys((name, "".join(shlex.split(name)[:1]) if name[:1] in "\"'" else name))
    found = next((folder / one for one in candidates if (folder / one).is_file()), folder / name)
    if not found.resolve().is_relative_to(folder):
        raise DataError(
            f"{path} says that its data are in {name}, which is not beside it.",
            "Put both into one folder, and name the data file without a folder in the header.",
        )
    if not found.is_file():
        raise DataError(f"{path} says that its data are in {name}, which is not there.", "Copy that file, too.")
    return found


def _values(path: Path, file: IO[bytes], header: dict[str, Any], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Return `count` values of the data that begin where the file stands."""
    encoding = str(header["encoding"]).lower()
    size = count * dtype.itemsize
    lines, skipped = int(header.get("lineskip", 0)), int(header.get("byteskip", 0))
    for _ in range(lines):
        file.readline()
    if encoding == "raw":
        start = path.stat().st_size - size if skipped == -1 else file.tell() + skipped
        if start < 0 or start + size > path.stat().st_size:
            raise EOFError(f"{path} is cut short")
        return np.memmap(path, dtype, "r", start, (count,))
    if encoding in ("ascii", "text", "txt"):
        file.seek(max(0, skipped), os.SEEK_CUR)
        # A number takes at most some thirty characters: what is longer is no image.
        values: NDArray[Any] = np.array(file.read(32 * count + 1024).split()[:count], dtype)
    elif encoding in ("gzip", "gz", "bzip2", "bz2"):
        values = np.frombuffer(_unpacked(file, encoding, max(0, skipped), size), dtype)
    else:
        raise DataError(f"{path} is encoded as {encoding!r}.", "Save it as raw or gzip.")
    if len(values) != count:
        raise EOFError(f"{path} is cut short")
    return values


def _unpacked(file: IO[bytes], encoding: str, skipped: int, size: int) -> bytes:
    unpacked: gzip.GzipFile | bz2.BZ2File = gzip.GzipFile(fileobj=file) if encoding[0] == "g" else bz2.BZ2File(file)
    with unpacked:
        unpacked.read(skipped)
        return unpacked.read(size)


def _axes(header: dict[str, Any], ndim: int) -> tuple[str | None, dict[str, float], str | None]:
    """Return a letter an axis from the slowest to the fastest, and the pixel size that the header gives."""
    kinds = [str(kind).lower() for kind in header.get("kinds", [])]
    directions = header.get("spacedirections")
    lengths = [math.nan] * ndim
    if directions is not None and len(directions) == ndim:
        lengths = [math.nan if row is None else float(np.linalg.norm(row)) for row in directions]
    elif len(header.get("spacings", ())) == ndim:
        lengths = [abs(float(step)) for step in header["spacings"]]
    known = len(kinds) == ndim or directions is not None
    if len(kinds) != ndim:
        kinds = ["space" if math.isfinite(length) or not known else "none" for length in lengths]
    space = iter("XYZ")
    letters = [_letter(kind, space) for kind in kinds]
    sizes = {
        letter: length
        for letter, length in zip(letters, lengths, strict=True)
        if letter in "XYZ" and math.isfinite(length) and length > 0
    }
    units = _units(header, letters)
    if units is None and set(sizes.values()) == {1.0}:
        sizes = {}  # what programs write that know nothing
    # Without kinds and directions, three values on the fastest axis may be colours: the array is looked at.
    return "".join(reversed(letters)) if known else None, sizes, units if sizes else None


def _letter(kind: str, space: Any) -> str:
    if kind in ("domain", "space", "???"):
        return next(space, "?")
    if kind == "time":
        return "T"
    return "C" if kind.endswith(_COLOURS) or "-" in kind or kind == "scalar" else "?"


def _units(header: dict[str, Any], letters: list[str]) -> str | None:
    said = header.get("spaceunits")
    if said is None and len(header.get("units", ())) == len(letters):
        said = [unit for unit, letter in zip(header["units"], letters, strict=True) if letter in "XYZ"]
    if said:
        found = {unit_name(str(unit)) for unit in said}
        return found.pop() if len(found) == 1 else None
    space = str(header.get("space", "")).lower()
    return "millimeter" if space.startswith(_PATIENT) else None
