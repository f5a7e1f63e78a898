"""Pixels of a DICOM file: decoded, and in the values of the modality."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import DataError

_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
"""Transfer syntaxes of JPEG baseline and extended, and of nearly lossless JPEG-LS."""
_CODECS = {
    "1.2.840.10008.1.2.4.51": "jpeg_decode",
    "1.2.840.10008.1.2.4.57": "jpegsof3_decode",
    "1.2.840.10008.1.2.4.70": "jpegsof3_decode",
    "1.2.840.10008.1.2.4.80": "jpegls_decode",
    "1.2.840.10008.1.2.4.81": "jpegls_decode",
    "1.2.840.10008.1.2.4.90": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.91": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.201": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.202": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.203": "jpeg2k_decode",
}
"""What imagecodecs calls the decoder of a transfer syntax that pydicom may lack one for."""


def is_lossy(dataset: Any) -> bool:
    """Say whether compression has changed the values."""
    return str(_syntax(dataset) or "") in _LOSSY


def items(group: Any, name: str) -> list[Any]:
    """Return the items of a sequence; none where the group doesn't have it."""
    return list(group.get(name) or ())


def pixels(path: Path, dataset: Any) -> NDArray[Any]:
    """Return the pixels of a file that was read with pydicom.

    Parameters
    ----------
    path : Path
        Its name, for errors.
    dataset : pydicom.Dataset

    Returns
    -------
    ([frames,] Y, X[, C]) array
        Colours of a palette are looked up, and YBR becomes RGB. Slope and intercept are applied; integers stay
        integers where both are whole numbers.

    Raises
    ------
    DataError
        If its compression needs a decoder that isn't installed.
    """
    array = _decoded(path, dataset)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        processing = importlib.import_module("pydicom.pixels")
        colours: NDArray[Any] = processing.apply_color_lut(array, dataset)[..., :3]
        return colours
    if dataset.get("ModalityLUTSequence"):
        looked_up: NDArray[Any] = importlib.import_module("pydicom.pixels").apply_modality_lut(array, dataset)
        return looked_up
    slopes, intercepts = _slopes(dataset)
    if photometric == "MONOCHROME1" and set(slopes) == {1.0} and set(intercepts) == {0.0}:
        return _turned(array, dataset)
    if len(slopes) > 1 and (len(set(slopes)) > 1 or len(set(intercepts)) > 1):
        return np.stack([_rescaled(a, s, i) for a, s, i in zip(array, slopes, intercepts, strict=True)])
    return _rescaled(array, slopes[0], intercepts[0])


def _decoded(path: Path, dataset: Any) -> NDArray[Any]:
    syntax = _syntax(dataset)
    module = importlib.import_module("pydicom.pixels")
    if syntax is None:
        dataset.file_meta.TransferSyntaxUID = importlib.import_module("pydicom.uid").ImplicitVRLittleEndian
    if syntax is None or not syntax.is_encapsulated:
        plain: NDArray[Any] = module.pixel_array(dataset)
        return plain
    try:
        available = module.get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    try:
        if available:
            unpacked: NDArray[Any] = module.pixel_array(dataset)
            return unpacked
    except Exception:  # such as 12 bits, where only 8 are known: another decoder is tried
        available = False
    if str(syntax) in _CODECS:
        try:
            return _decoded_by_imagecodecs(dataset, _CODECS[str(syntax)])
        except Exception as error:
            raise _no_decoder(path, syntax.name, damaged=True) from error
    raise _no_decoder(path, syntax.name)


def _no_decoder(path: Path, name: str, *, damaged: bool = False) -> DataError:
    either = ", or it is damaged" if damaged else ""
    return DataError(
        f"{path} is compressed as {name}, which can't be decoded here{either}.",
        "Run: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg. Or export it without compression.",
    )


def _decoded_by_imagecodecs(dataset: Any, name: str) -> NDArray[Any]:
    decode: Callable[[bytes], NDArray[Any]] = getattr(importlib.import_module("imagecodecs"), name)
    encaps = importlib.import_module("pydicom.encaps")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    shape = (int(dataset.Rows), int(dataset.Columns))
    found = []
    for frame in encaps.generate_frames(dataset.PixelData, number_of_frames=frames):
        plane = decode(frame)
        if plane.shape[:2] != shape:
            raise ValueError(f"a frame of {plane.shape} in an image of {shape}")
        found.append(_signed(plane, dataset))
    return np.stack(found) if frames > 1 else found[0]


def _signed(plane: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Give values the sign that they are stored with: JPEG knows only numbers from 0 on."""
    if not int(dataset.get("PixelRepresentation", 0)) or plane.dtype.kind == "i":
        return plane
    spare = plane.dtype.itemsize * 8 - int(dataset.BitsStored)
    signed: NDArray[Any] = np.left_shift(plane, spare).view(f"i{plane.dtype.itemsize}") >> spare
    return signed


def _syntax(dataset: Any) -> Any:
    meta = getattr(dataset, "file_meta", None)
    return None if meta is None else meta.get("TransferSyntaxUID")


def _slopes(dataset: Any) -> tuple[list[float], list[float]]:
    """Return slopes and intercepts, one for all frames or one for each (section C.7.6.16.2.9)."""
    groups = [_transformation(group) for group in items(dataset, "PerFrameFunctionalGroupsSequence")]
    known = [group for group in groups if group is not None]
    if groups and len(known) == len(groups):
        return [slope for slope, _ in known], [intercept for _, intercept in known]
    for group in items(dataset, "SharedFunctionalGroupsSequence"):
        found = _transformation(group)
        if found is not None:
            return [found[0]], [found[1]]
    slope = dataset.get("RescaleSlope")
    return [float(1 if slope is None else slope)], [float(dataset.get("RescaleIntercept") or 0)]


def _transformation(group: Any) -> tuple[float, float] | None:
    steps = items(group, "PixelValueTransformationSequence")
    return (float(steps[0].RescaleSlope), float(steps[0].RescaleIntercept)) if steps else None


def _rescaled(array: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    if (slope, intercept) == (1.0, 0.0):
        return array
    if slope.is_integer() and intercept.is_integer() and array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        values = array.astype(np.int32) * np.int32(slope) + np.int32(intercept)
        small = values.size and values.min() >= -(2**15) and values.max() < 2**15
        return values.astype(np.int16) if small else values
    return array.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _turned(array: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Turn values round where the lowest is shown white (section C.7.6.3.1.2), as on radiographs."""
    bits = int(dataset.get("BitsStored", array.dtype.itemsize * 8))
    values = array.astype(np.int64)
    turned = (2**bits - 1 - values).clip(0) if array.dtype.kind == "u" else -1 - values
    return turned.astype(array.dtype)
