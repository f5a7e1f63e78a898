"""Lazy arrays whose damaged parts are named: a file that opened well may still have a broken chunk."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import DataError

_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, AssertionError, struct.error, zlib.error)


class GuardedArray:
    """An array of a file that is read when it is sliced; a part that can't be read raises `DataError`.

    Parameters
    ----------
    array : array-like
        Such as a zarr array.
    path : Path
        Its file, for the error.
    """

    def __init__(self, array: ArrayLike, path: Path) -> None:
        self._array, self._path = array, path
        self.shape: tuple[int, ...] = tuple(int(n) for n in array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.ndim = len(self.shape)
        self.chunks: tuple[int, ...] | None = getattr(array, "chunks", None)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        try:
            return np.asarray(self._array[key])
        except _UNREADABLE as error:
            raise DataError(
                f"A part of {self._path} can't be read: it is damaged or cut short.", "Copy or save it again."
            ) from error

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype=dtype)
