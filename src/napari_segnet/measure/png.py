"""PNG files written strip by strip: memory doesn't grow with the picture."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import SegNetError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Colour types of the format: greys, colours, colours and transparency.
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
# Each line starts with the number of its filter: 1 stores differences to the pixel on the left.
_SUB = 1
_CHUNK = 1 << 18


class PngWriter:
    """Takes the rows of a picture from top to bottom; `write_png` makes it."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self._file, self._shape, self._dtype = file, shape, dtype
        self._packer = zlib.compressobj(6)
        self._waiting = b""
        height, width, channels = shape
        file.write(_SIGNATURE)
        header = struct.pack(">IIBBBBB", width, height, 8 * dtype.itemsize, _COLOUR_TYPES[channels], 0, 0, 0)
        self._chunk(b"IHDR", header)

    def write(self, rows: NDArray[Any]) -> None:
        """Add rows (N, X, C) of the picture's type."""
        size = rows.shape[2] * self._dtype.itemsize
        plain = np.ascontiguousarray(rows, self._dtype.newbyteorder(">")).view(np.uint8).reshape(len(rows), -1)
        lines = np.empty((len(rows), plain.shape[1] + 1), np.uint8)
        lines[:, 0] = _SUB
        lines[:, 1 : size + 1] = plain[:, :size]
        np.subtract(plain[:, size:], plain[:, :-size], out=lines[:, size + 1 :])
        self._waiting += self._packer.compress(lines.tobytes())
        while len(self._waiting) >= _CHUNK:
            self._chunk(b"IDAT", self._waiting[:_CHUNK])
            self._waiting = self._waiting[_CHUNK:]

    def close(self) -> None:
        """Write what waits, and the end."""
        self._chunk(b"IDAT", self._waiting + self._packer.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


@contextmanager
def write_png(path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Iterator[PngWriter]:
    """Make a PNG file whose rows are written part by part, under a temporary name until it is whole.

    Parameters
    ----------
    path : Path
    shape : (int, int, int)
        Rows, columns and channels: 1 (grey), 3 (RGB) or 4 (RGBA).
    dtype : uint8 or uint16

    Yields
    ------
    PngWriter

    Raises
    ------
    SegNetError
        If it can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                writer = PngWriter(file, shape, dtype)
                yield writer
                writer.close()
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SegNetError(
            f"{path} can't be written: {error.strerror or error}.", "Choose another folder, or free some room."
        ) from error
