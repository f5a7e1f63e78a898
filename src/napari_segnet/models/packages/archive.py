"""Files of a package, read one by one by name from a folder or a zip file: never unpacked, never outside of it."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import ModelFileError

_MOST_BYTES = 2**33
"""Largest file of a package; larger ones are no networks."""
_UNSUSPECTED = 2**26
"""So many bytes may come of a few: test images can be of one value throughout."""
_MOST_RATIO = 200
"""So many times as large may a file become when it is unpacked. Weights hardly shrink at all."""
_MOST_FILES = 10_000
_BLOCK = 1 << 20
_DAMAGE = (OSError, EOFError, RuntimeError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error)


class Archive:
    """A folder, or a zip file, that is only read.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ModelFileError
        If it is missing, or no zip file, or holds far too many files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise ModelFileError(f"There is no file {path}.", "Check the name.")
        if path.is_dir():
            self.names = sorted(p.relative_to(path).as_posix() for p in path.glob("*"))
            self.names += sorted(p.relative_to(path).as_posix() for p in path.glob("*/*"))
            return
        try:
            with zipfile.ZipFile(path) as file:
                self.names = [entry.filename for entry in file.infolist()]
        except _DAMAGE as error:
            raise ModelFileError(f"{path} is no zip file, or is damaged.", "Fetch it again.") from error
        if len(self.names) > _MOST_FILES:
            raise ModelFileError(f"{path} holds {len(self.names)} files: it is no package of a model.")

    def read(self, name: str, most: int = _MOST_BYTES, sha256: str | None = None) -> bytes:
        """Return the content of a file.

        Parameters
        ----------
        name : str
            Its path in the folder or the zip file.
        most : int
            Bytes that it may have.
        sha256 : str, optional
            What its content must have for a digest.

        Raises
        ------
        ModelFileError
            If it is missing, lies elsewhere, is larger than it may be, or is damaged.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name:
            raise ModelFileError(
                f"{self.path} refers to {name!r}, which is not a part of it.",
                "Get the whole package, with all its files in it.",
            )
        content = self._read_folder(parts, most) if self.path.is_dir() else self._read_zip(parts, most)
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
            raise ModelFileError(f"{name} in {self.path} is damaged: it is not the file that was described.")
        return content

    def read_array(self, name: str, most: int = 2**30) -> NDArray[Any]:
        """Return the array of an ``.npy`` file; never one of Python objects."""
        content = self.read(name, most)
        damaged = ModelFileError(f"{name} in {self.path} is no array, or is damaged.")
        file = io.BytesIO(content)
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            # A header may promise more than there is: memory for it would be taken before that is found out.
            if dtype.hasobject or int(np.prod(shape, dtype=object)) * dtype.itemsize != len(content) - file.tell():
                raise damaged
            return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
        except (ValueError, EOFError, OSError, MemoryError, SyntaxError) as error:
            raise damaged from error

    def _read_folder(self, name: PurePosixPath, most: int) -> bytes:
        path = self.path / name
        try:
            inside = path.resolve().is_relative_to(self.path.resolve())
            if not inside or not path.is_file():
                raise ModelFileError(f"{self.path} has no file {name}.", "Get the whole package.")
            if path.stat().st_size > most:
                raise _too_large(self.path, str(name))
            return path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path} can't be read: {error.strerror or error}.") from error

    def _read_zip(self, name: PurePosixPath, most: int) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as file:
                try:
                    entry = file.getinfo(str(name))
                except KeyError:
                    raise ModelFileError(f"{self.path} has no file {name}.", "Get the whole package.") from None
                swollen = entry.file_size > max(_UNSUSPECTED, _MOST_RATIO * entry.compress_size)
                if entry.file_size > most or swollen:
                    raise _too_large(self.path, str(name))
                return _read_at_most(file, entry)
        except _DAMAGE as error:
            raise ModelFileError(f"{name} in {self.path} can't be read: it is damaged.", "Fetch it again.") from error


def _read_at_most(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read an entry, and no byte more than it says of itself."""
    parts, size = [], 0
    with file.open(entry) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > entry.file_size:
                raise zipfile.BadZipFile("larger than it says")
            parts.append(block)
    return b"".join(parts)


def _too_large(path: Path, name: str) -> ModelFileError:
    return ModelFileError(f"{name} in {path} is larger than such a file can be.", "The package is damaged, or hostile.")
