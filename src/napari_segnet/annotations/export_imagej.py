"""ROI sets of labels, as ImageJ's ROI Manager opens them: outlines along the edges of pixels.

An object in one part without holes is a traced outline, as the wand makes; any other is a composite. ImageJ has no
classes: they are the property ``class``, the group (to 255), the colour, and the first part of the name.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.annotations.contours import polygons
from napari_segnet.annotations.labelled import LabelledImage, LabelledRegion
from napari_segnet.annotations.model import Points
from napari_segnet.annotations.options import ExportOptions
from napari_segnet.run import write_atomically

# Coordinates of outlines have two bytes with a sign, those of composites four.
_LARGEST_COORDINATE = 32767
_LARGEST_GROUP = 255
_DATE = (1980, 1, 1, 0, 0, 0)
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write(image: LabelledImage, path: Path, options: ExportOptions) -> int:
    """Write the regions of an image as a zip file of ROIs; returns how many there are."""
    several_axes = len(image.labels.axes) > 3
    content = io.BytesIO()
    number = 0
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, region in enumerate(image.regions(), start=1):
            name = _name(region, number)
            roi = _roi(region, options.tolerance)
            roi.name = name
            if region.plane is not None and several_axes:
                roi.t_position, roi.z_position = region.plane[0] + 1, region.plane[1] + 1
            elif region.plane is not None:
                roi.position = max(region.plane) + 1
            archive.writestr(zipfile.ZipInfo(f"{name}.roi", _DATE), roi.tobytes())
    write_atomically(path, content.getvalue())
    return number


def _name(region: LabelledRegion, number: int) -> str:
    """Return a name that no other region has, such as ``cell-12`` or, in a stack, ``0003-cell-12``."""
    plane = "" if region.plane is None else "".join(f"{place + 1:04d}-" for place in region.plane)
    of_class = "".join(letter if letter.isalnum() or letter in " _.+()" else "_" for letter in region.drawn.name)
    return f"{plane}{of_class}-{number if region.number is None else region.number}"


def _roi(region: LabelledRegion, tolerance: float) -> Any:
    from roifile import ROI_TYPE, ImagejRoi

    parts = polygons(region.piece, tolerance)
    rings = [ring for rings in parts for ring in rings]
    corners = np.concatenate(rings)
    if len(rings) == 1 and corners.max() <= _LARGEST_COORDINATE:
        roi = ImagejRoi.frompoints(rings[0].astype(np.int32))
        roi.roitype = ROI_TYPE.TRACED
    else:
        path = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
        roi = ImagejRoi(roitype=ROI_TYPE.RECT, shape_roi_size=len(path), multi_coordinates=path)
    roi.left, roi.top = (int(side) for side in corners.min(axis=0))
    roi.right, roi.bottom = (int(side) for side in corners.max(axis=0))
    roi.stroke_color = b"\xff" + bytes.fromhex(region.drawn.colour[1:])
    roi.group = region.drawn.value if region.drawn.value <= _LARGEST_GROUP else 0
    roi.props = "".join(f"{key}: {value}\n" for key, value in {"class": region.drawn.name, **region.notes()}.items())
    return roi


def _path(ring: Points) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a ring as commands of java.awt.geom.PathIterator, each with its point."""
    commands = np.full((len(ring), 3), _LINE)
    commands[0, 0] = _MOVE
    commands[:, 1:] = ring
    return np.append(commands.ravel(), _CLOSE)
