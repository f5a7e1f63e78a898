"""Pictures of one image: as it is, its reference, its prediction, one over the other, and where they differ.

Everything is drawn small enough to look at on a page. Of stacks one plane is drawn: the one with most of what is to be
found.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_segnet.axes import ArrayLike, to_stack
from napari_segnet.evaluation.scores import Labels, Rules, same_white
from napari_segnet.reports.colours import CONFUSED, ERROR_COLOURS, HIT, IGNORED, INVENTED, MISSED, NOTHING

Rgb = NDArray[np.uint8]
PARTS = ("image", "truth", "prediction", "overlay", "error")
"""What `draw_panel` draws, in order; the first needs an image."""
PART_WORDS = {
    "image": "Image",
    "truth": "Reference",
    "prediction": "Prediction",
    "overlay": "Prediction over image, reference as line",
    "error": "Errors",
}
_SEEN = 0.45
"""Opacity of classes over an image."""
_MOST_LINES = 0.12
"""Largest share of a picture that lines may take."""
_MOST_TIMES = 8
"""Very small images are enlarged by at most so much, for lines on them to be thin."""
_MOST_COLOURS = 240


@dataclass(frozen=True, eq=False)
class Panel:
    """The pictures of one image, each (Y, X, 3) uint8, by the names of `PARTS`.

    `plane` is the number of the plane that is drawn, None where there is only one.
    """

    pictures: dict[str, Rgb]
    plane: int | None = None


def draw_panel(
    prediction: Labels,
    truth: Labels,
    rules: Rules,
    *,
    colours: Mapping[int, str],
    image: tuple[ArrayLike, str] | None = None,
    side: int = 320,
) -> Panel:
    """Draw one image with its reference, prediction and errors.

    Parameters
    ----------
    prediction, truth : (..., Y, X) integer arrays
        Of one shape.
    rules : Rules
        How they are compared.
    colours : mapping of int to str
        ``"#rrggbb"`` of each class; objects get colours of their own.
    image : array-like and its axes, optional
        What was segmented; without its channels it has the shape of the labels.
    side : int
        Longest side of a picture, pixels; larger images are thinned out, very small ones enlarged.

    Returns
    -------
    Panel
        Without an image: of the reference, the prediction and the errors.
    """
    place = busiest_plane(prediction, truth)
    longest = max(truth.shape[-2:])
    step, times = max(1, math.ceil(longest / side)), max(1, min(_MOST_TIMES, side // (2 * longest)))
    small_truth, small = (
        same_white(labels[place][::step, ::step], rules).repeat(times, 0).repeat(times, 1)
        for labels in (truth, prediction)
    )
    pictures = {}
    if image is not None:
        pictures["image"] = _resized(show_image(*image, place, thinned=max(1, step // 2)), small.shape)
    pictures["truth"] = colour_labels(small_truth, rules, colours)
    pictures["prediction"] = colour_labels(small, rules, colours)
    if image is not None:
        pictures["overlay"] = _overlay(pictures["image"], small, small_truth, pictures["prediction"])
    pictures["error"] = palette(ERROR_COLOURS)[find_errors(small, small_truth, rules)]
    plane = int(np.ravel_multi_index(place, truth.shape[:-2])) if place else None
    return Panel(pictures, plane)


def busiest_plane(prediction: Labels, truth: Labels) -> tuple[int, ...]:
    """Return the place, along the axes before Y and X, of the plane with most pixels that are not 0 in either."""
    if truth.ndim == 2:
        return ()
    counts = np.zeros(truth.shape[:-2], np.int64)
    for place in np.ndindex(*counts.shape):
        counts[place] = np.count_nonzero(truth[place]) + np.count_nonzero(prediction[place])
    return tuple(int(n) for n in np.unravel_index(int(counts.argmax()), counts.shape))


def find_errors(prediction: Labels, truth: Labels, rules: Rules) -> NDArray[np.uint8]:
    """Say of each pixel whether it was missed, invented, confused ... (numbers of `napari_segnet.reports.colours`).

    Parameters
    ----------
    prediction, truth : integer arrays of one shape
    rules : Rules
        How they are compared. Of objects it counts whether there is one, not which.

    Returns
    -------
    uint8 array of the same shape
        `NOTHING`, `HIT`, `MISSED`, `INVENTED`, `CONFUSED` or `IGNORED`.
    """
    prediction, truth = same_white(prediction, rules), same_white(truth, rules)
    errors = np.full(truth.shape, CONFUSED, np.uint8)
    errors[((prediction > 0) & (truth > 0)) if rules.instances else (prediction == truth)] = HIT
    errors[(prediction == 0) & (truth == 0)] = NOTHING
    errors[(prediction == 0) & (truth != 0)] = MISSED
    errors[(prediction != 0) & (truth == 0)] = INVENTED
    errors[np.isin(truth, rules.ignore_values)] = IGNORED
    return errors


def colour_labels(labels: Labels, rules: Rules, colours: Mapping[int, str]) -> Rgb:
    """Draw labels: classes in their colours, objects in colours that neighbours in number don't share.

    Parameters
    ----------
    labels : (Y, X) integer array
    rules : Rules
    colours : mapping of int to str
        ``"#rrggbb"`` of each class.

    Returns
    -------
    (Y, X, 3) uint8
    """
    if rules.instances:
        index = np.where(labels == 0, 0, 1 + (labels.astype(np.int64) - 1) % _MOST_COLOURS)
        objects: Rgb = _object_palette()[index]
        return objects
    picture = np.zeros((*labels.shape, 3), np.uint8)
    for value in np.unique(labels):
        colour = colours.get(int(value), "#888888")
        picture[labels == value] = _rgb(ERROR_COLOURS[NOTHING] if value == 0 else colour)
    return picture


def show_image(array: ArrayLike, axes: str, place: tuple[int, ...] = (), thinned: int = 1) -> Rgb:
    """Return a plane of an image as one looks at it: grey, two channels magenta and green, three in their colours.

    Parameters
    ----------
    array : array-like
    axes : str
        Its axes.
    place : tuple of int
        Of the plane, along the axes besides C, Y and X.
    thinned : int
        Only every so many rows and columns are read.

    Returns
    -------
    (Y, X, 3) uint8
        From the first to the 99th percentile of each channel; colours of 8 bit as they are.
    """
    stack = to_stack(array, axes)
    number = int(np.ravel_multi_index(place, stack.leading)) if place else 0
    channels = np.asarray(stack[number][:, ::thinned, ::thinned])
    if channels.dtype == np.uint8 and len(channels) == 3:
        return np.ascontiguousarray(channels.transpose(1, 2, 0))
    order = {1: [0, 0, 0], 2: [0, 1, 0]}.get(len(channels), [0, 1, 2])
    shown = np.stack([_stretched(channels[channel]) for channel in dict.fromkeys(order)])
    return np.ascontiguousarray(shown[[list(dict.fromkeys(order)).index(c) for c in order]].transpose(1, 2, 0))


def _stretched(channel: NDArray[Any]) -> NDArray[np.uint8]:
    values = channel.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite[:: max(1, finite.size // 100_000)], (1, 99)) if finite.size else (0.0, 1.0)
    scaled = (np.nan_to_num(values, nan=float(low)) - low) / max(float(high - low), 1e-12)
    bright: NDArray[np.uint8] = np.round(255 * scaled.clip(0, 1)).astype(np.uint8)
    return bright


def _resized(picture: Rgb, shape: tuple[int, ...]) -> Rgb:
    """Return a picture at the size of its labels: where these were thinned out, with the mean of what was there."""
    if picture.shape[:2] == tuple(shape):
        return picture
    way = Image.Resampling.BOX if picture.shape[0] > shape[0] else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((shape[1], shape[0]), way))


def _overlay(image: Rgb, prediction: Labels, truth: Labels, colours: Rgb) -> Rgb:
    """Lay the prediction over the image, and draw the edges of the reference white, unless they'd hide everything."""
    inside = prediction > 0
    mixed = image.astype(np.float32)
    mixed[inside] = (1 - _SEEN) * mixed[inside] + _SEEN * colours[inside]
    edges = _edges(truth)
    if np.count_nonzero(edges) <= _MOST_LINES * edges.size:
        mixed[edges] = 255
    picture: Rgb = mixed.astype(np.uint8)
    return picture


def _edges(labels: Labels) -> NDArray[np.bool_]:
    """Return the pixels of anything but 0 that touch another value, along rows or columns."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        along, edges = np.moveaxis(labels, axis, 0), np.moveaxis(found, axis, 0)
        differ = along[1:] != along[:-1]
        edges[1:] |= differ
        edges[:-1] |= differ
    return found & (labels > 0)


def side_by_side(panel: Panel, gap: int = 4) -> Rgb:
    """Return the pictures of a panel in one row, white between them."""
    pictures = [panel.pictures[part] for part in PARTS if part in panel.pictures]
    between = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, between)][:-1]
    return np.concatenate(row, axis=1)


def png(picture: Rgb) -> bytes:
    """Return a picture as a PNG: of few colours with a palette, which takes the least room."""
    file = io.BytesIO()
    flat = picture.reshape(-1, 3).astype(np.uint32)
    colours, index = np.unique((flat[:, 0] << 16) | (flat[:, 1] << 8) | flat[:, 2], return_inverse=True)
    image = Image.fromarray(picture)
    if len(colours) <= 256:
        image = Image.fromarray(index.reshape(picture.shape[:2]).astype(np.uint8))
        image.putpalette(np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8).tobytes())
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def jpeg(picture: Rgb) -> bytes:
    """Return a photograph as a JPEG: a fraction of the size of a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return file.getvalue()


def palette(colours: tuple[str, ...]) -> Rgb:
    """Return ``"#rrggbb"`` texts as an array (N, 3)."""
    return np.array([_rgb(colour) for colour in colours], np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@lru_cache(maxsize=1)
def _object_palette() -> Rgb:
    """Return black, and colours well apart."""
    hues = [colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.65, 1.0 - 0.3 * (i % 3) / 2) for i in range(1, _MOST_COLOURS + 1)]
    return np.round(255 * np.array([(0.0, 0.0, 0.0), *hues])).astype(np.uint8)
