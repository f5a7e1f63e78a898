"""Classical segmentation as a start for annotation: labels to be corrected instead of painted from nothing.

A method is one function in `classical` and one entry in `METHODS`. Shell and viewer list the entries, and build
their forms of the options; the code, and scikit-image with it, is imported when a method is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_segnet.axes import ArrayLike, counted, guess_axes, view
from napari_segnet.config import Frozen, validated
from napari_segnet.errors import ConfigError, DataError, unknown_name
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.measure.meaning import Labels, check_labels, check_size

_LUMINANCE = (0.2125, 0.7154, 0.0721)


class MethodOptions(Frozen):
    """What all methods have."""

    channel: int = Field(0, ge=0, description="Channel that is looked at, from 1 on; 0: the brightness of all.")
    smooth: float = Field(1.0, ge=0, le=100, description="Width (sigma) of a blur before, pixels along X; 0: none.")


class PieceOptions(MethodOptions):
    """What those have that find objects on a background."""

    minimum_pixels: int = Field(0, ge=0, description="Smaller pieces are left out.")
    fill_holes: bool = Field(False, description="Fill what pieces enclose.")


class OtsuOptions(PieceOptions):
    """Options of Otsu's thresholds."""

    objects: Literal["bright", "dark"] = Field("bright", description="What becomes the highest class.")
    classes: int = Field(2, ge=2, le=5, description="Classes by brightness, background included.")


class LocalOptions(PieceOptions):
    """Options of a local threshold."""

    objects: Literal["bright", "dark"] = Field("bright", description="Brighter or darker than their surroundings.")
    window: int = Field(51, ge=3, le=4095, description="Side of the surroundings, pixels along X; larger than objects.")
    statistic: Literal["gaussian", "mean", "median", "sauvola"] = Field(
        "gaussian",
        description="What an object is compared with: a mean or median, or the mean and deviation of Sauvola.",
    )
    offset: float = Field(
        0.02, ge=-1, le=1, description="By how much it has to differ, as a part of the image's range; not for sauvola."
    )
    k: float = Field(0.2, ge=-1, le=1, description="How much the deviation counts; sauvola alone.")


class CannyOptions(PieceOptions):
    """Options of Canny's edges."""

    low: float = Field(0.85, ge=0, le=1, description="Part of the pixels with a weaker gradient than weak edges.")
    high: float = Field(
        0.95, ge=0, le=1, description="The same for strong edges; weak ones have to touch a strong one."
    )
    close: int = Field(2, ge=0, le=50, description="Gaps in edges that are closed, pixels.")
    result: Literal["filled", "edges"] = Field("filled", description="What edges enclose, or the edges themselves.")


class WatershedOptions(PieceOptions):
    """Options of the watershed."""

    seeds: Literal["distance", "strokes"] = Field(
        "distance", description="Numbered objects from the middles of thresholded ones, or classes from strokes."
    )
    objects: Literal["bright", "dark"] = Field(
        "bright", description="For distance: brighter or darker than background."
    )
    apart: int = Field(10, ge=1, le=1000, description="For distance: least distance of two middles, pixels along X.")


class WalkerOptions(MethodOptions):
    """Options of the random walker."""

    channel: int = Field(0, ge=0, description="Channel that is looked at, from 1 on; 0: all of them together.")
    beta: float = Field(130.0, gt=0, le=1e6, description="How hard it is to cross an edge: higher follows finer ones.")
    most_pixels: int = Field(
        1_000_000, ge=10_000, description="Larger images are solved at a smaller size: time and memory grow with it."
    )


@dataclass(frozen=True)
class Method:
    """A method that can be chosen by name.

    Attributes
    ----------
    name, title : str
    idea : str
        What it does, and what it is good for.
    paper : str
    options : type of MethodOptions
    function : str
        In `napari_segnet.measure.classical`: channels (C, [Z], Y, X) float32, `Scene`, options -> labels.
    volumes : bool
        Whether volumes are segmented as a whole; otherwise plane by plane.
    strokes : {"none", "optional", "needed"}
        Whether it starts from strokes.
    """

    name: str
    title: str
    idea: str
    paper: str
    options: type[MethodOptions]
    function: str
    volumes: bool = True
    strokes: Literal["none", "optional", "needed"] = "none"


@dataclass(frozen=True)
class Scene:
    """What a method is told besides the image: the size of a pixel relative to that along X, and strokes."""

    spacing: tuple[float, ...]
    strokes: Labels | None = None


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "otsu",
            "Otsu's thresholds",
            "Splits brightness where the classes differ most: bright cells on dark ground, sky.",
            "Otsu 1979, doi:10.1109/TSMC.1979.4310076; several: Liao, Chen, Chung 2001",
            OtsuOptions,
            "otsu",
        ),
        Method(
            "local-threshold",
            "Local threshold",
            "Compares each pixel with its surroundings: uneven light, writing, thin structures.",
            "Sauvola, Pietikäinen 2000, doi:10.1016/S0031-3203(99)00055-2",
            LocalOptions,
            "local_threshold",
        ),
        Method(
            "canny",
            "Canny's edges",
            "Finds edges, closes their gaps and fills what they enclose: objects with outlines.",
            "Canny 1986, doi:10.1109/TPAMI.1986.4767851",
            CannyOptions,
            "canny",
            volumes=False,
        ),
        Method(
            "watershed",
            "Watershed",
            "Parts touching objects at their waists, or spreads strokes up to the edges of the image.",
            "Beucher, Meyer 1993; Soille, Vincent 1990, doi:10.1117/12.24211",
            WatershedOptions,
            "watershed",
            strokes="optional",
        ),
        Method(
            "random-walker",
            "Random walker",
            "Spreads strokes to where they most likely belong: weak and broken edges.",
            "Grady 2006, doi:10.1109/TPAMI.2006.233",
            WalkerOptions,
            "random_walker",
            strokes="needed",
        ),
    )
}


def method_named(name: str) -> Method:
    """Return a method; raises `ConfigError` with the nearest names if there is none of this name."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def method_options(method: Method, settings: Mapping[str, Any]) -> MethodOptions:
    """Return the options of a method; raises `ConfigError` for names and values that can't be."""
    unknown = sorted(set(settings) - set(method.options.model_fields))
    if unknown:
        raise unknown_name(f"option of {method.name}", unknown[0], method.options.model_fields)
    return validated(method.options, dict(settings))


def with_strokes(method: Method, options: MethodOptions, given: bool) -> MethodOptions:
    """Return options that start from strokes, where there are some and nothing else was asked for.

    Raises
    ------
    ConfigError
        If there are strokes, but the method has no use for them; or the other way round.
    """
    if given and isinstance(options, WatershedOptions) and "seeds" not in options.model_fields_set:
        options = options.replace(seeds="strokes")
    used = method.strokes == "needed" or (method.strokes == "optional" and not gives_objects(method, options))
    if given and not used:
        raise ConfigError(f"{method.title} doesn't start from strokes here.", "Leave them out.")
    if used and not given:
        raise ConfigError(
            f"{method.title} starts from strokes.",
            "Paint some for each class, and choose them (at a shell: --strokes).",
        )
    return options


def gives_objects(method: Method, options: MethodOptions) -> bool:
    """Say whether the labels number objects; otherwise they are classes."""
    return isinstance(options, WatershedOptions) and method.name == "watershed" and options.seeds == "distance"


def pre_annotate(
    image: ArrayLike,
    method: Method | str,
    options: MethodOptions | Mapping[str, Any] | None = None,
    *,
    axes: str | None = None,
    strokes: ArrayLike | None = None,
    spacing: float | Sequence[float] | None = None,
) -> Labels:
    """Segment an image by a classical method.

    Parameters
    ----------
    image : array
        A plane or a volume, with or without channels.
    method : str or Method
        One of `METHODS`.
    options : MethodOptions, or mapping, optional
        Those of the method.
    axes : str, optional
        Of the image, such as ``"YXC"`` or ``"ZYX"``, where the guess is wrong.
    strokes : ([Z], Y, X) whole numbers, optional
        Values of classes, 0 where nothing is painted.
    spacing : float or sequence of float, optional
        Size of a pixel along [Z], Y and X: lengths in the options are those along X.

    Returns
    -------
    ([Z], Y, X) unsigned integers
        Classes, 0 for background; or numbered objects, see `gives_objects`. Of methods that start from strokes: their
        values, on every pixel.

    Raises
    ------
    ConfigError
        If there is no such method or option, or strokes are missing.
    DataError
        If the image is flat, holds NaN or infinite values, has no such channel, or strokes are of another size or
        one class only.
    """
    if isinstance(method, str):
        method = method_named(method)
    if not isinstance(options, MethodOptions):
        options = method_options(method, options or {})
    options = with_strokes(method, options, strokes is not None)
    axes = axes or guess_axes(tuple(image.shape), image.dtype)
    spatial = "ZYX" if "Z" in axes else "YX"
    if set(axes) - set(f"C{spatial}"):
        raise DataError(f"An image with the axes {axes} is neither a plane nor a volume.", "Give one time point.")
    channels = _channels(view(image, axes, f"C{spatial}"), options, keep=method.strokes == "needed")
    scene = Scene(_relative(spacing, channels.ndim - 1), None if strokes is None else _strokes(strokes, channels))
    run = getattr(importlib.import_module("napari_segnet.measure.classical"), method.function)
    if channels.ndim == 4 and not method.volumes:
        planes = [run(channels[:, z], Scene(scene.spacing[1:]), options) for z in range(channels.shape[1])]
        labels = np.stack(planes)
    else:
        labels = run(channels, scene, options)
    found: Labels = labels.astype(smallest_unsigned(int(labels.max())))
    return found


def _channels(array: ArrayLike, options: MethodOptions, *, keep: bool) -> NDArray[np.float32]:
    """Return (C, [Z], Y, X) float32 from 0 to 1: one channel, unless all are kept."""
    number = array.shape[0]
    if options.channel > number:
        raise DataError(
            f"The image has {counted(number, 'channel')}, and no channel {options.channel}.", "Choose another."
        )
    chosen = range(number) if options.channel == 0 else [options.channel - 1]
    channels = np.stack([np.asarray(array[c]) for c in chosen]).astype(np.float32)
    if not np.isfinite(channels).all():
        what = "NaN" if np.isnan(channels).any() else "infinite values"
        raise DataError(f"The image holds {what}.", "Replace them by numbers first, such as by 0.")
    low, high = float(channels.min()), float(channels.max())
    if high <= low:
        raise DataError(f"The image is flat: all its values are {low:g}.", "There is nothing to tell apart.")
    channels = (channels - low) / (high - low)
    if keep or len(channels) == 1:
        return channels
    weights = _LUMINANCE if len(channels) == 3 else (1 / len(channels),) * len(channels)
    grey: NDArray[np.float32] = np.tensordot(np.array(weights, np.float32), channels, 1)[np.newaxis]
    return grey


def _relative(spacing: float | Sequence[float] | None, ndim: int) -> tuple[float, ...]:
    if spacing is None or isinstance(spacing, int | float):
        return (1.0,) * ndim
    if len(spacing) < ndim or not all(0 < s < np.inf for s in spacing):
        raise ConfigError(f"The pixel size {list(spacing)} can't be.", "Give a number, or one for each of [Z], Y, X.")
    return tuple(float(s) / float(spacing[-1]) for s in spacing[-ndim:])


def _strokes(strokes: ArrayLike, channels: NDArray[np.float32]) -> Labels:
    found = check_labels(strokes)
    check_size(channels.shape[1:], found, "The image")
    classes = [value for value in np.unique(found).tolist() if value]
    if len(classes) < 2:
        problem = "All strokes are of one class." if classes else "There are no strokes."
        raise DataError(problem, "Paint some for each of at least two classes.")
    return found
