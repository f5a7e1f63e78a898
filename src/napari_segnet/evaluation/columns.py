"""Numbers of images as columns: the tables that statistics are made from."""

from __future__ import annotations

import math
from collections.abc import Hashable, ItemsView, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_segnet.axes import counted
from napari_segnet.errors import ConfigError, DataError

Column = NDArray[np.float64]


_ROUNDING = 1e-13


class Table(Protocol):
    """Columns by name: a dictionary of sequences, or a pandas data frame."""

    def items(self) -> Any:
        """Return pairs of a name and its column."""


def as_column(values: ArrayLike, name: str = "The values") -> Column:
    """Return numbers as a column; None becomes NaN.

    Parameters
    ----------
    values : sequence of float
    name : str
        What to call them in an error.

    Returns
    -------
    (N,) float64

    Raises
    ------
    DataError
        If they are no numbers, or a table.
    """
    wrong = DataError(f"{name}: {_shown(values)} are no numbers.", "Give one number for each image.")
    try:
        raw = np.asarray(values)
        # Text isn't read as numbers: names of images may be digits.
        if raw.dtype.kind in "USmM" or (raw.dtype.kind == "O" and any(isinstance(v, str) for v in raw.flat)):
            raise wrong
        column: Column = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise wrong from error
    if column.ndim != 1:
        raise DataError(f"{name} have the shape {column.shape}.", "Give one number for each image.")
    return column


def as_columns(table: Table) -> dict[str, Column]:
    """Return a table as columns of one length.

    Parameters
    ----------
    table : mapping of str to sequence of float, or pandas.DataFrame
        A row an image, a column a measure, a model or the like; NaN or None where there is no number.

    Returns
    -------
    dict of str to (N,) float64

    Raises
    ------
    DataError
        If there are no columns, their lengths differ, or one holds no numbers.
    """
    pairs: ItemsView[Any, Any] = table.items()
    columns = {str(name): as_column(values, f"Column {str(name)!r}") for name, values in pairs}
    lengths = {name: len(column) for name, column in columns.items()}
    if not columns:
        raise DataError("The table has no columns.", "Give a column for each measure.")
    if len(set(lengths.values())) > 1:
        raise DataError(
            "The columns have different lengths: " + ", ".join(f"{k!r} {n}" for k, n in lengths.items()) + ".",
            "Give one number for each image, NaN where there is none.",
        )
    return columns


def as_pairs(predicted: ArrayLike, reference: ArrayLike) -> tuple[Column, Column, tuple[str, ...]]:
    """Return the pairs that are complete, and a note about those that aren't.

    Parameters
    ----------
    predicted, reference : sequence of float
        One number for each image.

    Returns
    -------
    predicted, reference : (N,) float64
        Without pairs in which one is NaN.
    notes : tuple of str
        How many were left out, if any were.

    Raises
    ------
    DataError
        If the lengths differ, they are no numbers, or one is infinite.
    """
    sides = as_column(predicted, "The predicted values"), as_column(reference, "The reference values")
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"There are {len(sides[0])} predicted values and {len(sides[1])} of the reference.",
            "Give one of each for each image, in the same order.",
        )
    if any(np.isinf(side).any() for side in sides):
        raise DataError("One of the values is infinite.", "Leave this image out, or put NaN.")
    kept = ~(np.isnan(sides[0]) | np.isnan(sides[1]))
    left_out = int(len(kept) - kept.sum())
    notes = (f"{counted(left_out, 'pair')} of {len(kept)} left out: a value is missing.",) if left_out else ()
    return sides[0][kept], sides[1][kept], notes


def group_numbers(groups: Sequence[Hashable], images: int) -> NDArray[np.int64]:
    """Return the group of each image as numbers from 0 on, in the order in which groups appear.

    Parameters
    ----------
    groups : sequence
        The group of each image, such as the name of an animal.
    images : int
        How many images there are.

    Raises
    ------
    DataError
        If there is not a group for each image.
    """
    names = list(groups)
    if len(names) != images:
        raise DataError(f"There are {len(names)} groups for {counted(images, 'image')}.", "Give one for each image.")
    missing = [k for k, name in enumerate(names) if name is None or (isinstance(name, float) and math.isnan(name))]
    if missing:
        raise DataError(f"Row {missing[0] + 1} has no group.", "Give a group for each image.")
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)


def checked_confidence(confidence: float) -> float:
    """Return a confidence level, or raise `ConfigError` if it is none."""
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence = {confidence}.", "Choose a share between 0 and 1, such as 0.95.")
    return confidence


def is_constant(values: Column, *scales: Column) -> bool:
    """Return whether values differ by no more than rounding; `scales` are what they were computed from."""
    if len(values) == 0:
        return True
    return bool(np.ptp(values) <= _ROUNDING * max(float(np.abs(column).max()) for column in (values, *scales)))


def differences_of(first: Column, second: Column) -> Column:
    """Return first - second, exactly 0 where they are equal but for rounding."""
    found = first - second
    equal = np.abs(found) <= _ROUNDING * np.maximum(np.abs(first), np.abs(second))
    return np.where(equal, 0, found)


def json_ready(tree: Any) -> Any:
    """Return a tree of dictionaries and lists in which numbers that aren't finite are None, as JSON needs it."""
    if isinstance(tree, dict):
        return {name: json_ready(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [json_ready(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _shown(values: ArrayLike) -> str:
    text = repr(values).replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "..."
