"""Objects cut out of pictures: on transparency, on a colour or on another picture, with soft edges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike, guess_axes, view
from napari_segnet.errors import ConfigError
from napari_segnet.measure.alpha import opacity, reach
from napari_segnet.measure.meaning import LabelMeaning, Labels, check_labels, check_size
from napari_segnet.measure.objects import find_objects
from napari_segnet.measure.options import CutOutOptions, ObjectOptions
from napari_segnet.measure.pictures import Backdrop, Picture, read_backdrop
from napari_segnet.measure.png import write_png

# Pixels that are worked on at once.
_STRIP = 1_000_000


def cut_out(
    image: ArrayLike,
    labels: ArrayLike,
    options: CutOutOptions | None = None,
    *,
    axes: str | None = None,
    probability: ArrayLike | None = None,
) -> NDArray[Any]:
    """Cut the objects of a picture out.

    Parameters
    ----------
    image : array
        A plane: (Y, X) greys, (Y, X, 3) or (3, Y, X) colours; others with `axes`.
    labels : (Y, X) whole numbers
        0 is background.
    options : CutOutOptions, optional
    axes : str, optional
        Of the image, such as ``"CYX"``, where the guess is wrong.
    probability : (Y, X), optional
        Of what is cut out, for ``edge="probability"``.

    Returns
    -------
    (Y, X, 4) or (Y, X, 3)
        Colours and opacity; on a background the colours alone. uint8, or uint16 where 16 bits are kept. Where nothing
        of an object is left, transparent pictures are black.

    Raises
    ------
    DataError
        If sizes don't agree, or the image is no picture.
    ConfigError
        If the background is neither a colour nor a file, or a probability is missing.
    """
    options = options or CutOutOptions()
    axes = axes or guess_axes(tuple(image.shape), image.dtype)
    picture = Picture(view(image, axes, "CYX"), options, "The image")
    mask = mask_of(check_labels(labels), options)
    check_size(picture.shape, mask, "The image")
    strips = cut_strips(picture, mask, options, read_backdrop(options.background, options.gravity), probability)
    return np.concatenate(list(strips))


def mask_of(labels: Labels, options: CutOutOptions, ignore_values: tuple[int, ...] = ()) -> NDArray[np.bool_]:
    """Return what is cut out, as (Y, X) bool."""
    if options.values:
        mask = np.isin(labels, options.values)
    elif ignore_values:
        mask = ~np.isin(labels, (0, *ignore_values))
    else:
        mask = labels != 0
    if options.fill_holes or options.minimum_pixels:
        wanted = ObjectOptions(minimum_pixels=options.minimum_pixels, fill_holes=options.fill_holes)
        pieces = find_objects(mask.astype(np.uint8), LabelMeaning("semantic", (0, 1)), wanted)
        mask = np.zeros_like(mask)
        for piece in pieces:
            mask[piece.box] |= piece.mask
    return mask


def cut_strips(
    picture: Picture,
    mask: NDArray[np.bool_],
    options: CutOutOptions,
    backdrop: Backdrop | None,
    probability: ArrayLike | None = None,
) -> Iterator[NDArray[Any]]:
    """Yield strips of a cut-out, from top to bottom; together they are what one piece would be.

    Parameters
    ----------
    picture : Picture
    mask : (Y, X) bool
    options : CutOutOptions
    backdrop : Backdrop or None
        None: transparent.
    probability : (Y, X), optional

    Yields
    ------
    (N, X, 4) or (N, X, 3) array
    """
    if options.edge == "probability" and probability is None:
        raise ConfigError("Edges can't follow a probability that isn't given.", "Name it: --probabilities DIR.")
    height, width = picture.shape
    frame = None if backdrop is None else backdrop.frame(picture.shape)
    overlap = reach(options)
    rows = max(1, _STRIP // width)
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        above, below = max(0, start - overlap), min(height, stop + overlap)
        near = None if probability is None else np.asarray(probability[above:below])
        alpha = opacity(mask[above:below], options, near)[start - above : stop - above]
        colours = picture.window(slice(start, stop))
        yield join(colours, alpha, None if frame is None else frame.rows(start, stop))


def join(colours: NDArray[Any], alpha: NDArray[np.float32], behind: NDArray[np.uint8] | None) -> NDArray[Any]:
    """Lay colours over what is behind them; without anything behind add the opacity as a channel.

    Parameters
    ----------
    colours : (Y, X, 3) uint8 or uint16
    alpha : (Y, X) float32
    behind : (Y, X, 3) uint8, optional
    """
    largest = np.iinfo(colours.dtype).max
    if behind is None:
        opaque = np.rint(alpha * largest).astype(colours.dtype)[..., np.newaxis]
        return np.concatenate([np.where(opaque > 0, colours, 0), opaque], axis=-1)
    shade = alpha[..., np.newaxis]
    # White has all bits: 255 becomes 65535.
    mixed = shade * colours + (1 - shade) * (behind.astype(np.float32) * (largest / 255))
    whole: NDArray[Any] = np.rint(mixed).astype(colours.dtype)
    return whole


def write_cut_out(
    path: Path,
    picture: Picture,
    mask: NDArray[np.bool_],
    options: CutOutOptions,
    backdrop: Backdrop | None,
    probability: ArrayLike | None = None,
) -> None:
    """Write a cut-out as PNG; parameters as those of `cut_strips`.

    Raises
    ------
    SegNetError
        If it can't be written.
    """
    channels = 4 if backdrop is None else 3
    with write_png(path, (*picture.shape, channels), picture.dtype) as writer:
        for strip in cut_strips(picture, mask, options, backdrop, probability):
            writer.write(strip)
