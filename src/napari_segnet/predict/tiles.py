"""Where an image is cut: tiles that overlap by a halo, all of one shape, aligned to the network's stride.

Each tile is read with a border (the halo) that is cut off again after the network has seen it, so that every
pixel is written once, by a tile that knew its surroundings. Tiles end at the image's own border, where the
network pads a tile just as it pads the whole image. Only integers here: no arrays, no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from napari_segnet.axes import per_axis


@dataclass(frozen=True)
class Span:
    """One tile along one axis: what is read, and the part of it that is kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def read(self) -> slice:
        """What the network sees, in pixels of the padded image."""
        return slice(self.start, self.stop)

    @property
    def core(self) -> slice:
        """The part that is kept, counted from the tile's own first pixel."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)

    @property
    def write(self) -> slice:
        """The part that is kept, in pixels of the image."""
        return slice(self.keep_start, self.keep_stop)


@dataclass(frozen=True)
class Tile:
    """One tile of a plane or a volume: a `Span` along each of [Z], Y, X."""

    spans: tuple[Span, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the network sees."""
        return tuple(span.stop - span.start for span in self.spans)

    @property
    def read(self) -> tuple[slice, ...]:
        """What the network sees; it may reach beyond the image by less than a stride (see `reflected`)."""
        return tuple(span.read for span in self.spans)

    @property
    def core(self) -> tuple[slice, ...]:
        """The part of the network's output that is kept."""
        return tuple(span.core for span in self.spans)

    @property
    def write(self) -> tuple[slice, ...]:
        """Where that part goes in the output."""
        return tuple(span.write for span in self.spans)


Lengths = int | Sequence[int]
"""The same along all axes, or one for each."""


def plan(shape: Sequence[int], core: Lengths, halo: Lengths, stride: Lengths) -> list[Tile]:
    """Cut a plane or a volume into tiles.

    The kept parts cover the image, each pixel once. All tiles have one shape and start at multiples of
    `stride`; a kept pixel is at least `halo` away from every side of its tile that isn't a side of the image.

    Parameters
    ----------
    shape : sequence of int
        [Z,] Y and X of the image.
    core : int or sequence of int
        Most pixels along each axis that are kept of a tile inside the image.
    halo : int or sequence of int
        Border that is cut off; rounded up to a multiple of `stride`.
    stride : int or sequence of int
        What a tile's sides and positions have to be multiples of.

    Returns
    -------
    list of Tile
        In reading order.
    """
    numbers = [per_axis(value, len(shape)) for value in (core, halo, stride)]
    along = [_spans(*lengths) for lengths in zip(shape, *numbers, strict=True)]
    return [Tile(spans) for spans in itertools.product(*along)]


def _spans(length: int, core: int, halo: int, stride: int) -> list[Span]:
    halo = round_up(halo, stride)
    core = max(core // stride * stride, stride)
    padded = round_up(length, stride)
    # The first and the last tile need no halo at the image's border: two halos of the length come for free.
    count = max(1, -(-(padded - 2 * halo) // core))
    if count == 1:
        return [Span(0, padded, 0, length)]
    step = round_up(-(-(padded - 2 * halo) // count), stride)
    side = step + 2 * halo
    starts = [min(n * step, padded - side) for n in range(count)]
    cuts = [0, *(n * step + halo for n in range(1, count)), length]
    return [
        Span(start, start + side, keep, until)
        for start, keep, until in zip(starts, cuts[:-1], cuts[1:], strict=True)
        if keep < until
    ]


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is not below `value`."""
    return -(-value // multiple) * multiple


def reflected(start: int, stop: int, length: int) -> list[int]:
    """Return the pixels that stand for positions `start` .. `stop` of an axis that is mirrored at its end.

    The last pixel is not repeated; an axis of one pixel repeats that pixel.
    """
    period = max(1, 2 * (length - 1))
    return [min(p % period, period - p % period) if length > 1 else 0 for p in range(start, stop)]
