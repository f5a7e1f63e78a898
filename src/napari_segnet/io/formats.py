"""Which formats there are, what every reader gives, and what readers raise when a file is damaged."""

from __future__ import annotations

import importlib
import struct
import tokenize
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from napari_segnet.axes import ArrayLike

# What the libraries below raise on damaged, cut short or hostile files: there is no common base class.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    tokenize.TokenError,
)


@dataclass(frozen=True)
class RawImage:
    """What a reader found in a file.

    `hint` has a letter an axis, ``?`` where the file doesn't say. `pixel_size` maps Z, Y and X to the size of
    a pixel. `alpha`: the last channel is transparency. `lossy`: compression has changed the values.
    """

    array: ArrayLike
    hint: str | None = None
    pixel_size: dict[str, float] = field(default_factory=dict)
    units: str | None = None
    alpha: bool = False
    lossy: bool = False


@dataclass(frozen=True)
class Format:
    """A format of image files.

    `reader` is ``module:function`` in this folder: path -> `RawImage`. `magic` are the first bytes of a file: they
    count more than its name. Where `palette` is true the function takes ``indices`` too: for labels, a palette
    image gives the numbers of its colours.
    """

    suffixes: tuple[str, ...]
    reader: str
    magic: tuple[bytes, ...] = ()
    palette: bool = False

    def read(self, path: Path, *, indices: bool) -> RawImage:
        """Read a file; the libraries of its format are imported now."""
        module, function = self.reader.split(":")
        read = getattr(importlib.import_module(f"napari_segnet.io.{module}"), function)
        raw: RawImage = read(path, indices=indices) if self.palette else read(path)
        return raw


DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_PICTURE = Format((".png", ".jpg", ".jpeg", ".bmp", ".gif"), "pictures:read_picture", palette=True)
FORMATS: tuple[Format, ...] = (
    Format((".tif", ".tiff"), "tiff:read_tiff", magic=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    _PICTURE,
    Format((".npy",), "npy:read_npy"),
    Format((".nii", ".nii.gz"), "nifti:read_nifti"),
    Format((".nrrd", ".nhdr"), "nrrd:read_nrrd"),
    Format(DICOM_SUFFIXES, "dicom:read_dicom"),
)
SUFFIXES = (*(suffix for known in FORMATS for suffix in known.suffixes), ".zarr")


def format_of(path: Path, start: bytes) -> Format:
    """Return the format of a file whose name ends in one of `SUFFIXES`; `start` are its first bytes."""
    by_name = next((known for known in FORMATS if path.name.lower().endswith(known.suffixes)), _PICTURE)
    if by_name.magic or by_name.palette:
        # People rename pictures: what is inside decides.
        return next((known for known in FORMATS if start.startswith(known.magic)), _PICTURE)
    return by_name


_UNITS = {
    "nanometer": ("nm", "nanometre", "nanometers"),
    "micrometer": ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometre", "micrometers"),
    "millimeter": ("mm", "millimetre", "millimeters"),
    "centimeter": ("cm", "centimetre", "centimeters"),
    "meter": ("m", "metre", "meters"),
    "angstrom": ("å", "ångström", "angstroms"),
    "inch": ("in", "inches"),
}

_ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def is_zarr(path: Path) -> bool:
    """Say whether a folder is a zarr array or group."""
    return path.is_dir() and any((path / mark).is_file() for mark in _ZARR_MARKS)


def unit_name(text: str | None) -> str | None:
    """Return the full English name of a unit of length (``"µm"``: ``"micrometer"``); None for any other."""
    word = (text or "").strip().lower()
    return next((name for name, others in _UNITS.items() if word == name or word in others), None)
