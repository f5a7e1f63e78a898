"""The only translator between napari layers and arrays: axes, transforms, and the snapshot in a run folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_segnet.axes import guess_axes, times, view
from napari_segnet.config import LabelClass, validated
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.io.write import nbytes, npy_steps
from napari_segnet.run import PairRecord

FILE_KEY = "napari_segnet_file"
"""Key in the metadata of a layer: the file that it shows."""
AXES_KEY = "napari_segnet_axes"
"""Key in the metadata of an image layer that shows a file: its axes, as the file says."""
CLASSES_KEY = "napari_segnet_classes"
"""Key in the metadata of a labels layer: its classes by value, so that they outlive the dock."""
_COPY_LIMIT = 8_000_000_000
_MOST_CHANNELS = 32
_CHANNEL_WORDS = ("c", "ch", "channel", "channels", "colour", "color", "wavelength", "band")


def array_of(layer: Layer) -> Any:
    """Return the array of an image or labels layer at full resolution, without loading it."""
    return layer.data[0] if layer.multiscale else layer.data


def pixels_of(image: Image) -> Any:
    """Return the array of an image layer without an alpha channel: transparency is nothing to learn from."""
    array = array_of(image)
    if not image.rgb or array.shape[-1] != 4:
        return array
    return view(array, axes_of(image), axes_of(image), stop={"C": 3})


def classes_of(labels: Labels) -> tuple[LabelClass, ...]:
    """Return the classes that a labels layer was made with; none where nobody said."""
    try:
        return tuple(validated(LabelClass, entry) for entry in labels.metadata.get(CLASSES_KEY, {}).values())
    except (ConfigError, AttributeError):
        return ()


def layer_of_path(viewer: Any, kind: type[Layer], path: Path) -> Any:
    """Return the layer that shows a file, whoever opened it; None where there is none."""
    for layer in viewer.layers:
        source = layer.source.path
        same = source is not None and Path(source).resolve() == path.resolve()
        if isinstance(layer, kind) and (same or layer.metadata.get(FILE_KEY) == str(path)):
            return layer
    return None


def axes_of(image: Image, labels: Labels | None = None) -> str:
    """Guess the axes of an image layer, such as ``"YX"``, ``"YXC"``, ``"CYX"`` or ``"ZYX"``.

    Parameters
    ----------
    image : Image
    labels : Labels, optional
        Its labels: what the image has more than these is channels.

    Returns
    -------
    str
        One letter of T, Z, C, Y, X an axis of `array_of(image)`; the first of `axes_choices`.
    """
    return axes_choices(image, labels)[0]


def axes_choices(image: Image, labels: Labels | None = None) -> tuple[str, ...]:
    """Return what the axes of an image layer may be, the likeliest first."""
    array = array_of(image)
    if image.rgb:
        return (_leading(array.ndim - 3) + "YXC",)
    if array.ndim == 2:
        return ("YX",)
    stack = _leading(array.ndim - 2) + "YX"
    if array.ndim > 5:
        return (stack,)
    rest = _leading(array.ndim - 3)
    with_channels = tuple(rest[:c] + "C" + rest[c:] + "YX" for c in range(array.ndim - 2))
    likeliest = _likeliest_axes(image, labels, stack, with_channels)
    choices = dict.fromkeys((likeliest, stack, *with_channels))
    # Five axes are T, Z, Y, X and one more: that can only be channels.
    return tuple(axes for axes in choices if axes.count("T") < 2) or (stack,)


def _likeliest_axes(image: Image, labels: Labels | None, stack: str, with_channels: tuple[str, ...]) -> str:
    shape = array_of(image).shape
    for index, word in enumerate(image.axis_labels[:-2]):
        if word.lower() in _CHANNEL_WORDS:
            return with_channels[index]
    if labels is not None and labels.ndim == len(shape) - 1:
        for index, axes in enumerate(with_channels):
            rest = shape[:index] + shape[index + 1 :]
            if rest == tuple(array_of(labels).shape) and shape[index] <= _MOST_CHANNELS:
                return axes
    # Axis labels that a person or a file gave, none of them a channel: a stack. Nor has a channel a size.
    named = not all(re.fullmatch(r"-?\d+", word) for word in image.axis_labels)
    if stack.count("T") < 2 and (named or image.scale[0] != 1):
        return stack
    guess = guess_axes(shape, np.dtype(array_of(image).dtype))
    return guess if guess in with_channels else stack


def _leading(count: int) -> str:
    return ("", "Z", "TZ")[count] if count <= 2 else "T" * (count - 1) + "Z"


def in_words(image: Image, axes: str, spatial: str = "YX") -> str:
    """Say what an image is: its size, and what its axes mean where planes, or volumes (ZYX), are learned."""
    sizes = dict(zip(axes, array_of(image).shape, strict=True))
    words = f"{sizes['X']} x {sizes['Y']} pixels"
    if "C" in axes:
        words += f", {channels_of(image, axes)} channels"
    times, depth = sizes.get("T", 1), sizes.get("Z", 1)
    if spatial == "ZYX" and "Z" in axes:
        return f"{words}, {depth} planes (learned as a volume)" + (f", {times} times" if times > 1 else "")
    if "T" in axes or "Z" in axes:
        words += f", {times * depth} planes (learned one by one)"
    return words


def channels_of(image: Image, axes: str) -> int:
    """Return the number of channels that can be learned from."""
    if image.rgb:
        return 3
    return int(array_of(image).shape[axes.index("C")]) if "C" in axes else 1


def check_pair(images: Sequence[Image], labels: Labels, axes: str) -> None:
    """Check that labels lie on their images, pixel by pixel.

    Raises
    ------
    DataError
        If they have another size, scale or place, or if the channels differ among each other.
    """
    first = images[0]
    if len(axes) > 4 or axes.count("T") > 1:
        raise DataError(f"{first.name!r} has {array_of(first).ndim} axes.", "Stacks of up to T, Z, Y, X can be used.")
    for other in images[1:]:
        if array_of(other).shape != array_of(first).shape:
            raise DataError(
                f"{other.name!r} is {_size(other)}, but {first.name!r} is {_size(first)}.",
                "Layers that are used as channels of one image need one size.",
            )
    wanted = tuple(n for n, axis in zip(array_of(first).shape, axes, strict=True) if axis != "C")
    have = tuple(array_of(labels).shape)
    if have != wanted and have != _with_channel_axis(first, axes):
        raise DataError(
            f"The labels {labels.name!r} are {_size(labels)}, but {first.name!r} is {_size(first)}.",
            "Labels need the size of their image: make a new labels layer while the image is selected.",
        )
    mine, theirs = transform_of(first, axes), transform_of(labels, _label_axes(labels, axes))
    for key, value in (("scaled", "scale"), ("moved", "translate"), ("turned", "affine")):
        if not np.allclose(mine[value], theirs[value], rtol=1e-4, atol=1e-6):
            raise DataError(
                f"The labels {labels.name!r} are {key} differently from {first.name!r} "
                f"({_numbers(theirs[value])} instead of {_numbers(mine[value])}).",
                "Give both layers the same scale, translate and affine.",
            )


def _numbers(values: Any) -> str:
    return ", ".join(f"{v:.4g}" for v in np.ravel(values)[:9])


def _size(layer: Layer) -> str:
    return times(array_of(layer).shape)


def _with_channel_axis(image: Image, axes: str) -> tuple[int, ...]:
    # napari's own "new labels" button gives labels every axis of the image, channels too.
    return tuple(array_of(image).shape) if "C" in axes and not image.rgb else ()


def _label_axes(labels: Labels, axes: str) -> str:
    return axes if array_of(labels).ndim == len(axes) else axes.replace("C", "")


def labels_array(labels: Labels, axes: str) -> Any:
    """Return the labels without a channel axis: strokes on any channel count for the pixel.

    Parameters
    ----------
    labels : Labels
    axes : str
        Axes of the image.

    Returns
    -------
    array-like, axes as `axes` without C
    """
    array = array_of(labels)
    if array.ndim == len(axes) and "C" in axes:
        return np.asarray(array).max(axis=axes.index("C"))
    return array


def transform_of(layer: Layer, axes: str) -> dict[str, Any]:
    """Return what places a layer in the world, without its channel axis, as arguments of a new layer.

    Parameters
    ----------
    layer : Layer
    axes : str
        Axes of its array; an RGB layer's C isn't an axis of the layer.

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine, units, axis_labels.
    """
    keep = [i for i, axis in enumerate(axes) if axis != "C"]
    shear = np.asarray(layer.shear)
    if shear.ndim == 1:
        full = np.eye(layer.ndim)
        full[np.triu_indices(layer.ndim, 1)] = shear
        shear = full
    return {
        "scale": np.asarray(layer.scale)[keep],
        "translate": np.asarray(layer.translate)[keep],
        "rotate": np.asarray(layer.rotate)[np.ix_(keep, keep)],
        "shear": shear[np.ix_(keep, keep)],
        "affine": np.asarray(layer.affine.affine_matrix)[np.ix_([*keep, -1], [*keep, -1])],
        "units": tuple(layer.units[i] for i in keep),
        "axis_labels": tuple(layer.axis_labels[i] for i in keep),
    }


def pixel_size_of(layer: Layer, axes: str) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the size of a pixel along [Z], Y, X and its unit; None where the layer doesn't tell them.

    A stack without a unit whose planes are further apart than its pixels tells at least how long voxels are relative
    to each other.
    """
    keep = [i for i, axis in enumerate(axes.replace("C", "") if layer.ndim < len(axes) else axes) if axis in "ZYX"]
    unit = str(layer.units[keep[-1]])
    size = tuple(float(layer.scale[i]) for i in keep)
    if unit == "pixel":
        return (size, None) if "Z" in axes and len(set(size)) > 1 else (None, None)
    return size, unit


def write_image(folder: Path, name: str, images: Sequence[Image]) -> Iterator[int]:
    """Copy the arrays of image layers into a folder, some megabytes a step, and yield the bytes of each step.

    Written are ``NAME.npy``, or ``NAME_0.npy``, ``NAME_1.npy`` ... where there are several (see `image_files`).

    Raises
    ------
    SegNetError
        If an image is too large to be copied, or if the disk is full.
    """
    for path, image in zip(image_files(folder, name, len(images)), images, strict=True):
        array = pixels_of(image)
        if nbytes(array) > _COPY_LIMIT:
            raise SegNetError(
                f"{image.name!r} has {nbytes(array) / 1e9:.0f} GB: too much to be copied.",
                "Use the Load button to name its file instead.",
            )
        yield from _copy(path, array)


def image_files(folder: Path, name: str, count: int) -> list[Path]:
    """Return where `write_image` writes `count` layers."""
    return [folder / (f"{name}.npy" if count == 1 else f"{name}_{i}.npy") for i in range(count)]


def _copy(path: Path, array: Any) -> Iterator[int]:
    remedy = "Make room on that disk, or set NAPARI_SEGNET_HOME to another folder."
    try:
        yield from npy_steps(path, array)
    except DataError:
        raise  # a part of the image can't be read
    except SegNetError as error:
        raise SegNetError(error.problem, remedy) from error
    except OSError as error:
        raise SegNetError(f"{path.stem} can't be read or saved: {error.strerror or error}.", remedy) from error


def file_of(image: Image, axes: str) -> Path | None:
    """Return the file that a lazy layer shows unchanged, if the worker can read it itself; else None."""
    path = image.source.path or image.metadata.get(FILE_KEY)
    if path is None or isinstance(array_of(image), np.ndarray):
        return None
    # Reading napari's way and ours must give one array; only then is a reference as good as a copy.
    from napari_segnet.io.images import open_image

    try:
        opened = open_image(Path(path), axes)
    except SegNetError:
        return None
    same = tuple(opened.array.shape) == tuple(array_of(image).shape) and opened.array.dtype == array_of(image).dtype
    return Path(path).resolve() if same else None


def write_pair(folder: Path, name: str, images: Sequence[Image], labels: Labels, axes: str) -> Iterator[int]:
    """Write a snapshot of an image and its labels below a run folder, step by step; see `record_of`.

    The labels are copied at the first step, all at once: what is painted later belongs to the next run.
    """
    snapshot = np.array(labels_array(labels, axes))
    yield 0
    yield from _copy(folder / "data" / f"{name}_labels.npy", snapshot)
    missing = [image for image in images if file_of(image, axes) is None]
    if missing:
        yield from write_image(folder / "data", name, images)


def record_of(name: str, images: Sequence[Image], axes: str) -> PairRecord:
    """Return the record of what `write_pair` writes."""
    files = [file_of(image, axes) for image in images]
    size, units = pixel_size_of(images[0], axes)
    copies = image_files(Path("data"), name, len(images))
    return PairRecord(
        name=name,
        images=tuple(p.as_posix() for p in copies) if None in files else tuple(str(f) for f in files),
        labels=f"data/{name}_labels.npy",
        axes=axes,
        pixel_size=size,
        units=units,
    )


def file_name(layer_name: str, taken: Sequence[str] = ()) -> str:
    """Turn the name of a layer into a file name that is not taken."""
    stem = re.sub(r"[^\w.-]+", "_", layer_name).strip("._") or "image"
    stem = stem[:60]
    names = [stem, *(f"{stem}_{n}" for n in range(2, len(taken) + 3))]
    return next(n for n in names if n not in taken)


def view_of(viewer: Any, image: Image, axes: str, largest: int = 1024) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Return what of an image is on the canvas: plane, origin and shape along Y, X, in pixels.

    Parameters
    ----------
    viewer : napari viewer
    image : Image
    axes : str
    largest : int
        Longest side; a larger view is cut to its centre.

    Returns
    -------
    plane, (y, x), (height, width)
        `plane` counts over T and Z together.
    """
    layer_axes = axes.replace("C", "") if image.rgb else axes
    shape = tuple(array_of(image).shape)
    sizes = {axis: shape[axes.index(axis)] for axis in axes}
    point = np.round(image.world_to_data(viewer.dims.point[-image.ndim :])).astype(int)
    plane = 0
    for i, axis in enumerate(layer_axes):
        if axis in "TZ":
            plane = plane * sizes[axis] + int(np.clip(point[i], 0, sizes[axis] - 1))
    corners = np.asarray(image.corner_pixels, float)
    if image.multiscale:
        corners = corners * np.asarray(image.downsample_factors[image.data_level])
    start, stop = [], []
    for axis in "YX":
        i, n = layer_axes.index(axis), sizes[axis]
        low, high = int(corners[0, i]), int(corners[1, i]) + 1
        if viewer.dims.ndisplay != 2 or high - low < 2:
            low, high = 0, n
        low, high = max(low, 0), min(high, n)
        if high - low > largest:
            low = (low + high - largest) // 2
            high = low + largest
        start.append(low)
        stop.append(high)
    return plane, (start[0], start[1]), (stop[0] - start[0], stop[1] - start[1])
