"""Run lengths, as COCO and CVAT write them: of pixels outside, inside, outside ... until all have been counted.

COCO goes down the columns of the whole image, and writes its counts as a list or as a text: of each count the
difference to the last but one, five bits a character (rleToString in pycocotools' maskApi.c). CVAT goes along the
rows of the box around an object.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.model import Runs
from napari_segnet.axes import times

_LARGEST_BOX = 2**40
_MOST_DIGITS = 8


def runs(counts: Any, box: tuple[int, int], row: int = 0, column: int = 0, *, by_columns: bool = False) -> Runs:
    """Check run lengths.

    Parameters
    ----------
    counts : sequence of int, or str
        Lengths, as numbers or in the text of COCO. What they leave of the box is outside.
    box : (int, int)
        Height and width of the box that they fill, pixels.
    row, column : int
        Of its first pixel.
    by_columns : bool
        Whether they go down column by column (COCO), or along row by row (CVAT).

    Returns
    -------
    Runs

    Raises
    ------
    ValueError
        If they are no lengths, or longer than the box.
    """
    height, width = box
    if height < 1 or width < 1 or height * width > _LARGEST_BOX:
        raise ValueError(f"run lengths of a box of {times(box)} pixels")
    lengths = decode_text(counts) if isinstance(counts, str) else _lengths(counts)
    if (lengths < 0).any() or (lengths > height * width).any() or lengths.sum(dtype=np.float64) > height * width:
        raise ValueError("run lengths that are negative, or longer than the image")
    return Runs(lengths, height, width, row, column, by_columns)


def _lengths(counts: Any) -> NDArray[np.int64]:
    try:
        # As floats: whole numbers of any size become one type, and nothing long is copied for each.
        found = np.array(counts, np.float64)
    except (TypeError, ValueError, OverflowError, MemoryError):
        raise ValueError("run lengths that are no numbers") from None
    if found.ndim != 1 or not (np.abs(found) <= _LARGEST_BOX).all() or (found != np.floor(found)).any():
        raise ValueError("run lengths that are no whole numbers")
    return found.astype(np.int64)


def decode_text(text: str) -> NDArray[np.int64]:
    """Return the run lengths of COCO's text; raises `ValueError` if it is none."""
    try:
        digits = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError("run lengths in strange characters") from None
    if not digits.size:
        return digits
    if (digits < 0).any() or (digits > 63).any() or digits[-1] & 32:
        raise ValueError("run lengths in strange characters, or cut short")
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MOST_DIGITS:
        raise ValueError("run lengths longer than any image")
    place = np.arange(digits.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((digits & 31) << (5 * place), starts)
    values -= np.where(digits[ends] & 16, 1 << (5 * lengths), 0)
    # From the fourth on they are differences to the last but one.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def encode(mask: NDArray[np.bool_], *, by_columns: bool = False) -> NDArray[np.int64]:
    """Return the run lengths of a (Y, X) mask."""
    pixels = mask.ravel(order="F" if by_columns else "C")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [pixels.size]]))
    return np.concatenate([[0], lengths]) if pixels.size and pixels[0] else lengths


def encode_text(counts: NDArray[np.int64]) -> str:
    """Return run lengths as COCO's text."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    characters = []
    for value in values.tolist():
        more = True
        while more:
            digit = value & 31
            value >>= 5
            more = value != (-1 if digit & 16 else 0)
            characters.append(chr(48 + digit + 32 * more))
    return "".join(characters)
