"""Which rectangle of an image becomes which file: cropping, resizing and tiling, in rows and columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from napari_segnet.axes import times
from napari_segnet.datasets.options import Anchor, Crop, PrepareConfig
from napari_segnet.errors import DataError


@dataclass(frozen=True)
class Box:
    """A rectangle of a plane, pixels: rows from `top` to `bottom` (exclusive), columns from `left` to `right`."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def within(self, other: Box) -> Box:
        """Return this rectangle of `other` as one of the plane that `other` is a rectangle of."""
        return Box(self.top + other.top, self.left + other.left, self.bottom + other.top, self.right + other.left)


@dataclass(frozen=True)
class Layout:
    """What becomes of a plane: the rectangle that is kept, its shape after resizing, and the tiles of that."""

    kept: Box
    shape: tuple[int, int]
    tiles: tuple[Box, ...]

    @property
    def resizes(self) -> bool:
        """Whether the rectangle that is kept changes its shape."""
        return self.kept.shape != self.shape

    def source_box(self, tile: Box) -> tuple[float, float, float, float]:
        """Return top, left, bottom and right of a tile in the pixels of the image as it was."""
        down, across = (n / m for n, m in zip(self.kept.shape, self.shape, strict=True))
        return (
            self.kept.top + tile.top * down,
            self.kept.left + tile.left * across,
            self.kept.top + tile.bottom * down,
            self.kept.left + tile.right * across,
        )


def lay_out(shape: tuple[int, int], config: PrepareConfig, name: str) -> Layout:
    """Say what becomes of a plane.

    Parameters
    ----------
    shape : (int, int)
        Its rows and columns.
    config : PrepareConfig
    name : str
        What to call it in an error.

    Raises
    ------
    DataError
        If it is too small for what is to be cut out.
    """
    kept = Box(0, 0, *shape)
    if config.wanted_crop is not None:
        kept = crop_box(shape, config.wanted_crop, config.anchor, name)
    size = config.wanted_size
    if size is not None:
        width, height = size
        if config.aspect == "crop":
            kept = aspect_box(kept.shape, width, height, config.anchor).within(kept)
        new = (height, width)
    elif config.scale is not None:
        new = (max(1, round(kept.shape[0] * config.scale)), max(1, round(kept.shape[1] * config.scale)))
    else:
        new = kept.shape
    tile = config.tile_size
    tiles = tuple(tile_boxes(new, (tile[1], tile[0]), config.overlap)) if tile else (Box(0, 0, *new),)
    return Layout(kept, new, tiles)


def crop_box(shape: tuple[int, int], crop: Crop, anchor: Anchor, name: str = "The image") -> Box:
    """Return the rectangle that is cut out of a plane; raises `DataError` if the plane is smaller."""
    if crop.aspect:
        return aspect_box(shape, crop.width, crop.height, anchor)
    if crop.corner is not None:
        left, top = crop.corner
        box = Box(top, left, top + crop.height, left + crop.width)
        place = f" from column {left}, row {top} on"
    else:
        place = ""
        box = _placed(shape, (crop.height, crop.width), anchor)
    if box.top < 0 or box.left < 0 or box.bottom > shape[0] or box.right > shape[1]:
        raise DataError(
            f"{name} is {times(shape[::-1])} pixels (width x height): {crop.width} x {crop.height}{place} can't be cut "
            "out of it.",
            "Cut out less, or an aspect such as --crop 4:3.",
        )
    return box


def aspect_box(shape: tuple[int, int], width: int, height: int, anchor: Anchor = "center") -> Box:
    """Return the largest rectangle of a plane with the aspect `width` : `height`, rounded to whole pixels.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    width, height : int
        Of the aspect; as `resizeImages` of imageseg does with ``preserveAspect = TRUE``.
    anchor : str
        Which part is kept.
    """
    factor = min(shape[1] / width, shape[0] / height)
    wanted = (max(1, min(shape[0], round(height * factor))), max(1, min(shape[1], round(width * factor))))
    return _placed(shape, wanted, anchor)


def _placed(shape: tuple[int, int], wanted: tuple[int, int], anchor: Anchor) -> Box:
    spare = (shape[0] - wanted[0], shape[1] - wanted[1])
    top = 0 if "top" in anchor else spare[0] if "bottom" in anchor else spare[0] // 2
    left = 0 if "left" in anchor else spare[1] if "right" in anchor else spare[1] // 2
    return Box(top, left, top + wanted[0], left + wanted[1])


def tile_boxes(shape: tuple[int, int], tile: tuple[int, int], overlap: int = 0) -> Iterator[Box]:
    """Yield tiles that cover a plane, row by row; all of one size.

    The last tile of a row or column is moved back to the border, where it shares more pixels with its neighbour. A
    plane that is smaller than a tile is one tile of its own size.

    Parameters
    ----------
    shape, tile : (int, int)
        Rows and columns of the plane and of a tile.
    overlap : int
        Pixels that neighbours share at least.
    """
    rows, columns = (_starts(n, min(n, side), overlap) for n, side in zip(shape, tile, strict=True))
    height, width = min(shape[0], tile[0]), min(shape[1], tile[1])
    for top in rows:
        for left in columns:
            yield Box(top, left, top + height, left + width)


def _starts(length: int, side: int, overlap: int) -> list[int]:
    if side == length:
        return [0]
    starts = list(range(0, length - side, side - overlap))
    return [*starts, length - side]
