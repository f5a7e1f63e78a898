"""Cellpose: ``NAME_seg.npy`` of its window and command line, and ``NAME_cp_masks`` images of numbered objects.

A ``_seg.npy`` holds a pickled dictionary (Stringer et al. 2021, Cellpose: a generalist algorithm for cellular
segmentation, and its documentation on outputs). Unpickling can run programs, so that it is read by an unpickler that
makes plain containers and numpy arrays only, and refuses all else.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - only to refuse what a pickle could do, see below
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from napari_segnet.annotations.mask_files import mask_groups, mask_image
from napari_segnet.annotations.model import AnnotatedImage, Annotations, LabelArray
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.errors import DataError
from napari_segnet.io.formats import SUFFIXES
from napari_segnet.io.images import open_labels
from napari_segnet.io.labels import as_labels
from napari_segnet.io.pairing import file_stem

_SEG = "_seg.npy"
_MASKS = "_cp_masks"
_LARGEST = 4 * 2**30


def recognizes(path: Path) -> bool:
    """Say whether this is a file of Cellpose, or a folder with one."""
    if path.is_dir():
        return any(recognizes(file) for file in path.iterdir() if file.is_file())
    name = path.name.lower()
    return name.endswith(_SEG) or (name.endswith(SUFFIXES) and file_stem(path).lower().endswith(_MASKS))


def read(path: Path, _options: ImportOptions) -> Annotations:
    """Read numbered objects; files are opened when it is their turn.

    Returns
    -------
    Annotations
        A ``_seg.npy`` comes before the ``_cp_masks`` of the same image: it is what people correct.
    """
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    images: dict[str, AnnotatedImage] = {}
    for file in files:
        if file.name.lower().endswith(_SEG):
            name = file.name[: -len(_SEG)]
            images[name] = mask_image(name, [file], "instances", _read_seg)
    for file in files:
        if not recognizes(file) or file.name.lower().endswith(_SEG):
            continue
        for stem, parts in mask_groups(file):
            name = stem[: -len(_MASKS)]
            images.setdefault(name, mask_image(name, parts, "instances", _read_masks))
    return Annotations(tuple(images.values()), task="instances")


def _read_masks(file: Path) -> LabelArray:
    return LabelArray(np.asarray(open_labels(file).array))


def _read_seg(file: Path) -> LabelArray:
    """Return the numbered objects of a ``_seg.npy``.

    Raises
    ------
    DataError
        If the file is damaged, or holds anything but containers and arrays.
    """
    try:
        size = file.stat().st_size
        if size > _LARGEST:
            raise DataError(f"{file.name} has {size / 1e9:.1f} GB.", "Save its masks as TIFF from Cellpose.")
        with file.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            _, _, dtype = read_header(stream)
            if not dtype.hasobject:
                raise DataError(f"{file.name} is an array, not what Cellpose saves.", "Give it another name.")
            saved = _Unpickler(io.BytesIO(stream.read())).load()
        saved = saved.array() if isinstance(saved, _Array) else saved
        masks = saved.item()["masks"] if isinstance(saved, np.ndarray) else saved["masks"]
        array = masks.array() if isinstance(masks, _Array) else np.asarray(masks)
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        MemoryError,
        RecursionError,
    ) as error:
        raise DataError(f"{file.name} is damaged, or was not saved by Cellpose.", "Save it again.") from error
    except pickle.UnpicklingError as error:
        raise DataError(f"{file.name} is damaged, or holds more than arrays: {error}.", "Don't open it.") from error
    if array.dtype.hasobject or array.ndim not in (2, 3):
        raise DataError(f"{file.name} holds no masks.", "Save it again from Cellpose.")
    return LabelArray(np.asarray(as_labels(array, file.name)))


class _Array:
    """What a pickle says of an array, taken from the file's own bytes: nothing larger than them is ever made."""

    def __init__(self, *_arguments: object) -> None:
        self._state: tuple[Any, ...] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def array(self) -> np.ndarray:
        """Return the array."""
        if self._state is None:
            raise ValueError("an array without a state")
        _, shape, dtype, fortran, data = self._state
        if isinstance(data, list):
            made = np.empty(len(data), object)
            made[:] = data
            return made.reshape(shape)
        dtype = dtype.dtype() if isinstance(dtype, _Dtype) else np.dtype(dtype)
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


class _Dtype:
    """What a pickle says of a type of numbers."""

    def __init__(self, name: str, *_arguments: object) -> None:
        self._name, self._order = str(name), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = str(state[1])

    def dtype(self) -> np.dtype[Any]:
        """Return the type; raises `ValueError` for anything but numbers."""
        made = np.dtype(self._name)
        if made.kind not in "buif":
            raise ValueError(f"values of type {made}")
        return made.newbyteorder(">") if self._order == ">" else made


def _from_buffer(data: bytes, dtype: Any, shape: tuple[int, ...], order: str) -> _Array:
    made = _Array()
    made.__setstate__((1, shape, dtype, order == "F", data))
    return made


def _scalar(dtype: Any, data: bytes = b"") -> Any:
    return np.frombuffer(data, dtype.dtype())[0] if isinstance(dtype, _Dtype) and data else None


_HARMLESS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): lambda text, _encoding="latin1": text.encode("latin1"),  # how old pickles write bytes
}


class _Unpickler(pickle.Unpickler):
    """Makes containers and numpy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a harmless stand-in for what numpy pickles; refuse all else."""
        part = module.removeprefix("numpy.").replace("_core", "core")
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _Array if name == "ndarray" else _Dtype
        if part == "core.multiarray" and name in ("_reconstruct", "scalar"):
            return _Array if name == "_reconstruct" else _scalar
        if (part, name) == ("core.numeric", "_frombuffer"):
            return _from_buffer
        if (module, name) in _HARMLESS:
            return _HARMLESS[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse references to things outside of the file."""
        raise pickle.UnpicklingError(f"it refers to {pid!r}")
