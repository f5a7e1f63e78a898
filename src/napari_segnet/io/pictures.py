"""PNG, JPEG, BMP and GIF."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from napari_segnet.errors import DataError
from napari_segnet.io.formats import RawImage

# These formats are decoded at once: beyond this, tiled formats are the better home.
_MOST_PIXELS = 2**31
_PLAIN = {"1", "L", "RGB", "F", "I"}


def read_picture(path: Path, *, indices: bool = False) -> RawImage:
    """Read a picture; frames of an animation become T.

    Parameters
    ----------
    path : Path
        The file; its content decides on the format, not its name.
    indices : bool
        True for labels: a palette image gives the numbers of its colours. False: the colours.

    Returns
    -------
    RawImage
        Transparency is left in, and marked.

    Raises
    ------
    DataError
        If it has more than two thousand million pixels.
    """
    with warnings.catch_warnings():
        # Scientific images are large: the limit below is ours.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image: Image.Image = Image.open(path)
        except Image.DecompressionBombError:
            image = _open_large(path)
        with image:
            if image.width * image.height > _MOST_PIXELS:
                raise _too_large(path)
            lossy = image.format in ("JPEG", "MPO")
            frames = []
            alpha = False
            for frame in ImageSequence.Iterator(image):
                pixels, alpha = _pixels(frame, path, indices=indices)
                frames.append(pixels)
                if image.format != "GIF":
                    # Of a JPEG the others are thumbnails, of a PNG an animation that few programs show.
                    break
    array, hint = frames[0], "YXC"[: frames[0].ndim]
    if len(frames) > 1 and len({f.shape for f in frames}) == 1:
        array, hint = np.stack(frames), "T" + hint
    return RawImage(array, hint, alpha=alpha, lossy=lossy)


def _too_large(path: Path) -> DataError:
    return DataError(
        f"{path} has too many pixels to decode at once, or is damaged.",
        "Save it as a tiled TIFF or as OME-Zarr.",
    )


def _open_large(path: Path) -> Image.Image:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _pixels(frame: Image.Image, path: Path, *, indices: bool) -> tuple[NDArray[Any], bool]:
    """Return (Y, X[, C]) pixels, and whether the last channel is transparency."""
    frame.load()
    if frame.mode == "P" and indices:
        return np.asarray(frame), False
    if frame.mode in ("P", "PA"):
        colours = np.asarray(frame.convert("RGB"))
        grey = bool((colours == colours[..., :1]).all())
        return (colours[..., 0] if grey else colours), False
    if frame.format == "PNG" and frame.mode in ("RGB", "RGBA", "LA"):
        deep = _deep_png(path)
        if deep is not None:
            return deep, frame.mode != "RGB"
    if frame.mode in ("LA", "La", "RGBA", "RGBa"):
        return np.asarray(frame), True
    if frame.mode in _PLAIN or frame.mode.startswith("I;16"):
        pixels = np.asarray(frame)
        # Older decoders give 16 bits in 32.
        small = pixels.dtype == np.int32 and pixels.size and pixels.min() >= 0 and pixels.max() <= 65535
        return (pixels.astype(np.uint16) if small else pixels.astype(pixels.dtype.newbyteorder("="))), False
    return np.asarray(frame.convert("RGB")), False


def _deep_png(path: Path) -> NDArray[Any] | None:
    """Return a colour PNG of 16 bits a channel, which Pillow cuts to 8; None if needless or impossible."""
    with path.open("rb") as file:
        header = file.read(26)
    if header[24:25] != b"\x10":
        return None
    try:
        imagecodecs = importlib.import_module("imagecodecs")
    except ImportError:
        return None
    pixels: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    return pixels
