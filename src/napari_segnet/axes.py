"""Axes as strings: which axis of an array is time, depth, channel, row and column.

The letters are T, Z, C, Y and X; an RGB photograph is ``"YXC"``. Whatever the order in a file, the rest of
the package works on planes (C, Y, X) or volumes (C, Z, Y, X); `to_stack` gives them one by one and reads only what
is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet.errors import DataError

LETTERS = "TZCYX"
# An axis as short as this, where nothing says what it is, holds channels.
_MOST_CHANNELS = 4


def per_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return one number for each of `ndim` axes: the same for all, or those given."""
    numbers = (value,) * ndim if isinstance(value, int) else tuple(value)
    if len(numbers) != ndim:
        raise ValueError(f"{value} is no number for each of {ndim} axes")
    return numbers


def times(lengths: Iterable[int]) -> str:
    """Return lengths as people write them: ``"12 x 34"``."""
    return " x ".join(map(str, lengths))


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: ``"1 channel"``, ``"3 channels"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class ArrayLike(Protocol):
    """What an array must do here: numpy, memory maps, zarr and dask arrays all can."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    def __getitem__(self, key: Any, /) -> Any:
        """Read a part."""


def guess_axes(shape: tuple[int, ...], dtype: DTypeLike, hint: str | None = None, *, channels: bool = True) -> str:
    """Say which axis is which.

    Parameters
    ----------
    shape : tuple of int
        Two to five axes.
    dtype : dtype
        Only 8 and 16 bit arrays with three or four values last are taken for colours.
    hint : str, optional
        What the file says, a letter an axis: S (samples) counts as C, any other letter but TZCYX as unknown.
        A hint with as many letters as there are axes wins; unknown ones are filled up by the rules below.
    channels : bool
        False for labels, which have no channels: a short axis is then Z, not C.

    Returns
    -------
    str
        A permutation of some of T, Z, C, Y and X, always with Y and X. Without a hint: the last two axes are
        Y and X, or the two before colours; an axis of at most four before them is C, others are Z, then T.

    Raises
    ------
    DataError
        If the array has fewer than two or more than five axes.
    """
    if not 2 <= len(shape) <= len(LETTERS):
        raise DataError(
            f"An array of {len(shape)} axes, shape {tuple(shape)}, is no image.",
            "Images have two to five axes: Y and X, and perhaps channels, Z and T.",
        )
    axes = _read_hint(hint, len(shape)) or "?" * len(shape)
    if "Y" not in axes and "X" not in axes:
        colours = (
            channels
            and axes.endswith("?")
            and "C" not in axes
            and len(shape) > 2
            and shape[-1] in (3, 4)
            and np.dtype(dtype).itemsize <= 2
        )
        free = [i for i, letter in enumerate(axes) if letter == "?"]
        if len(free) < 2 + colours:
            axes, free = "?" * len(shape), list(range(len(shape)))
        places = free[-3:] if colours else free[-2:]
        axes = _put(axes, dict(zip(places, "YXC", strict=False)))
    return _fill(axes, shape, channels)


def _read_hint(hint: str | None, ndim: int) -> str | None:
    if hint is None or len(hint) != ndim:
        return None
    axes = "".join(letter if letter in LETTERS else "?" for letter in hint.upper().replace("S", "C"))
    known = axes.replace("?", "")
    # Half a plane, or two axes of one name, is worth less than no hint.
    return axes if len(set(known)) == len(known) and ("Y" in axes) == ("X" in axes) else None


def _fill(axes: str, shape: tuple[int, ...], channels: bool) -> str:
    """Name the unknown axes, from the last to the first."""
    for i in reversed(range(len(axes))):
        if axes[i] != "?":
            continue
        free = [letter for letter in "ZTC" if letter not in axes]
        if channels and "C" in free and (shape[i] <= _MOST_CHANNELS or free == ["C"]):
            letter = "C"
        else:
            letter = next(iter(f for f in free if f != "C"), "C")
        axes = _put(axes, {i: letter})
    return axes


def _put(axes: str, letters: dict[int, str]) -> str:
    return "".join(letters.get(i, letter) for i, letter in enumerate(axes))


def check_axes(axes: str, shape: tuple[int, ...], name: str = "the array") -> str:
    """Return `axes` in capitals, S as C, or raise `DataError` if they don't fit an array of this shape."""
    letters = axes.upper().replace("S", "C")
    wrong = set(letters) - set(LETTERS) or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters)
    if wrong:
        raise DataError(
            f"{axes!r} are no axes.", "Write a letter an axis, among T, Z, C, Y and X: YX, YXC, ZYX, CYX ..."
        )
    if len(letters) != len(shape):
        raise DataError(
            f"The axes {axes!r} don't fit {name}: its shape is {tuple(shape)}.",
            f"Write {len(shape)} letters, one for each axis.",
        )
    return letters


class LazyView:
    """A part of an array with its axes in another order; a slice reads just what it covers.

    Parameters
    ----------
    array : array-like
        Anything that can be sliced.
    axes : str
        The axes of `array`.
    order : str
        The axes of the view. A C that `array` hasn't is an axis of length one.
    fixed : dict, optional
        Index along each axis that is not in `order` (0 where left out).
    stop : dict, optional
        Where to cut an axis short, such as ``{"C": 3}``.
    """

    def __init__(
        self,
        array: ArrayLike,
        axes: str,
        order: str,
        fixed: dict[str, int] | None = None,
        stop: dict[str, int] | None = None,
    ) -> None:
        self._array, self._axes, self._order = array, axes, order
        self._fixed = {letter: 0 for letter in axes if letter not in order} | (fixed or {})
        lengths = dict(zip(axes, array.shape, strict=True)) | (stop or {})
        self.shape: tuple[int, ...] = tuple(int(lengths.get(letter, 1)) for letter in order)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.ndim = len(order)
        self.size = math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = self._normalize(key)
        if keys is None:
            return np.asarray(np.asarray(self)[key])
        # Not every store takes a negative step: read forwards, then turn round.
        forwards = dict(zip(self._order, (_forwards(k) for k in keys), strict=True))
        index = tuple(self._fixed[letter] if letter not in forwards else forwards[letter][0] for letter in self._axes)
        block = np.asarray(self._array[index])
        letters = [letter for letter in self._axes if letter in self._order]
        block = block.transpose([letters.index(letter) for letter in self._order if letter in letters])
        for i, letter in enumerate(self._order):
            if letter not in letters:
                block = np.expand_dims(block, i)[(slice(None),) * i + (forwards[letter][0],)]
        block = block[tuple(back for _, back in forwards.values())]
        whole = tuple(0 if isinstance(k, int) else slice(None) for k in keys)
        return np.asarray(block[whole])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype=dtype)

    def _normalize(self, key: Any) -> list[int | slice] | None:
        """Return one int or slice an axis, or None for a key that only numpy understands."""
        parts = key if isinstance(key, tuple) else (key,)
        if sum(part is Ellipsis for part in parts) == 1:
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            filling = (slice(None),) * (self.ndim - len(parts) + 1)
            parts = parts[:at] + filling + parts[at + 1 :]
        if not all(isinstance(p, int | np.integer | slice) and not isinstance(p, bool) for p in parts):
            return None
        if len(parts) > self.ndim:
            raise IndexError(f"{len(parts)} indices for an array of {self.ndim} axes")
        parts = parts + (slice(None),) * (self.ndim - len(parts))
        keys: list[int | slice] = []
        for part, length in zip(parts, self.shape, strict=True):
            if isinstance(part, slice):
                start, stop, step = part.indices(length)
                keys.append(slice(start, None if stop < 0 else stop, step))
                continue
            if not -length <= part < length:
                raise IndexError(f"index {part} is out of bounds for an axis of length {length}")
            keys.append(int(part) % length)
        return keys


def _forwards(key: int | slice) -> tuple[slice, slice]:
    """Return a slice with a positive step, and the slice that then gives what `key` asks for."""
    if isinstance(key, int):
        return slice(key, key + 1), slice(None)
    if key.step > 0:
        return slice(key.start, max(key.start, key.stop), key.step), slice(None)
    chosen = range(key.start, -1 if key.stop is None else key.stop, key.step)
    if not chosen:
        return slice(0, 0, 1), slice(None)
    return slice(chosen[-1], chosen[0] + 1, -key.step), slice(None, None, -1)


def view(
    array: ArrayLike,
    axes: str,
    order: str,
    fixed: dict[str, int] | None = None,
    stop: dict[str, int] | None = None,
) -> ArrayLike:
    """Return a part of an array with its axes in another order; parameters as those of `LazyView`.

    Numpy arrays and memory maps give views of themselves, anything else a `LazyView`.
    """
    if not isinstance(array, np.ndarray):
        return LazyView(array, axes, order, fixed, stop)
    fixed, stop = fixed or {}, stop or {}
    index = tuple(slice(0, stop.get(letter)) if letter in order else fixed.get(letter, 0) for letter in axes)
    part = array[index]
    letters = [letter for letter in axes if letter in order]
    part = part.transpose([letters.index(letter) for letter in order if letter in letters])
    missing = [i for i, letter in enumerate(order) if letter not in letters]
    result: NDArray[Any] = np.expand_dims(part, tuple(missing))
    return result


class ImageStack:
    """The planes of an image, or its volumes, one after another.

    Attributes
    ----------
    spatial : {"YX", "ZYX"}
        The axes of an item: a plane's or a volume's.
    axes : str
        The axes of the image without C, in its order.
    shape : tuple of int
        Their lengths: the shape of what has one number for each pixel.
    leading_axes : str
        The axes besides C and those of an item, in the order of the image: ``""``, ``"Z"``, ``"TZ"`` ...
    leading : tuple of int
        Their lengths.
    item_shape : tuple of int
        Rows and columns of a plane; planes, rows and columns of a volume.
    channels : int
    dtype : dtype

    Raises
    ------
    DataError
        If the axes don't fit the array, or volumes are wanted of an image without a Z axis.
    """

    def __init__(self, array: ArrayLike, axes: str, spatial: str = "YX") -> None:
        axes = check_axes(axes, array.shape)
        if not set(spatial) <= set(axes):
            raise DataError(
                f"An image with the axes {axes} is no volume.",
                "Choose a volume (axes ZYX), or a network for planes.",
            )
        lengths = dict(zip(axes, (int(n) for n in array.shape), strict=True))
        self._array, self._axes = array, axes
        self.spatial = spatial
        self.axes = axes.replace("C", "")
        self.shape = tuple(lengths[letter] for letter in self.axes)
        self.leading_axes = "".join(letter for letter in axes if letter not in f"C{spatial}")
        self.leading = tuple(lengths[letter] for letter in self.leading_axes)
        self.item_shape = tuple(lengths[letter] for letter in spatial)
        self.channels = lengths.get("C", 1)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)

    def __len__(self) -> int:
        return math.prod(self.leading)

    def __getitem__(self, i: int) -> Any:
        """Return item `i` as an array-like (C, [Z], Y, X): a view of a numpy array, else a `LazyView`."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"item {i} of {len(self)}")
        place = self.index(i % len(self))
        return view(self._array, self._axes, f"C{self.spatial}", dict(zip(self.leading_axes, place, strict=True)))

    def index(self, i: int) -> tuple[int, ...]:
        """Return the place of item `i` along the leading axes; ``()`` in a single one."""
        return tuple(int(n) for n in np.unravel_index(i, self.leading)) if self.leading else ()


def to_stack(array: ArrayLike, axes: str, spatial: str = "YX") -> ImageStack:
    """Return the planes or volumes of an image.

    Parameters
    ----------
    array : array-like
        Numpy array, memory map, zarr or dask array; only slices of it are read, and only when they are used.
    axes : str
        Its axes.
    spatial : {"YX", "ZYX"}
        Whether planes or volumes are wanted.

    Returns
    -------
    ImageStack
        ``len()`` items, each an array-like (C, Y, X) or (C, Z, Y, X).

    Raises
    ------
    DataError
        If the axes don't fit the array, or don't have those of a volume.
    """
    return ImageStack(array, axes, spatial)
