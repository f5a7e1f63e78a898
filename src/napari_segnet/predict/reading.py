"""From a part of an image, of any dtype and lazily read, to what the network sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_segnet.devices import channels_last
from napari_segnet.predict.tiles import Tile, reflected


class TileReader:
    """Reads tiles of one image into one buffer that is used again for each batch.

    Parameters
    ----------
    image : array-like (C, [Z], Y, X)
        Numpy, memory map, zarr or dask: it is only sliced.
    low, high : (C,) float32
        Limits from `Normalization.limits`.
    clip : float
        `Normalization.clip`.
    device : torch.device
        Where the network is.

    Notes
    -----
    The same arithmetic as `napari_segnet.data.normalization.scale`, which training uses, but without its
    temporary arrays: on a CPU the cast is the copy into the buffer; to a GPU 8-bit images travel as bytes.
    """

    def __init__(
        self, image: Any, low: NDArray[np.float32], high: NDArray[np.float32], clip: float, device: torch.device
    ) -> None:
        self.image, self.clip = image, clip
        self.device = device
        self.floating = np.dtype(image.dtype).kind == "f"
        shape = (1, len(low)) + (1,) * (len(image.shape) - 1)
        half = np.maximum((high - low) / 2, np.finfo(np.float32).tiny)
        self.centre = torch.from_numpy((high + low) / 2).reshape(shape).to(device)
        self.half = torch.from_numpy(half).reshape(shape).to(device)
        self._buffer: Tensor | None = None

    def read(self, tiles: Sequence[Tile]) -> Tensor:
        """Return tiles of one shape as (B, C, [Z], Y, X) float32; valid until the next call."""
        shape = (len(tiles), self.image.shape[0], *tiles[0].shape)
        if self._buffer is None or self._buffer.shape != shape:
            self._buffer = torch.empty(
                shape, dtype=torch.float32, device=self.device, memory_format=channels_last(len(shape) - 2)
            )
        buffer = self._buffer
        for n, tile in enumerate(tiles):
            block = read_block(self.image, tile.read)
            if self.device.type == "cpu":
                np.copyto(buffer[n].numpy(), block, casting="unsafe")
            else:
                # Only CUDA's copies come from memory that is kept until they are done.
                buffer[n].copy_(self._host_copy(block), non_blocking=self.device.type == "cuda")
        buffer.sub_(self.centre).div_(self.half)
        if self.floating:
            buffer.nan_to_num_(nan=-1.0, posinf=self.clip, neginf=-self.clip)
        return buffer.clamp_(-self.clip, self.clip)

    def _host_copy(self, block: NDArray[Any]) -> Tensor:
        dtype = torch.uint8 if block.dtype == np.uint8 else torch.float32
        # Pinned memory travels while the GPU works; torch keeps it until it has arrived.
        host = torch.empty(block.shape, dtype=dtype, pin_memory=self.device.type == "cuda")
        np.copyto(host.numpy(), block, casting="unsafe")
        return host


def read_block(image: Any, window: Sequence[slice]) -> NDArray[Any]:
    """Read a part of an image that may reach beyond its end, where it is mirrored.

    Parameters
    ----------
    image : array-like (C, [Z], Y, X)
    window : sequence of slice
        Positions along [Z], Y, X, from 0.

    Returns
    -------
    (C, *window) array
    """
    lengths = image.shape[1:]
    if all(part.stop <= length for part, length in zip(window, lengths, strict=True)):
        return np.asarray(image[(slice(None), *window)])
    index = [np.array(reflected(part.start, part.stop, length)) for part, length in zip(window, lengths, strict=True)]
    inside = tuple([slice(line.min(), line.max() + 1) for line in index])
    block: NDArray[Any] = np.asarray(image[(slice(None), *inside)])
    for axis, line in enumerate(index, start=1):
        # One axis at a time: a mixed index would be several times slower.
        block = block.take(line - line.min(), axis=axis)
    return block
