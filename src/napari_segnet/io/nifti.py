"""NIfTI: volumes of radiology, with the fastest axis first in the file."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from napari_segnet.io.formats import RawImage, unit_name


def read_nifti(path: Path) -> RawImage:
    """Read a NIfTI image as [T]ZYX; an uncompressed one without scaling stays a memory map.

    X, Y and Z of the file are turned round to Z, Y and X; the rotation of its affine is not used.
    """
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError) as error:
        raise ValueError(str(error)) from error
    slope, intercept = image.header.get_slope_inter()
    plain = slope in (None, 1) and intercept in (None, 0)
    array = np.asanyarray(image.dataobj) if plain else image.get_fdata(dtype=np.float32)
    letters = "XYZTC"[: array.ndim]
    zooms = [float(zoom) for zoom in image.header.get_zooms()]
    units = unit_name(image.header.get_xyzt_units()[0])
    size = {letter: zoom for letter, zoom in zip(letters, zooms, strict=False) if letter in "XYZ" and zoom > 0}
    return RawImage(array.transpose(), letters[::-1], size if units else {}, units)
