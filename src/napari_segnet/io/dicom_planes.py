"""Where the planes of a DICOM series lie: their order along the normal, and their distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import counted
from napari_segnet.errors import DataError
from napari_segnet.io.dicom_pixels import items

_ONE_DIRECTION = 1e-2
"""Largest difference of a component of the directions of planes that are parallel."""
_ONE_PLACE = 1e-3
"""Distance below which planes lie at the same place, mm."""
_GAP = 1.5
"""Distance of neighbours, relative to the median, from which on planes are missing between them."""


@dataclass(frozen=True)
class Plane:
    """What a file says of one plane.

    `position` is that of its first pixel, `direction` the directions of its rows and columns, both in the patient's
    coordinates (mm); `spacing` the size of a pixel along Y and X; `location` its place where there is no position;
    `moving`: the frames follow each other in time.
    """

    file: Path
    number: int
    position: tuple[float, ...] | None = None
    direction: tuple[float, ...] | None = None
    spacing: tuple[float, float] | None = None
    location: float | None = None
    distance: float | None = None
    moving: bool = False


def planes_of(path: Path, dataset: Any, frames: int) -> list[Plane]:
    """Return the planes of a file that was read with pydicom: one, or one for each frame."""
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    each = items(dataset, "PerFrameFunctionalGroupsSequence")
    groups = [[group] for group in each] if len(each) == frames else [[] for _ in range(frames)]
    moving = frames > 1 and any(int(tag) in (0x00181063, 0x00181065) for tag in _tags(dataset))
    number = int(dataset.get("InstanceNumber") or 0)
    planes = []
    for frame, group in enumerate(groups):
        # What a file says of its first frame doesn't hold for the others.
        places = [*group, *shared, *([dataset] if frames == 1 else [])]
        measures = _item([*places, dataset], "PixelMeasuresSequence")
        planes.append(
            Plane(
                path,
                number if frames == 1 else frame,
                _numbers(_item(places, "PlanePositionSequence"), "ImagePositionPatient", 3),
                _numbers(_item(places, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
                _spacing(measures),
                _number(dataset, "SliceLocation") if frames == 1 else None,
                _number(measures, "SpacingBetweenSlices"),
                moving,
            )
        )
    return planes


def arrange(planes: Sequence[Plane], name: str) -> tuple[NDArray[np.int64], dict[str, float], bool]:
    """Bring planes into the order of their positions.

    Parameters
    ----------
    planes : sequence of Plane
    name : str
        What to call them in an error.

    Returns
    -------
    order : (T, Z) int64
        Number of the plane at each time and place.
    pixel_size : dict of str to float
        Of Z, Y and X, mm, where it is known.
    moving : bool
        Whether the frames are times, not places.

    Raises
    ------
    DataError
        If the planes aren't parallel, don't lie at as many places each time, or some are missing.
    """
    size: dict[str, float] = {}
    spacings = {p.spacing for p in planes}
    if len(spacings) == 1 and (spacing := spacings.pop()) is not None:
        size["Y"], size["X"] = spacing
    count = len(planes)
    if count == 1:
        return np.zeros((1, 1), np.int64), size, False
    places = _places(planes, name)
    if places is None:
        by_number = sorted(range(count), key=lambda i: (planes[i].number, i))
        distances = {p.distance for p in planes}
        if len(distances) == 1 and (distance := distances.pop()):
            size["Z"] = abs(distance)
        moving = all(p.moving for p in planes)
        return np.array([by_number]), size, moving
    # Rounded, so that planes at one place follow each other in the order in which they were taken.
    order = sorted(range(count), key=lambda i: (round(places[i] / _ONE_PLACE), planes[i].number, i))
    sorted_places = np.array([places[i] for i in order])
    first = np.concatenate([[True], np.diff(sorted_places) > 2 * _ONE_PLACE])
    repeats = np.bincount(np.cumsum(first) - 1)
    if len(set(repeats.tolist())) > 1:
        raise DataError(
            f"{name}: {counted(int(repeats.max()), 'plane')} lie at one place and {int(repeats.min())} at another.",
            "Put what was recorded at each time, or with each setting, into a folder of its own.",
        )
    if len(repeats) > 1:
        size["Z"] = _distance([planes[i] for i in order[:: repeats[0]]], sorted_places[first], name)
    by_place = np.array(order).reshape(len(repeats), repeats[0])
    return by_place.T, size, len(repeats) == 1


def _places(planes: Sequence[Plane], name: str) -> list[float] | None:
    """Return where each plane lies along the normal, mm; None where the files don't say it."""
    first = planes[0]
    if all(p.position is not None and p.direction is not None for p in planes):
        directions = np.array([p.direction for p in planes])
        apart = np.abs(directions - directions[0]).max(axis=1)
        if apart.max() > _ONE_DIRECTION:
            other = planes[int(apart.argmax())]
            raise DataError(
                f"{name} mixes planes of different directions, such as {first.file.name} and {other.file.name}.",
                "Take the overview images out of the folder.",
            )
        normal = np.cross(directions[0, :3], directions[0, 3:])
        return [float(np.dot(normal, p.position)) for p in planes if p.position is not None]
    if all(p.location is not None for p in planes):
        return [p.location for p in planes if p.location is not None]
    return None


def _distance(planes: Sequence[Plane], places: NDArray[np.float64], name: str) -> float:
    """Return the mean distance of neighbours; raise `DataError` where some are missing between two."""
    steps = np.diff(places)
    usual = float(np.median(steps))
    widest = int(steps.argmax())
    if steps[widest] > _GAP * usual:
        raise DataError(
            f"{name} lacks planes: neighbours are {usual:.4g} mm apart, but {planes[widest].file.name} and "
            f"{planes[widest + 1].file.name} {steps[widest]:.4g} mm.",
            "Copy the missing files, or take away those on one side of the gap.",
        )
    return float((places[-1] - places[0]) / len(steps))


def _item(places: Sequence[Any], name: str) -> Any:
    """Return the first item of a sequence in the first group that has it; the last group itself holds such elements."""
    for group in places:
        found = items(group, name)
        if found:
            return found[0]
    return places[-1] if places else {}


def _spacing(group: Any) -> tuple[float, float] | None:
    # Of a projection the size at the detector is better than nothing.
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        found = _numbers(group, name, 2)
        if found is not None and min(found) > 0:
            return round(found[0], 9), round(found[1], 9)
    return None


def _numbers(group: Any, name: str, count: int) -> tuple[float, ...] | None:
    found = group.get(name)
    if not found or len(found) != count:
        return None
    values = tuple(float(value) for value in found)
    return values if np.isfinite(values).all() else None


def _number(group: Any, name: str) -> float | None:
    found = group.get(name)
    return None if found in (None, "") or not np.isfinite(float(found)) else float(found)


def _tags(dataset: Any) -> list[Any]:
    """Return the elements that say what changes from frame to frame."""
    found = dataset.get("FrameIncrementPointer")
    if found is None:
        return []
    return [found] if isinstance(found, int) else list(found)
