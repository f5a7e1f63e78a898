"""Cutting out whole folders: a PNG an image, or one an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.config import Task
from napari_segnet.errors import ConfigError, DataError, unknown_name
from napari_segnet.io.class_file import ClassTable
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.pairing import Paths, file_stem, pair_files
from napari_segnet.io.records import check_sizes
from napari_segnet.measure.alpha import opacity, reach
from napari_segnet.measure.cutting import join, mask_of, write_cut_out
from napari_segnet.measure.meaning import OBJECT, LabelMeaning, find_meaning, find_probabilities
from napari_segnet.measure.objects import FoundObject, find_objects
from napari_segnet.measure.options import CutOutOptions, ObjectOptions
from napari_segnet.measure.pictures import Backdrop, Picture, read_backdrop
from napari_segnet.measure.png import write_png
from napari_segnet.measure.sources import find_classes, list_labels, pair_probabilities
from napari_segnet.measure.tables import write_table

Note = Callable[[str], None]
_MOST_LISTED = 12


@dataclass(frozen=True)
class _Plane:
    """A plane of an image, and what belongs to it; `name` is that of its file."""

    name: str
    picture: Picture
    labels: NDArray[Any]
    meaning: LabelMeaning
    probabilities: NDArray[Any] | None


def cut_out_files(
    images: Paths,
    labels: Paths,
    out: Path | str,
    options: CutOutOptions | None = None,
    *,
    crops: bool = False,
    classes: Sequence[str] = (),
    class_file: Path | str | None = None,
    task: Task | None = None,
    probabilities: Paths | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    on_note: Note = lambda _text: None,
) -> list[Path]:
    """Cut objects out of images, and write PNG files.

    Parameters
    ----------
    images, labels : Path, or several
        Files or folders, paired by name.
    out : Path
        Folder for ``STEM.png`` of each image, planes of stacks with their place (``STEM_z3.png``). For crops
        ``STEM_LABEL.png`` of each object, and ``crops.csv``: image, label, class, file and the corners of the crop.
    options : CutOutOptions, optional
    crops : bool
        Whether each object becomes a picture of its own.
    classes : sequence of str
        Which classes are cut out, besides `options.values`: numbers, or names of `class_file`.
    class_file : Path, optional
        A ``classes.json`` or a model. By default the ``classes.json`` beside the labels.
    task : {"semantic", "instances"}, optional
        For crops: whether labels number objects; guessed for each image where it isn't given.
    probabilities : Path, or several, optional
        Probabilities that `predict` has written, for ``edge="probability"``.
    on_progress, on_note : callable
        Called with the number of images done and of all, and with sentences on what has nothing to cut out.

    Returns
    -------
    list of Path
        The pictures.

    Raises
    ------
    DataError
        If nothing pairs, sizes don't agree, an image is no picture, or no label image has a class that was asked for.
    ConfigError
        If there is no such class, the background is neither a colour nor a file, or images would be overwritten.
    SegNetError
        If `out` can't be written.
    """
    import pandas as pd

    options, out = options or CutOutOptions(), Path(out)
    pairing = pair_files(images, labels)
    label_files = list_labels([label for _, label in pairing.pairs])
    pairs = [(image, label) for image, label in pairing.pairs if label in set(label_files)]
    if any(path.parent.resolve() == out.resolve() for pair in pairs for path in pair):
        raise ConfigError(
            f"The pictures would be written among the images or labels, into {out}.", "Choose another --out."
        )
    for path in pairing.unpaired_images:
        on_note(f"{path.name} has no labels and is left out.")
    table = find_classes(None if class_file is None else Path(class_file), label_files)
    options = options.replace(values=(*options.values, *(_value(name, table) for name in classes)))
    backdrop = read_backdrop(options.background, options.gravity)
    if options.edge == "probability" and probabilities is None:
        raise ConfigError("Edges can't follow a probability that isn't given.", "Name it: --probabilities DIR.")
    chances = {} if probabilities is None else pair_probabilities(probabilities, label_files)
    _check_values(options.values, pairs)
    written: list[Path] = []
    rows: list[dict[str, Any]] = []
    for done, (image_path, label_path) in enumerate(pairs, start=1):
        if probabilities is not None and label_path not in chances:
            on_note(f"{label_path.name} has no probabilities: its image is left out.")
            continue
        before = len(written)
        for plane in _planes(image_path, label_path, options, table, task, chances.get(label_path), crops):
            found = _crops(plane, options, backdrop, out) if crops else _whole(plane, options, backdrop, out)
            for row in found:
                written.append(out / row["file"])
                rows.append(row)
        if len(written) == before:
            on_note(f"{image_path.name} has nothing to cut out.")
        on_progress(done, len(pairs))
    if crops:
        write_table(
            pd.DataFrame(rows, columns=None if rows else ["image", "label", "class", "file"]), out / "crops.csv"
        )
    return written


def _value(name: str, table: ClassTable | None) -> int:
    if name.isdecimal():
        return int(name)
    values = {} if table is None else {c.name: c.value for c in table.classes}
    if name not in values:
        if not values:
            raise ConfigError(f"There are no classes with names, and so none called {name!r}.", "Give its number.")
        raise unknown_name("class", name, values)
    return values[name]


def _check_values(wanted: Sequence[int], pairs: Sequence[tuple[Path, Path]]) -> None:
    """Raise `DataError` if a value that is to be cut out is in none of the label images."""
    missing = set(wanted)
    there: set[int] = set()
    for image, labels in pairs:
        if not missing:
            return
        found = set(np.unique(np.asarray(open_labels(labels, open_image(image).axes).array)).tolist())
        there |= found
        missing -= found
    if missing:
        values = sorted(there - {0})
        more = f" ... ({len(values)} in all)" if len(values) > _MOST_LISTED else ""
        listed = ", ".join(str(value) for value in values[:_MOST_LISTED]) + more
        raise DataError(
            f"No label image has the class {min(missing)}.",
            f"Classes there are: {listed}." if values else "Nothing is labelled: name other labels.",
        )


def _planes(
    image_path: Path,
    label_path: Path,
    options: CutOutOptions,
    table: ClassTable | None,
    task: Task | None,
    chances: Path | None,
    crops: bool,
) -> Iterator[_Plane]:
    image = open_image(image_path)
    labels = open_labels(label_path, image.axes)
    check_sizes(image, labels)
    probable = None if chances is None else open_image(chances)
    pictures, numbers = image.stack(), labels.stack()
    for i in range(len(pictures)):
        place = zip(pictures.leading_axes.lower(), pictures.index(i), strict=True)
        name = "_".join([file_stem(image.path), *(f"{letter}{n}" for letter, n in place)])
        values = np.asarray(numbers[i][0])
        known = table or ClassTable(classes=())
        yield _Plane(
            name,
            Picture(pictures[i], options, image.path.name),
            values,
            find_meaning(
                [values],
                # Where values alone decide on what is cut out, to look at what they mean would only take time.
                counts=None if crops or probable is not None else {},
                task=task or (known.task if table or not crops else None),
                ignore_values=known.ignored,
                classes=known.classes,
            ),
            None if probable is None else np.asarray(probable.stack()[i]),
        )


def _chance(plane: _Plane, values: Sequence[int]) -> ArrayLike | None:
    """Return the probability of what is cut out: that of its classes together."""
    if plane.probabilities is None:
        return None
    found = find_probabilities(plane.probabilities, plane.meaning, plane.labels)
    if plane.meaning.task == "instances":
        return found.of(OBJECT)
    wanted = [value for value in values if value != 0] or [value for value in plane.meaning.values if value != 0]
    return sum((found.of(value) for value in wanted[1:]), start=found.of(wanted[0]))


def _whole(plane: _Plane, options: CutOutOptions, backdrop: Backdrop | None, out: Path) -> Iterator[dict[str, Any]]:
    mask = mask_of(plane.labels, options, plane.meaning.ignore_values)
    if mask.any():
        file = f"{plane.name}.png"
        write_cut_out(out / file, plane.picture, mask, options, backdrop, _chance(plane, options.values))
        yield {"image": plane.name, "file": file}


def _crops(plane: _Plane, options: CutOutOptions, backdrop: Backdrop | None, out: Path) -> Iterator[dict[str, Any]]:
    values = plane.labels
    if options.values:
        values = np.where(np.isin(values, options.values), values, 0)
    wanted = ObjectOptions(minimum_pixels=options.minimum_pixels, fill_holes=options.fill_holes)
    chances: dict[int, ArrayLike | None] = {}
    for item in find_objects(values, plane.meaning, wanted):
        if item.value not in chances:
            chances[item.value] = _chance(plane, (item.value,))
        file = f"{plane.name}_{item.label}.png"
        window = _grown(item.box, options.margin, plane.labels.shape)
        pixels = _crop(plane, item, window, options, backdrop, chances[item.value])
        with write_png(out / file, pixels.shape, pixels.dtype) as writer:
            writer.write(pixels)
        corners = {
            f"{a}_{end}": getattr(p, end) for p, a in zip(window, "yx", strict=True) for end in ("start", "stop")
        }
        named = {"class": item.value, "class_name": plane.meaning.name(item.value)}
        yield {"image": plane.name, "label": item.label, **named, "file": file, **corners}


def _crop(
    plane: _Plane,
    item: FoundObject,
    window: tuple[slice, ...],
    options: CutOutOptions,
    backdrop: Backdrop | None,
    chance: ArrayLike | None,
) -> NDArray[Any]:
    # The edge is made with more around it than is kept, so that it is the same whatever the margin.
    around = _grown(window, reach(options), plane.labels.shape)
    mask = np.zeros(tuple(part.stop - part.start for part in around), bool)
    mask[_within(item.box, around)] = item.mask
    alpha = opacity(mask, options, None if chance is None else np.asarray(chance[around]))[_within(window, around)]
    colours = plane.picture.window(window[0], window[1])
    height, width = alpha.shape
    return join(colours, alpha, None if backdrop is None else backdrop.frame((height, width)).rows(0, height))


def _grown(box: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return a box with room around it, cut off at the edge of the image."""
    return tuple(slice(max(0, p.start - margin), min(n, p.stop + margin)) for p, n in zip(box, shape, strict=True))


def _within(box: tuple[slice, ...], around: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return a box counted from the corner of a larger one."""
    return tuple(slice(p.start - a.start, p.stop - a.start) for p, a in zip(box, around, strict=True))
