"""Images as pictures: greys and colours of 8 or 16 bits, and what lies behind objects that were cut out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from napari_segnet.axes import ArrayLike, counted
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.images import open_image
from napari_segnet.measure.options import CutOutOptions, Gravity

_PERCENTILES = (0.1, 99.9)
# Pixels of an image that its contrast is found from.
_SAMPLE = 4_000_000
TRANSPARENT = "transparent"


class Picture:
    """A plane of an image as colours, read strip by strip.

    Parameters
    ----------
    plane : (C, Y, X)
        One channel (greys), three (colours), or any number of which the options choose.
    options : CutOutOptions
        `channels` and `contrast`.
    name : str
        What to call it in an error.

    Attributes
    ----------
    dtype : dtype
        uint8; uint16 where 16 bits are kept.
    contrast : (float, float) or None
        The values that became black and white; None: they are as they were.

    Raises
    ------
    DataError
        If it has another number of channels, or the type of its values can't be kept.
    """

    def __init__(self, plane: ArrayLike, options: CutOutOptions, name: str) -> None:
        channels = plane.shape[0]
        wanted = options.channels or tuple(range(1, channels + 1))
        if channels not in (1, 3) and not options.channels:
            raise DataError(
                f"{name} has {counted(channels, 'channel')}: a picture has one, or three.",
                "Choose: --channels 1, or --channels 1,2,3 for red, green and blue.",
            )
        if max(wanted) > channels:
            raise DataError(
                f"{name} has {counted(channels, 'channel')}, and no channel {max(wanted)}.", "Choose others."
            )
        self._plane, self._channels = plane, tuple(number - 1 for number in wanted)
        self.shape: tuple[int, int] = (int(plane.shape[1]), int(plane.shape[2]))
        kind = np.dtype(plane.dtype)
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self.contrast: tuple[float, float] | None = None
        if options.contrast == "keep":
            if kind not in (np.uint8, np.uint16):
                raise DataError(
                    f"{name} holds values of the type {kind}, which PNG files can't hold.", "Leave out --contrast keep."
                )
            self.dtype = kind
        elif not isinstance(options.contrast, str):
            self.contrast = options.contrast
        elif kind != np.uint8:
            self.contrast = self._percentiles()

    def _percentiles(self) -> tuple[float, float]:
        height, width = self.shape
        step = max(1, int(np.ceil(np.sqrt(height * width / _SAMPLE))))
        values = np.concatenate([np.ravel(self._plane[c, ::step, ::step]) for c in self._channels]).astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            return 0.0, 1.0
        low, high = np.percentile(values, _PERCENTILES)
        return float(low), float(high if high > low else low + 1)

    def window(self, rows: slice, columns: slice = slice(None)) -> NDArray[Any]:
        """Return a part of the picture, (Y, X, 3)."""
        channels = [np.asarray(self._plane[c, rows, columns]) for c in self._channels]
        if self.contrast is not None:
            low, high = self.contrast
            scaled = [(np.nan_to_num(c.astype(np.float32)) - low) * (255 / (high - low)) for c in channels]
            channels = [np.clip(c, 0, 255).round() for c in scaled]
        part = np.stack(channels if len(channels) == 3 else channels * 3, axis=-1)
        return part.astype(self.dtype)


@dataclass(frozen=True)
class Backdrop:
    """What lies behind objects: a colour, or a picture that fills the frame, and loses what is too much."""

    colour: tuple[int, int, int] | None = None
    picture: Image.Image | None = None
    gravity: Gravity = "centre"

    def frame(self, shape: tuple[int, int]) -> _Frame:
        """Fit the backdrop to a picture of some rows and columns."""
        if self.picture is None:
            return _Frame(shape, self.colour)
        scale = max(shape[0] / self.picture.height, shape[1] / self.picture.width)
        picture = self.picture
        if scale < 1:
            # Pictures are made smaller at once, with a filter; larger, when a strip is needed.
            size = (max(shape[1], round(picture.width * scale)), max(shape[0], round(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
            scale = 1.0
        over = picture.height * scale - shape[0], picture.width * scale - shape[1]
        down = 0.0 if "north" in self.gravity else 1.0 if "south" in self.gravity else 0.5
        right = 0.0 if "west" in self.gravity else 1.0 if "east" in self.gravity else 0.5
        return _Frame(shape, None, picture, scale, (over[0] * down, over[1] * right))


@dataclass(frozen=True)
class _Frame:
    shape: tuple[int, int]
    colour: tuple[int, int, int] | None
    picture: Image.Image | None = None
    scale: float = 1.0
    offset: tuple[float, float] = (0.0, 0.0)

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return some rows, (N, X, 3)."""
        size = (stop - start, self.shape[1])
        if self.picture is None:
            return np.broadcast_to(np.array(self.colour, np.uint8), (*size, 3))
        step = 1 / self.scale
        places = (step, 0, self.offset[1] * step, 0, step, (self.offset[0] + start) * step)
        strip = self.picture.transform(size[::-1], Image.Transform.AFFINE, places, resample=Image.Resampling.BILINEAR)
        return np.asarray(strip)


def read_backdrop(text: str, gravity: Gravity = "centre") -> Backdrop | None:
    """Return what an option asks for: None for ``"transparent"``, a colour, or the picture of a file.

    Raises
    ------
    ConfigError
        If it is neither.
    DataError
        If the file is no picture.
    """
    if text == TRANSPARENT:
        return None
    path = Path(text)
    if path.is_file():
        image = open_image(path)
        options = CutOutOptions()
        if len(image.axes.replace("C", "")) != 2:
            raise DataError(f"{path} is no picture: its axes are {image.axes}.", "Name a picture of one plane.")
        picture = Picture(image.stack()[0], options, path.name)
        return Backdrop(None, Image.fromarray(picture.window(slice(None))), gravity)
    try:
        colour = ImageColor.getrgb(text)
    except ValueError:
        raise ConfigError(
            f"The background {text!r} is no colour, and there is no such file.",
            "Write transparent, a colour such as white or #ffcc00, or the name of a picture.",
        ) from None
    return Backdrop((colour[0], colour[1], colour[2]))
