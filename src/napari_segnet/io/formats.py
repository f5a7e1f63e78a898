"""What every reader gives, and what readers raise when a file is damaged."""

from __future__ import annotations

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

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
TIFFS = (".tif", ".tiff")
SUFFIXES = (*TIFFS, *PICTURES, ".npy", ".nii", ".nii.gz", ".zarr")

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


def is_zarr(path: Path) -> bool:
    """Say whether a folder is a zarr array or group."""
    return path.is_dir() and any((path / mark).is_file() for mark in _ZARR_MARKS)


def unit_name(text: str | None) -> str | None:
    """Return the full English name of a unit of length (``"µm"``: ``"micrometer"``); None for any other."""
    word = (text or "").strip().lower()
    return next((name for name, others in _UNITS.items() if word == name or word in others), None)
