"""Writing results: under a temporary name, renamed when whole, so that no reader ever sees half a file.

TIFFs are uncompressed, with axes and pixel size: as ImageJ hyperstacks where ImageJ knows the type and size
of the array (Fiji then shows the class colours, too), as OME-TIFF elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet.axes import ArrayLike, check_axes
from napari_segnet.errors import SegNetError
from napari_segnet.io.formats import is_zarr
from napari_segnet.io.labels import smallest_unsigned

__all__ = ["nbytes", "npy_steps", "open_output", "smallest_unsigned", "write_npy", "write_tiff"]

Kind = Literal["tif", "npy", "zarr"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLASSIC_LIMIT = 2**32 - 2**25
_CHUNK = 1024
_BLOCK_BYTES = 8_000_000
_SHORT_UNITS = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}
_OME_UNITS = {**_SHORT_UNITS, "micrometer": "µm", "angstrom": "Å", "inch": "in"}


def write_tiff(
    path: Path | str,
    array: ArrayLike,
    axes: str,
    pixel_size: Sequence[float] | None = None,
    units: str | None = None,
    colours: Sequence[str] | None = None,
) -> None:
    """Write a TIFF file atomically.

    Parameters
    ----------
    path : Path
        The file; an existing one is replaced when the new one is whole.
    array : array-like
        The pixels.
    axes : str
        Their axes.
    pixel_size : sequence of float, optional
        Size of a pixel along [Z], Y, X.
    units : str, optional
        Of `pixel_size`, such as ``"micrometer"``.
    colours : sequence of str, optional
        ``"#rrggbb"`` of the values 0, 1, 2 ...: a look-up table that Fiji shows 8 and 16 bit labels with.

    Raises
    ------
    SegNetError
        If it can't be written, as on a full disk; an earlier file is then still there.
    """
    with open_output(
        path, array.shape, array.dtype, axes, pixel_size=pixel_size, units=units, colours=colours
    ) as output:
        if isinstance(array, np.ndarray) or len(array.shape) < 3:
            output[...] = np.asarray(array)
        else:
            for i in range(array.shape[0]):
                output[i] = np.asarray(array[i])


def write_npy(path: Path | str, array: ArrayLike) -> None:
    """Write a NumPy file atomically; raises `SegNetError` if it can't be written."""
    for _ in npy_steps(path, array, durable=True):
        pass


def npy_steps(path: Path | str, array: ArrayLike, *, durable: bool = False) -> Iterator[int]:
    """Write a NumPy file atomically, some megabytes a step, and yield the bytes of each step.

    Parameters
    ----------
    path : Path
    array : array-like
        numpy, dask, zarr ..., read block by block; bool becomes uint8.
    durable : bool
        Whether it has to be on the disk at the end, even if the power fails then: that takes its time.

    Raises
    ------
    SegNetError
        If it can't be written; then an earlier file is still there.
    """
    path = Path(path)
    if np.dtype(array.dtype).hasobject:
        raise SegNetError(f"{path.name} would hold Python objects, not numbers.", "Convert the array to numbers.")
    dtype = np.dtype(np.uint8) if np.dtype(array.dtype) == bool else np.dtype(array.dtype).newbyteorder("<")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(array.shape)}
    # Not through a memory map: a full disk would end the process instead of raising.
    with _replaced(path, nbytes(array)) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in _blocks(array):
            file.write(np.ascontiguousarray(block, dtype).tobytes())
            yield block.nbytes
        if durable:
            file.flush()
            os.fsync(file.fileno())


def nbytes(array: ArrayLike) -> int:
    """Return the size of an array-like; lazy ones don't all say it."""
    return math.prod(array.shape) * np.dtype(array.dtype).itemsize


def _blocks(array: Any) -> Iterator[NDArray[Any]]:
    if len(array.shape) == 0 or nbytes(array) <= _BLOCK_BYTES:
        yield np.asarray(array)
        return
    a_row = nbytes(array) / array.shape[0]
    if len(array.shape) > 2 and a_row > _BLOCK_BYTES:
        for i in range(array.shape[0]):
            yield from _blocks(array[i])
        return
    rows = max(1, int(_BLOCK_BYTES / a_row))
    for start in range(0, array.shape[0], rows):
        yield np.asarray(array[start : start + rows])


@contextlib.contextmanager
def open_output(
    path: Path | str,
    shape: Sequence[int],
    dtype: DTypeLike,
    axes: str,
    kind: Kind = "tif",
    *,
    pixel_size: Sequence[float] | None = None,
    units: str | None = None,
    colours: Sequence[str] | None = None,
) -> Iterator[Any]:
    """Make a file whose pixels are written part by part; memory doesn't grow with it.

    Parameters
    ----------
    path : Path
        The final file (kind tif, npy) or folder (zarr).
    shape, dtype, axes
        Of the array. Room on the disk is taken at once for tif and npy, so that a full disk is found before
        the work, and never as a crash in the middle of it.
    kind : {"tif", "npy", "zarr"}
        ``"zarr"`` is OME-Zarr (OME-NGFF 0.5) with one level, in chunks of 1024 x 1024 pixels.
    pixel_size, units, colours : optional
        As for `write_tiff`.

    Yields
    ------
    array
        A writable memory map, or a zarr array, full of zeros: assign to slices of it. At the end of the
        ``with`` block it becomes the file; after an error nothing of it is left.

    Raises
    ------
    SegNetError
        If it can't be written.
    """
    path, shape, dtype = Path(path), tuple(int(n) for n in shape), np.dtype(dtype)
    axes = check_axes(axes, shape, path.name)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    with _replaced(path, size) as temporary:
        if kind == "zarr":
            yield _create_zarr(temporary, path, shape, dtype, axes, pixel_size, units)
            return
        if kind == "npy":
            output: Any = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
            _take_room(temporary)
        else:
            output = _create_tiff(temporary, path.name, shape, dtype, axes, pixel_size, units, colours)
        try:
            yield output
            output.flush()
        finally:
            # Windows renames no file that is still mapped.
            output._mmap.close()  # noqa: SLF001


@contextlib.contextmanager
def _replaced(path: Path, size: int) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
    except OSError as error:
        raise _cannot_write(path, error, size) from error
    try:
        yield temporary
        if temporary.is_dir() or path.is_dir():
            _clear_place(path)
        temporary.replace(path)
    except OSError as error:
        # Other errors come from the work inside the block, such as reading: not ours to explain.
        if error.errno not in _FULL and not str(error.filename or "").startswith((str(temporary), str(path))):
            raise
        raise _cannot_write(path, error, size) from error
    finally:
        _remove(temporary)


def _cannot_write(path: Path, error: OSError, size: int) -> SegNetError:
    if error.errno in _FULL:
        room = f" It takes {size / 1e6:,.0f} MB." if size >= 1e6 else ""
        return SegNetError(
            f"{path} can't be written: {error.strerror or 'no room'}.{room}",
            "Free some room, or choose another folder.",
        )
    return SegNetError(f"{path} can't be written: {error.strerror or error}.", "Choose another folder.")


def _clear_place(path: Path) -> None:
    """Remove what a new OME-Zarr replaces; a folder that is no zarr stays."""
    if path.is_dir() and not is_zarr(path) and any(path.iterdir()):
        raise SegNetError(f"{path} is a folder with other things in it.", "Choose another output.")
    _remove(path)


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    # After an error zarr goes on for a moment with the chunks that it had begun: wait until nothing comes back.
    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(0.05)
        if not path.exists():
            return


def _take_room(path: Path) -> None:
    """Reserve the disk blocks of a sparse file.

    A memory map of a file with holes dies with SIGBUS when the disk is full; this raises OSError before.
    """
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        block = 2**24
        file.seek(0)
        for start in range(0, size, block):
            # Keeps what is there already: the header.
            old = file.read(min(block, size - start))
            file.seek(start)
            file.write(old)
        file.flush()
        os.fsync(file.fileno())


def _create_tiff(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    pixel_size: Sequence[float] | None,
    units: str | None,
    colours: Sequence[str] | None,
) -> NDArray[Any]:
    import tifffile

    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    big = size > _CLASSIC_LIMIT
    # ImageJ wants its own order of axes, and knows no more types than these.
    in_order = axes == "".join(letter for letter in "TZCYX" if letter in axes)
    imagej = in_order and not big and dtype in (np.uint8, np.uint16, np.float32)
    if imagej:
        options = _imagej(axes, pixel_size, units, colours, dtype)
    else:
        options = _ome(axes, pixel_size, units, f"{name} {shape} {dtype}")
    output: NDArray[Any] = tifffile.memmap(
        path, shape=shape, dtype=dtype, bigtiff=big, photometric="minisblack", **options
    )
    _take_room(path)
    return output


def _imagej(
    axes: str,
    pixel_size: Sequence[float] | None,
    units: str | None,
    colours: Sequence[str] | None,
    dtype: np.dtype[Any],
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"imagej": True, "metadata": metadata}
    if colours and dtype.kind == "u":
        metadata["LUTs"] = [_look_up_table(colours)]
        metadata["min"], metadata["max"] = 0.0, 255.0
    if pixel_size is not None and units in _SHORT_UNITS:
        metadata["unit"] = _SHORT_UNITS[units]
        if len(pixel_size) == 3:
            metadata["spacing"] = float(pixel_size[0])
        options["resolution"] = (1 / pixel_size[-1], 1 / pixel_size[-2])
        options["resolutionunit"] = "NONE"
    return options


def _look_up_table(colours: Sequence[str]) -> NDArray[np.uint8]:
    """Return a (3, 256) table; values beyond the colours start again at the second, as 0 is background."""
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], np.uint8)
    index = np.arange(256)
    beyond = index >= len(rgb)
    index[beyond] = 1 + (index[beyond] - 1) % (len(rgb) - 1) if len(rgb) > 1 else 0
    return np.ascontiguousarray(rgb[index].T)


def _ome(axes: str, pixel_size: Sequence[float] | None, units: str | None, what: str) -> dict[str, Any]:
    # By default the identifier is a new one each time: the same array would never become the same file.
    metadata: dict[str, Any] = {"axes": axes, "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, what)}"}
    if pixel_size is not None and units in _OME_UNITS:
        for letter, value in zip(reversed("ZYX"[-len(pixel_size) :]), reversed(pixel_size), strict=True):
            metadata[f"PhysicalSize{letter}"] = float(value)
            metadata[f"PhysicalSize{letter}Unit"] = _OME_UNITS[units]
    return {"ome": True, "metadata": metadata}


def _create_zarr(
    temporary: Path,
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    pixel_size: Sequence[float] | None,
    units: str | None,
) -> Any:
    import zarr

    kinds = {"T": "time", "C": "channel"}
    sizes = dict(zip(reversed("ZYX"), reversed(pixel_size or ()), strict=False))
    names: list[dict[str, str]] = []
    for letter in axes:
        axis = {"name": letter.lower(), "type": kinds.get(letter, "space")}
        names.append(axis | ({"unit": units} if units and letter in sizes else {}))
    scale = [float(sizes.get(letter, 1.0)) for letter in axes]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    group = zarr.open_group(temporary, mode="w", zarr_format=3)
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"name": path.stem, "axes": names, "datasets": [level]}],
    }
    chunks = tuple(min(n, _CHUNK) if a in "YX" else 1 for n, a in zip(shape, axes, strict=True))
    return group.create_array(
        "0", shape=shape, dtype=dtype, chunks=chunks, dimension_names=[letter.lower() for letter in axes]
    )
