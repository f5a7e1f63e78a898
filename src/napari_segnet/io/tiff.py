"""TIFF: plain, ImageJ hyperstacks, OME-TIFF, tiled and pyramidal; without decoding more than is asked for."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from napari_segnet.errors import DataError
from napari_segnet.io.formats import RawImage, unit_name

# Compressed images below this are decoded at once: faster, and no file stays open.
_EAGER_BYTES = 256 * 2**20


def read_tiff(path: Path) -> RawImage:
    """Read the largest image of a TIFF file.

    Uncompressed files are memory-mapped, large compressed ones decoded tile by tile when they are sliced.

    Raises
    ------
    DataError
        If the file is cut short, or needs a codec that isn't installed.
    """
    with _page_errors() as errors:
        file = _open(path)
        keep_open = False
        try:
            series = max(file.series, key=lambda s: math.prod(s.shape))
            axes = "".join("?" if letter in "QI" else letter for letter in series.axes)
            last = series.pages[len(series.pages) - 1] or series.keyframe
            if errors or _end_of_data(series, last) > path.stat().st_size:
                raise DataError(f"{path} is cut short: a part of the image is missing.", "Copy it again.")
            keep_open = not series.dataoffset and series.nbytes > _EAGER_BYTES
            array = _array(path, file, series)
            size, units = _pixel_size(file)
            return RawImage(array, axes, size, units, alpha=_has_alpha(series, array), lossy=_is_lossy(series))
        finally:
            if not keep_open:
                file.close()


def _open(path: Path) -> tifffile.TiffFile:
    try:
        return tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error  # older versions make it a kind of its own


def _array(path: Path, file: tifffile.TiffFile, series: Any) -> Any:
    if series.nbytes == 0:
        raise DataError(f"{path} holds an image without pixels.", "Save it again.")
    if series.dataoffset:
        dtype = np.dtype(file.byteorder + series.dtype.char)
        return np.memmap(path, dtype, "r", series.dataoffset, series.shape)
    try:
        if _white_is_zero(series):
            return ~series.asarray()
        if series.nbytes <= _EAGER_BYTES:
            return series.asarray()
        store = zarr.open(series.aszarr(level=0), mode="r")
        _ = np.asarray(store[(slice(0, 1),) * store.ndim])
        return store
    except (ValueError, ImportError, RuntimeError) as error:
        if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
            raise
        codec = getattr(series.keyframe.compression, "name", "a codec")
        raise DataError(
            f"{path} is compressed with {codec}, which needs another library.",
            "Run: pip install imagecodecs. Or save the file without compression.",
        ) from error


def _end_of_data(series: Any, last: Any) -> int:
    if series.dataoffset:
        return int(series.dataoffset + series.nbytes)
    places = zip(last.dataoffsets, last.databytecounts, strict=False)
    return max((int(offset + count) for offset, count in places), default=0)


@contextlib.contextmanager
def _page_errors() -> Iterator[list[str]]:
    """Collect tifffile's complaints about missing pages: it logs them, and goes on with fewer pages."""
    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "invalid page offset" in text:
                found.append(text)

    logger, listener = logging.getLogger("tifffile"), Listener()
    logger.addHandler(listener)
    try:
        yield found
    finally:
        logger.removeHandler(listener)


def _white_is_zero(series: Any) -> bool:
    """Say whether black and white have changed places, as in faxes; greys of that kind are left as they are."""
    # ImageJ says the same of masks of 8 bits that it only shows inverted.
    page = series.keyframe
    return bool(page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.bitspersample == 1)


def _has_alpha(series: Any, array: Any) -> bool:
    page = series.keyframe
    if page.samplesperpixel < 2:
        return False
    colour = page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    # 1 and 2 are the two kinds of transparency; a fourth value beside RGB is nothing else in practice.
    extra = tuple(int(sample) for sample in page.extrasamples)
    declared = bool(extra and extra[-1] in (1, 2))
    if page.planarconfig == tifffile.PLANARCONFIG.CONTIG:
        return declared or (colour and page.samplesperpixel == 4)
    if not declared or not colour:
        return declared
    # In separate planes, four channels or sections of other programs pass for colours: opaque is the same everywhere.
    if not isinstance(array, np.ndarray) or "S" not in series.axes:
        return False
    last = array.take(-1, axis=series.axes.index("S"))
    return bool(last.min() == last.max())


def _is_lossy(series: Any) -> bool:
    name = getattr(series.keyframe.compression, "name", "")
    return "JPEG" in name and "2000" not in name


def _pixel_size(file: tifffile.TiffFile) -> tuple[dict[str, float], str | None]:
    """Return the pixel size that ImageJ or OME metadata give; a plain file's dots per inch say nothing."""
    if file.is_ome and file.ome_metadata:
        return _ome_pixel_size(file.ome_metadata)
    if not file.is_imagej:
        return {}, None
    metadata = file.imagej_metadata or {}
    units = unit_name(str(metadata.get("unit", "")))
    if units is None:
        return {}, None
    sizes: dict[str, float] = {}
    for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
        numerator, denominator = file.pages.first.tags[tag].value if tag in file.pages.first.tags else (0, 1)
        if numerator and denominator:
            sizes[letter] = denominator / numerator
    if {"X", "Y"} > set(sizes):
        return {}, None
    if "spacing" in metadata:
        sizes["Z"] = abs(float(metadata["spacing"]))
    return sizes, units


def _ome_pixel_size(xml: str) -> tuple[dict[str, float], str | None]:
    # No DTD, so no entities to expand: what a hostile file could use is cut off first.
    try:
        root = ET.fromstring(re.sub(r"<!DOCTYPE.*?>", "", xml, flags=re.DOTALL))  # noqa: S314
    except ET.ParseError:
        return {}, None
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return {}, None
    sizes, units = {}, set()
    for letter in "XYZ":
        text = pixels.get(f"PhysicalSize{letter}")
        if text is not None and float(text) > 0:
            sizes[letter] = float(text)
            units.add(unit_name(pixels.get(f"PhysicalSize{letter}Unit", "µm")))
    if not {"X", "Y"} <= set(sizes) or len(units) != 1 or None in units:
        return {}, None
    return sizes, units.pop()
