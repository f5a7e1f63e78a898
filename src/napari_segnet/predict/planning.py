"""How an image is cut into tiles that memory has room for, and what gives way when it hasn't."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from napari_segnet.axes import counted, times
from napari_segnet.devices import free_memory
from napari_segnet.errors import SegNetError
from napari_segnet.predict.tiles import Tile, plan, round_up

_SMALLEST_TILE = 32
"""Side of what is kept of a tile when memory is short, pixels."""


class TilePlanner:
    """Cuts images into tiles, and makes them fewer at a time, then smaller, when memory runs out.

    Parameters
    ----------
    device : torch.device
        Whose memory it is.
    core : int
        Side of what is kept of a tile, pixels.
    batch_size : int
        Tiles that are predicted together.
    halo : sequence of int, or None
        What is cut off each side of a tile along each axis, pixels; None: the whole image is one tile.
    strides : sequence of int
        What the sides and places of tiles have to be multiples of, pixels.
    on_notice : callable
        Told in a sentence when memory is short.

    Attributes
    ----------
    core, batch_size : int
        As they are now: they only ever become smaller.
    """

    def __init__(
        self,
        device: torch.device,
        core: int,
        batch_size: int,
        halo: Sequence[int] | None,
        strides: Sequence[int],
        on_notice: Callable[[str], None],
    ) -> None:
        self.core, self.batch_size = core, batch_size
        self._device, self._halo, self._strides = device, halo, strides
        self._on_notice = on_notice

    def plan(self, shape: tuple[int, ...], memory_per_pixel: Callable[[], float]) -> list[Tile]:
        """Cut an image of a ([Z], Y, X) shape.

        Parameters
        ----------
        shape : tuple of int
        memory_per_pixel : callable
            Returns the bytes that the network takes for each pixel of a tile; asked on a CPU only.

        Raises
        ------
        SegNetError
            If there is not memory enough for the smallest tiles.
        """
        tiles = self._cut(shape)
        # A GPU says it when its memory runs out; the CPU's system would end the program instead.
        while self._device.type == "cpu" and self._pixels(tiles) * memory_per_pixel() > free_memory(self._device):
            self.shrink(tiles)
            tiles = self._cut(shape)
        return tiles

    def shrink(self, tiles: Sequence[Tile]) -> None:
        """Ask for less memory than these tiles took.

        Raises
        ------
        SegNetError
            If they are the smallest.
        """
        if self.batch_size > 1 and len(tiles) > 1:
            self.batch_size = max(1, min(self.batch_size, len(tiles)) // 2)
            self._on_notice(f"Memory is short: going on with {counted(self.batch_size, 'tile')} at a time.")
            return
        side = max(tiles[0].shape)
        smaller = min(self.core, side) // 2
        if self._halo is None:
            raise SegNetError(
                f"There is not memory enough for an image of {times(tiles[0].shape)} pixels, which this network has "
                "to see in one piece to be exact.",
                "Predict without --exact, or on a device with more memory.",
            )
        if smaller < max(_SMALLEST_TILE, *self._strides):
            raise SegNetError(
                f"There is not memory enough, even for tiles of {side} pixels.",
                "Close other programs that use this device, or use --device cpu.",
            )
        self.core = smaller
        self._on_notice(f"Memory is short: going on with tiles of {smaller} pixels.")

    def _cut(self, shape: tuple[int, ...]) -> list[Tile]:
        if self._halo is None:
            whole = [round_up(length, stride) for length, stride in zip(shape, self._strides, strict=True)]
            return plan(shape, whole, 0, self._strides)
        return plan(shape, self.core, self._halo, self._strides)

    def _pixels(self, tiles: Sequence[Tile]) -> int:
        """Count the pixels of the tiles that are predicted together."""
        return math.prod(tiles[0].shape) * min(self.batch_size, len(tiles))
