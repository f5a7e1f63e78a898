"""Reads weights that Keras has saved in TensorFlow's own format, without TensorFlow.

``save_model_weights_tf`` of R and ``save_weights`` write ``NAME.index``, a sorted table of names (the format of
LevelDB's tables) whose entries say where in ``NAME.data-00000-of-00001`` an array of numbers lies; a SavedModel holds
such a pair, too. Layers are numbered in Keras' order there, and called after nothing else. Formats:
https://github.com/google/leveldb/blob/main/doc/table_format.md and tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import ModelFileError
from napari_segnet.importers.keras_file import KerasFile, Layer

_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER, _TRAILER = 48, 5
_MOST_INDEX = 50_000_000
_VARIABLE = re.compile(r"layer_with_weights-(\d+)/(\w+)/\.ATTRIBUTES/VARIABLE_VALUE")
_FLOAT32 = 1


@dataclass(frozen=True)
class _Stored:
    """An array in a file, read when it is asked for, as h5py's are."""

    path: Path
    offset: int
    shape: tuple[int, ...]

    def __getitem__(self, _key: tuple[()]) -> NDArray[np.float32]:
        count = int(np.prod(self.shape))
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return np.frombuffer(file.read(4 * count), "<f4", count).reshape(self.shape)


def index_of(path: Path) -> Path | None:
    """Return the table of names of a path: itself, that of a SavedModel, or of a name without ending; or None."""
    for candidate in (path, path / "variables" / "variables.index", path.with_name(path.name + ".index")):
        if candidate.is_file() and candidate.suffix == ".index":
            return candidate
    if path.name.endswith(".data-00000-of-00001"):
        return index_of(path.with_name(path.name.removesuffix(".data-00000-of-00001")))
    return None


@contextmanager
def open_checkpoint(index: Path) -> Iterator[KerasFile]:
    """Open weights of TensorFlow; they can be read in the body of the ``with``.

    Raises
    ------
    ModelFileError
        If a file is damaged or missing, or holds no layers of Keras; also for what is read in the body.
    """
    try:
        yield KerasFile(tuple(_layers(_variables(index))), None, "TensorFlow")
    except (OSError, LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise ModelFileError(f"{index} holds no weights of Keras, or is damaged: {error}.", "Copy it again.") from error


def _layers(variables: dict[int, dict[str, _Stored]]) -> Iterator[Layer]:
    """Make layers of what is numbered; which convolutions are transposed follows from their order in a U-Net.

    Going down, each convolution takes the channels that the one before it gave. From the first that doesn't, those
    that would widen are transposed: (Y, X, outputs, inputs) instead of (Y, X, inputs, outputs).
    """
    if not variables:
        raise ValueError("it holds no layers with weights")
    before, down = None, True
    for number, weights in sorted(variables.items()):
        kind: Any = "BatchNormalization"
        if "kernel" in weights:
            height, _, first, second = weights["kernel"].shape
            down = down and before in (None, first)
            kind = "Conv2DTranspose" if not down and first < second and height > 1 else "Conv2D"
            before = second
        yield Layer(f"layer {number}", kind, dict(weights))


def _variables(index: Path) -> dict[int, dict[str, _Stored]]:
    if index.stat().st_size > _MOST_INDEX:
        raise ValueError("it is too long")
    table = dict(_table(index.read_bytes()))
    shards = _fields(table[b""]).get(1, [1])[0]
    found: dict[int, dict[str, _Stored]] = {}
    for key, entry in table.items():
        name = _VARIABLE.fullmatch(key.decode(errors="replace"))
        if name is None:
            continue
        fields = _fields(entry)
        if fields.get(1, [0])[0] != _FLOAT32:
            raise ValueError(f"{name[0]} holds no float32")
        sides = _fields(fields[2][0]).get(2, []) if 2 in fields else []
        shape = tuple(_fields(side).get(1, [0])[0] for side in sides)
        file = index.with_suffix(f".data-{fields.get(3, [0])[0]:05d}-of-{shards:05d}")
        size, offset = fields.get(5, [0])[0], fields.get(4, [0])[0]
        if size != 4 * int(np.prod(shape)) or offset + size > file.stat().st_size:
            raise ValueError(f"{name[0]} is cut short")
        found.setdefault(int(name[1]), {})[name[2]] = _Stored(file, offset, shape)
    return found


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Go through the names and entries of a table."""
    if len(data) < _FOOTER or data[-8:] != _MAGIC:
        raise ValueError("it is no table of names")
    place = len(data) - _FOOTER
    for _ in range(2):  # what comes first leads to a summary that nobody needs
        _, place = _number(data, place)
    start, place = _number(data, place)
    length, _ = _number(data, place)
    for _, handle in _block(data, start, length):
        start, place = _number(handle, 0)
        yield from _block(data, start, _number(handle, place)[0])


def _block(data: bytes, start: int, length: int) -> Iterator[tuple[bytes, bytes]]:
    """Go through a block, in which a name says only how it differs from the name before."""
    block = data[start : start + length]
    if len(block) < length or length < 4 or data[start + length] != 0:
        raise ValueError("it is cut short, or compressed")
    end = length - 4 - 4 * int.from_bytes(block[-4:], "little")
    place, key = 0, b""
    while place < end:
        shared, place = _number(block, place)
        fresh, place = _number(block, place)
        size, place = _number(block, place)
        key = key[:shared] + block[place : place + fresh]
        yield key, block[place + fresh : place + fresh + size]
        place += fresh + size


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; returns it, and where it ends."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Read a message of protocol buffers: its numbers and byte strings by field."""
    found: dict[int, list[Any]] = {}
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, place = _number(message, place)
        elif kind == 2:
            length, place = _number(message, place)
            value, place = message[place : place + length], place + length
        else:
            width = {1: 8, 5: 4}[kind]
            value, place = message[place : place + width], place + width
        found.setdefault(tag >> 3, []).append(value)
    return found
