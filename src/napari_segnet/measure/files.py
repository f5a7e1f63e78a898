"""Measuring folders: a table of objects, of counts, of cover and of regions, and what their columns mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_segnet import __version__
from napari_segnet.axes import counted
from napari_segnet.config import Task, Unlabelled
from napari_segnet.data.labels import count_values
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.io.class_file import ClassTable
from napari_segnet.io.images import ImageFile, open_labels
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.io.pairing import Paths, file_stem
from napari_segnet.io.write import write_tiff
from napari_segnet.measure.counts import count_objects
from napari_segnet.measure.cover import cover_fractions
from napari_segnet.measure.grid import make_grid
from napari_segnet.measure.items import Item, Sources, items, spatial_axes
from napari_segnet.measure.meaning import LabelMeaning, Labels, find_meaning
from napari_segnet.measure.objects import Objects, measure_objects
from napari_segnet.measure.options import MeasureOptions
from napari_segnet.measure.regions import measure_regions
from napari_segnet.measure.sources import (
    RegionFiles,
    find_classes,
    list_labels,
    named_sources,
    pair_images,
    pair_probabilities,
)
from napari_segnet.measure.tables import TableFormat, check_parquet, write_columns, write_table
from napari_segnet.run import write_atomically

if TYPE_CHECKING:
    import pandas as pd

Note = Callable[[str], None]
# Label images that a guess is made from.
_EXAMPLES = 5
# More values than these are hardly classes, unless somebody says so.
_MOST_GUESSED = 64
# Pieces a value up to which values are guessed to number objects; that of `data.labels.guess_meaning`.
_PIECES = 1.25
# Files that are named in a sentence.
_NAMED = 3


@dataclass(frozen=True)
class Measured:
    """What was measured: the tables by name, the files they are in, and what the labels were taken for."""

    tables: dict[str, pd.DataFrame]
    files: dict[str, Path]
    meaning: LabelMeaning


def measure_files(
    labels: Paths,
    out: Path | str,
    *,
    images: Mapping[str, Paths] | Sequence[Paths] | Paths = (),
    probabilities: Paths | None = None,
    class_labels: Paths | None = None,
    regions: Path | str | None = None,
    classes: Path | str | None = None,
    options: MeasureOptions | None = None,
    table_format: TableFormat = "csv",
    write_objects: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    on_note: Note = lambda _text: None,
) -> Measured:
    """Measure label files, and write tables.

    Parameters
    ----------
    labels : Path, or several
        Files or folders. All of them mean the same: classes, or numbered objects.
    out : Path
        Folder for ``objects.csv``, ``counts.csv``, ``cover.csv`` and ``regions.csv`` (those that the options ask for,
        and the last where there are regions), ``columns.csv`` (what their columns mean) and ``measure.json`` (what was
        asked).
    images : Path, several, or a mapping of names to them, optional
        Images whose intensities are measured, paired by name. Several sources, such as markers in folders of their
        own, are told apart by the names of the folders; a channel of several by its number.
    probabilities : Path, or several, optional
        Probabilities that `predict` has written for the same images.
    class_labels : Path, or several, optional
        For numbered objects: label images of the same names that say the class of each pixel.
    regions : Path, optional
        Regions to measure in: see `napari_segnet.measure.sources.RegionFiles`.
    classes : Path, optional
        A ``classes.json`` or a model that says what the values mean. By default the ``classes.json`` beside the labels.
    options : MeasureOptions, optional
    table_format : {"csv", "parquet"}
    write_objects : bool
        Whether to write the objects as label images, too: ``out/objects/STEM.tif`` with the numbers of the table.
    on_progress : callable
        Called with the number of files done and of all.
    on_note : callable
        Called with a sentence on what was assumed, and what has no partner.

    Returns
    -------
    Measured

    Raises
    ------
    DataError
        If a file can't be used or looks like an image instead of labels, sizes don't agree, or nothing pairs.
    ConfigError
        If options don't go together, a size along Z is given for planes, or Parquet can't be written.
    SegNetError
        If `out` can't be written.
    """
    options, out = options or MeasureOptions(), Path(out)
    files = list_labels(labels, list(named_sources(images).values()))
    _check(options, out, files, regions, table_format)
    table = find_classes(None if classes is None else Path(classes), files)
    meaning = _meaning(files, table, options, on_note)
    if class_labels is not None and meaning.task == "semantic":
        raise ConfigError(
            "The labels hold classes already.", "Leave out the image of classes, or say --task instances."
        )
    sources = Sources(
        tuple(pair_images(images, files)) if images else (),
        {} if probabilities is None else pair_probabilities(probabilities, files),
        None if class_labels is None else pair_images({"classes": class_labels}, files)[0],
        None if regions is None else RegionFiles(Path(regions), files),
        table if meaning.task == "instances" else None,
    )
    for path in files:
        for what in sources.missing(path):
            on_note(f"{path.name} has no {what}: what would be measured there is left empty.")
    tables: dict[str, list[pd.DataFrame]] = {}
    nan_files: dict[str, None] = {}
    for done, path in enumerate(files, start=1):
        opened = open_labels(path, options.axes)
        found = []
        for item in items(opened, sources, options):
            nan_files |= dict.fromkeys(item.nan_files)
            found.append(_measure(item, meaning, options, tables, write_objects))
        if write_objects:
            numbered = [objects.labels for objects in found if objects is not None]
            _write_objects(opened, numbered, options, out / "objects" / f"{file_stem(path)}.tif")
        on_progress(done, len(files))
    if nan_files:
        names = _listed(list(nan_files))
        on_note(f"{names}: NaN among the values. What is measured of objects with such pixels is left empty.")
    joined = {name: _join(frames) for name, frames in tables.items()}
    written = _write(out, joined, table_format, options, meaning, files)
    return Measured(joined, written, meaning)


def _check(
    options: MeasureOptions, out: Path, files: list[Path], regions: Path | str | None, table_format: str
) -> None:
    if any(path.parent.resolve() == out.resolve() for path in files):
        raise ConfigError(f"The tables would be written among the labels, into {out}.", "Choose another --out.")
    if "regions" in options.tables and regions is None:
        raise ConfigError("A table of regions was asked for, but there are no regions.", "Name them: --regions PATH.")
    if table_format == "parquet":
        check_parquet()
    size = options.pixel_size
    if isinstance(size, tuple) and len(size) == 3 and not any("Z" in open_labels(f, options.axes).axes for f in files):
        raise ConfigError(
            f"The pixel size {list(size)} has a length along Z, but {files[0].name} is no stack.",
            "Give those along Y and X: --pixel-size 0.5,0.5; or say the axes of the labels: --axes ZYX.",
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _meaning(files: list[Path], table: ClassTable | None, options: MeasureOptions, on_note: Note) -> LabelMeaning:
    """Find out from all files what the values mean, and say what was assumed."""
    known = table or ClassTable(classes=())
    ignored = {*options.ignore_values, *known.ignored}
    counts: dict[int, int] = {}
    examples: list[Labels] = []
    most, fullest = 0, files[0]
    for path in files:
        array = np.asarray(open_labels(path, options.axes).array)
        before = len(examples)
        if before < _EXAMPLES:
            examples += [array] if array.ndim <= 3 else list(array.reshape(-1, *array.shape[-2:]))[:_EXAMPLES]
        found = count_values([array])
        if len(found) > most:
            most, fullest = len(found), path
        for value, number in found.items():
            counts[value] = counts.get(value, 0) + number
        # Folders of photographs are refused before all of them are read.
        if before < _EXAMPLES and (len(examples) >= _EXAMPLES or path == files[-1]):
            _refuse_images(examples, _task(options, known, ignored, counts), set(counts) - ignored - {0}, fullest)
    unlabelled = options.unlabelled or _zero(known, counts, on_note)
    task = _task(options, known, ignored, counts)
    meaning = find_meaning(
        examples, counts=counts, task=task, unlabelled=unlabelled, ignore_values=ignored, classes=known.classes
    )
    painted = set(counts) - ignored - {0}
    if task is None:
        if meaning.task == "semantic" and len(painted) > _MOST_GUESSED:
            raise _no_labels(fullest, painted)
        what = "numbers of objects" if meaning.task == "instances" else "classes"
        other = "semantic" if meaning.task == "instances" else "instances"
        on_note(
            f"The labels have {counted(len(painted), 'value')} besides 0: taken for {what} (otherwise: --task {other})."
        )
    return meaning


def _task(options: MeasureOptions, known: ClassTable, ignored: set[int], counts: Mapping[int, int]) -> Task | None:
    """Return what was said of the values: by the user, or by a class table that knows them; None: to be guessed."""
    if options.task is not None or not known.classes:
        return options.task
    strange = set(counts) - {c.value for c in known.classes} - ignored - {0}
    return None if strange and known.task == "semantic" else known.task


def _refuse_images(examples: list[Labels], task: Task | None, painted: set[int], fullest: Path) -> None:
    """Raise `DataError` where many values lie in many pieces each, and nobody said that they are classes."""
    if task is not None or len(painted) <= _MOST_GUESSED:
        return
    from skimage.measure import label

    # All values at once: as the guess does it, value by value, a photograph takes minutes.
    pieces = sum(int(label(image, connectivity=image.ndim).max()) for image in examples)
    values = sum(np.count_nonzero(np.unique(image)) for image in examples)
    if pieces > _PIECES * values:
        raise _no_labels(fullest, painted)


def _no_labels(fullest: Path, painted: set[int]) -> DataError:
    return DataError(
        f"{fullest.name} looks like an image, not like labels: there are {len(painted)} values besides 0.",
        "Name label files; or say what the values are: --task instances or --task semantic.",
    )


def _zero(known: ClassTable, counts: Mapping[int, int], on_note: Note) -> Unlabelled:
    """Say what 0 means where the user doesn't."""
    # A class alone would always cover everything.
    if len(known.classes) < 2 or known.unlabelled == "background" or known.task == "instances":
        return "background"
    if counts.get(0):
        share = counts[0] / sum(counts.values())
        on_note(
            f"0 is none of the classes: {share:.1%} of the pixels don't count (if they are background: "
            "--unlabelled background)."
        )
    return "ignore"


def _measure(
    item: Item, meaning: LabelMeaning, options: MeasureOptions, tables: dict[str, list[pd.DataFrame]], numbered: bool
) -> Objects | None:
    """Measure a plane or volume, and add its rows to the tables; return its objects if they were needed."""
    space: dict[str, Any] = {"spacing": item.spacing, "units": item.units, "meaning": meaning}
    wanted = set(options.tables)
    objects = None
    frames: dict[str, pd.DataFrame] = {}
    if numbered or wanted & {"objects", "counts"} or item.regions is not None:
        objects = measure_objects(
            item.labels,
            item.images,
            probabilities=item.probabilities,
            class_labels=item.class_labels,
            object_classes=item.object_classes,
            options=options.objects,
            **space,
        )
        frames |= {"objects": objects.table, "counts": count_objects(objects)}
    if "cover" in wanted:
        frames["cover"] = cover_fractions(item.labels, probabilities=item.probabilities, circle=options.circle, **space)
    if item.regions is not None:
        frames["regions"] = measure_regions(item.labels, item.regions, objects=objects, **space)
    units = make_grid(item.labels.ndim, item.spacing, item.units).units
    for name, frame in frames.items():
        if name in wanted or name == "regions":
            for column, value in reversed([*item.where.items(), ("unit", units)]):
                frame.insert(0, column, value)
            tables.setdefault(name, []).append(frame)
    return objects


def _join(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def _write_objects(opened: ImageFile, numbered: list[Labels], options: MeasureOptions, path: Path) -> None:
    stack = opened.stack(spatial_axes(opened, options))
    dtype = smallest_unsigned(max(int(labels.max()) for labels in numbered))
    whole = np.stack(numbered).astype(dtype).reshape((*stack.leading, *stack.item_shape))
    write_tiff(path, whole, stack.leading_axes + stack.spatial, opened.pixel_size, opened.units)


def _write(
    out: Path,
    tables: dict[str, pd.DataFrame],
    table_format: TableFormat,
    options: MeasureOptions,
    meaning: LabelMeaning,
    labels: list[Path],
) -> dict[str, Path]:
    written: dict[str, Path] = {}
    for name, frame in tables.items():
        written[name] = out / f"{name}.{table_format}"
        write_table(frame, written[name])
    written["columns"] = out / "columns.csv"
    write_columns(tables, written["columns"])
    written["settings"] = out / "measure.json"
    said = {
        "napari_segnet": __version__,
        "labels": [str(path) for path in labels],
        "task": meaning.task,
        "classes": {str(value): meaning.name(value) for value in meaning.values},
        "ignore_values": list(meaning.ignore_values),
        "options": options.model_dump(mode="json"),
    }
    try:
        write_atomically(written["settings"], json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another --out.") from error
    return written
