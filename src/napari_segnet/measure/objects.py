"""A row an object: where it is, how large, of which shape and class, how bright, and how sure the model was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.axes import ArrayLike
from napari_segnet.config import LabelClass, Task, Unlabelled
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.measure.grid import Grid, make_grid
from napari_segnet.measure.intensity import background_of, intensities_of
from napari_segnet.measure.meaning import (
    OBJECT,
    LabelMeaning,
    Labels,
    check_labels,
    check_size,
    find_meaning,
    find_probabilities,
)
from napari_segnet.measure.options import ObjectOptions
from napari_segnet.measure.shape import shape_of

if TYPE_CHECKING:
    import pandas as pd

Box = tuple[slice, ...]
_NO_CLASS = "none"


@dataclass(frozen=True)
class Objects:
    """Measured objects.

    Attributes
    ----------
    table : DataFrame
        A row an object; its columns are explained in `napari_segnet.measure.columns`.
    labels : ([Z], Y, X) unsigned integers
        The objects, with the numbers of the column ``label``.
    grid : Grid
        The size of a pixel.
    meaning : LabelMeaning
    class_names : dict of int to str
        The classes that objects can have; not each has one.
    """

    table: pd.DataFrame
    labels: Labels
    grid: Grid
    meaning: LabelMeaning
    class_names: Mapping[int, str]


@dataclass(frozen=True)
class FoundObject:
    """An object in a label image.

    Attributes
    ----------
    label : int
        Its number.
    value : int
        Value of its class; `OBJECT` where labels number objects.
    box : tuple of slice
        The box around it.
    mask : bool array
        Its pixels in the box.
    """

    label: int
    value: int
    box: Box
    mask: NDArray[np.bool_]


def measure_objects(
    labels: ArrayLike,
    images: ArrayLike | Mapping[str, ArrayLike] | None = None,
    *,
    probabilities: ArrayLike | None = None,
    class_labels: ArrayLike | None = None,
    object_classes: Mapping[int, int] | None = None,
    spacing: float | Sequence[float] | None = None,
    units: str | None = None,
    task: Task | None = None,
    unlabelled: Unlabelled = "background",
    ignore_values: Sequence[int] = (),
    classes: Sequence[LabelClass] = (),
    meaning: LabelMeaning | None = None,
    options: ObjectOptions | None = None,
) -> Objects:
    """Measure the objects of a label image.

    Parameters
    ----------
    labels : ([Z], Y, X) whole numbers
        Numbered objects; or classes, whose connected pieces are then the objects, numbered from 1 on. 0 is no object.
    images : ([Z], Y, X) array, or mapping of str to arrays, optional
        Images whose intensities are measured, by the name that starts their columns: one for each channel. An array
        alone is called ``"image"``.
    probabilities : (K, [Z], Y, X), optional
        Of the model's classes, for the mean probability of each object's class. See
        `napari_segnet.measure.meaning.find_probabilities` for the order of the channels.
    class_labels : ([Z], Y, X) whole numbers, optional
        The class of each pixel, where `labels` number the objects: an object is of the class that most of its pixels
        have, 0 left out.
    object_classes : mapping of int to int, optional
        The same, where it is known for each object: its number -> value of its class. Those it lacks have none (0).
    spacing : float or sequence of float, optional
        Size of a pixel: along all axes, or along [Z], Y and X.
    units : str, optional
        Of `spacing`, such as ``"micrometer"``.
    task, unlabelled, ignore_values, classes
        What the values mean: see `napari_segnet.measure.meaning.find_meaning`.
    meaning : LabelMeaning, optional
        The same, where it is known already.
    options : ObjectOptions, optional
        Which objects are measured.

    Returns
    -------
    Objects
        Without objects the table has no rows, but its columns.

    Raises
    ------
    DataError
        If sizes don't agree, `labels` are no labels, or a channel of the probabilities is missing.
    """
    options = options or ObjectOptions()
    values = check_labels(labels)
    grid = make_grid(values.ndim, spacing, units)
    meaning = meaning or find_meaning(
        [values], task=task, unlabelled=unlabelled, ignore_values=ignore_values, classes=classes
    )
    named = images if isinstance(images, Mapping) else {} if images is None else {"image": images}
    channels = {name: np.asarray(image) for name, image in named.items()}
    for name, image in channels.items():
        check_size(image.shape, values, f"The image {name!r}")
    sure = None if probabilities is None else find_probabilities(probabilities, meaning, values)
    kinds = None if class_labels is None else check_labels(class_labels)
    if kinds is not None:
        check_size(kinds.shape, values, "The image of classes")
    names = _class_names(meaning, kinds, object_classes)
    backgrounds = {name: background_of(image, values, meaning) for name, image in channels.items()}
    found = list(find_objects(values, meaning, options, grid.pixel))
    largest = max((item.label for item in found), default=0)
    numbered = np.zeros(values.shape, smallest_unsigned(largest))
    chances: dict[int, NDArray[Any]] = {}
    rows = []
    for item in found:
        numbered[item.box][item.mask] = item.label
        value = _class_of(item, kinds, object_classes)
        row = {"label": item.label, "class": value, "class_name": names[value], **_place(item, grid, values)}
        row |= shape_of(item.mask, grid.spacing)
        for name, image in channels.items():
            row |= intensities_of(image[item.box][item.mask], name, backgrounds[name])
        if sure is not None:
            if value not in chances:
                chances[value] = sure.of(value)
            row["mean_probability"] = float(chances[value][item.box][item.mask].mean(dtype=np.float64))
        rows.append(row)
    return Objects(_table(rows, values.ndim, list(channels), sure is not None), numbered, grid, meaning, names)


def _class_names(
    meaning: LabelMeaning, kinds: Labels | None, object_classes: Mapping[int, int] | None
) -> dict[int, str]:
    """Return the classes that objects can have, by value."""
    if kinds is None and object_classes is None:
        return {value: meaning.name(value) for value in meaning.values if value != 0}
    found = (object_classes or {}).values() if kinds is None else np.unique(kinds).tolist()
    said = {c.value: c.name for c in meaning.classes if c.value != 0}
    return dict(sorted(({value: f"class {value}" for value in found} | said | {0: _NO_CLASS}).items()))


def find_objects(
    values: Labels, meaning: LabelMeaning, options: ObjectOptions, pixel: float = 1.0
) -> Iterator[FoundObject]:
    """Yield the objects that the options ask for.

    Parameters
    ----------
    values : ([Z], Y, X)
        See `napari_segnet.measure.meaning.check_labels`.
    meaning : LabelMeaning
    options : ObjectOptions
    pixel : float
        Area (volume) of a pixel, for `options.minimum_size`.
    """
    faces = 1 if options.connectivity == "faces" else values.ndim
    structure = ndimage.generate_binary_structure(values.ndim, faces)
    number = 0
    for value, numbers, names in _numbered(values, meaning, structure):
        for index, box in enumerate(ndimage.find_objects(numbers), start=1):
            if box is None:
                continue
            mask = numbers[box] == index
            if options.fill_holes:
                mask = ndimage.binary_fill_holes(mask) & (mask | (values[box] == 0))
            pixels = int(np.count_nonzero(mask))
            if pixels < options.minimum_pixels or pixels * pixel < options.minimum_size:
                continue
            if options.exclude_border and _touches_border(box, values.shape):
                continue
            number += 1
            yield FoundObject(number if names is None else names[index], value, box, mask)


def _numbered(
    values: Labels, meaning: LabelMeaning, structure: NDArray[np.bool_]
) -> Iterator[tuple[int, NDArray[np.int32], list[int] | None]]:
    """Yield for each class its value, its objects numbered from 1 on, and their labels (None: counted on and on)."""
    ignored = [value for value in meaning.ignore_values if value]
    if meaning.task == "instances":
        # Numbered anew, because the boxes of objects take memory up to the largest number.
        names, index = np.unique(values, return_inverse=True)
        first = 0 if names[0] == 0 else 1
        numbers: NDArray[np.int32] = np.asarray(index.reshape(values.shape) + first, np.int32)
        labels = [0] * first + names.tolist()
        for value in ignored:
            numbers[values == value] = 0
        yield OBJECT, numbers, labels
        return
    for value in meaning.values:
        if value != 0:
            yield value, ndimage.label(values == value, structure)[0], None


def _touches_border(box: Box, shape: tuple[int, ...]) -> bool:
    return any(part.start == 0 or part.stop == length for part, length in zip(box, shape, strict=True))


def _class_of(item: FoundObject, kinds: Labels | None, object_classes: Mapping[int, int] | None) -> int:
    if kinds is not None:
        return _most_frequent(kinds[item.box][item.mask])
    return item.value if object_classes is None else object_classes.get(item.label, 0)


def _most_frequent(kinds: NDArray[Any]) -> int:
    """Return the most frequent class that isn't 0, of equally frequent ones the lowest; 0 if there is no other."""
    found, counts = np.unique(kinds[kinds != 0], return_counts=True)
    return int(found[counts.argmax()]) if found.size else 0


def _place(item: FoundObject, grid: Grid, values: Labels) -> dict[str, Any]:
    """Return size in pixels, centroid, bounding box and whether it touches the border."""
    letters = "zyx"[-values.ndim :]
    pixels = int(np.count_nonzero(item.mask))
    row: dict[str, Any] = {"pixels": pixels}
    for axis, letter in enumerate(letters):
        counts = item.mask.sum(axis=tuple(k for k in range(values.ndim) if k != axis))
        mean = float(np.arange(len(counts)) @ counts / pixels)
        row[f"centroid_{letter}"] = (mean + item.box[axis].start) * grid.spacing[axis]
    for part, letter in zip(item.box, letters, strict=True):
        row |= {f"{letter}_start": part.start, f"{letter}_stop": part.stop}
    row["touches_border"] = _touches_border(item.box, values.shape)
    return row


def _table(rows: list[dict[str, Any]], ndim: int, channels: list[str], probable: bool) -> pd.DataFrame:
    import pandas as pd

    if rows:
        return pd.DataFrame(rows)
    # The columns of a single pixel stand for those of objects.
    pixel = np.ones((1,) * ndim, bool)
    item = FoundObject(1, OBJECT, (slice(0, 1),) * ndim, pixel)
    row: dict[str, Any] = {"label": 1, "class": OBJECT, "class_name": ""}
    row |= _place(item, Grid((1.0,) * ndim), pixel.astype(np.uint8)) | shape_of(pixel, (1.0,) * ndim)
    for name in channels:
        row |= intensities_of(np.zeros(1), name, 0.0)
    return pd.DataFrame([row | ({"mean_probability": 0.0} if probable else {})]).iloc[:0]
