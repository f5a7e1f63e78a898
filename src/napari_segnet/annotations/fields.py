"""Values in files of other programs, checked: numbers, points, names, colours. What is none raises `ValueError`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from napari_segnet.annotations.model import Points, Polygon

NUMBER_KEY = "segnet_object"
"""Where our own files say the number of an object."""
VALUE_KEY = "segnet_value"
"""Where our own files say the value of a class."""
_FARTHEST = 1e9
_LARGEST_WHOLE = 2**53
_LONGEST_NAME = 200


def number(value: Any) -> float:
    """Return a number, which may be written as text; raises `ValueError` for all else, and beyond 1e9."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{_short(value)} is no number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    except ValueError:
        raise ValueError(f"{_short(value)} is no number") from None
    if not abs(found) <= _FARTHEST:
        raise ValueError("a number beyond 1e9, or none")
    return found


def whole(value: Any) -> int | None:
    """Return a whole number from 0 to 2^53, which may be written as text; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return int(found) if 0 <= found <= _LARGEST_WHOLE and found == int(found) else None


def points(value: Any, least: int = 1) -> Points:
    """Return (N, 2) coordinates of a list of pairs; further coordinates of a point are left out.

    Raises
    ------
    ValueError
        If these are no numbers, lie beyond 1e9, or are fewer than `least`.
    """
    try:
        made = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError, MemoryError):
        raise ValueError("coordinates that are no pairs of numbers") from None
    if made.ndim != 2 or not 2 <= made.shape[1] <= 4:
        raise ValueError("coordinates that are no pairs of numbers")
    return _checked(made[:, :2], least)


def flat_points(value: Any, least: int = 1) -> Points:
    """Return (N, 2) coordinates of a list x, y, x, y ...; raises `ValueError` as `points`."""
    try:
        made = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError, MemoryError):
        raise ValueError("coordinates that are no numbers") from None
    if made.ndim != 1 or made.size % 2:
        raise ValueError("coordinates that are no list of x and y")
    return _checked(made.reshape(-1, 2), least)


def _checked(made: Points, least: int) -> Points:
    if len(made) < least:
        raise ValueError(f"fewer than {least} points")
    if not (np.abs(made) <= _FARTHEST).all():
        raise ValueError("coordinates beyond 1e9, or none")
    return made


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    """Return a rectangle of its four sides, in any order."""
    return Polygon((np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64),))


def text(value: Any) -> str:
    """Return a name as one line, at most 200 characters of it; empty for what is no text and no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return ""
    return " ".join(str(value)[: 4 * _LONGEST_NAME].split())[:_LONGEST_NAME]


def colour(value: Any) -> str | None:
    """Return ``#rrggbb`` of such a text, a list of three or four numbers to 255, or one number 0xAARRGGBB."""
    if isinstance(value, str):
        digits = value.strip().removeprefix("#")
        valid = len(digits) in (6, 8) and all(c in "0123456789abcdefABCDEF" for c in digits)
        return f"#{digits[:6].lower()}" if valid else None
    if isinstance(value, int) and not isinstance(value, bool):
        return f"#{value & 0xFFFFFF:06x}"
    if isinstance(value, list) and len(value) in (3, 4):
        parts = [whole(part) for part in value[:3]]
        if all(part is not None and part <= 255 for part in parts):
            return "#" + "".join(f"{part:02x}" for part in parts)
    return None


def size(height: Any, width: Any) -> tuple[int, int] | None:
    """Return height and width; None where either is no positive whole number."""
    rows, columns = whole(height), whole(width)
    return (rows, columns) if rows and columns else None


def _short(value: Any) -> str:
    return repr(value)[:40]
