"""Measuring a labels layer: tables of objects, counts, cover and regions, and the objects as a label image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_segnet import events
from napari_segnet.annotations.model import Region
from napari_segnet.axes import ImageStack
from napari_segnet.config import Frozen, LabelClass
from napari_segnet.data.labels import count_values
from napari_segnet.errors import DataError
from napari_segnet.frames import write_frame
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.io.write import write_npy
from napari_segnet.measure.counts import count_objects
from napari_segnet.measure.cover import cover_fractions
from napari_segnet.measure.grid import make_grid
from napari_segnet.measure.meaning import LabelMeaning, find_meaning
from napari_segnet.measure.objects import measure_objects
from napari_segnet.measure.options import MeasureOptions
from napari_segnet.measure.regions import measure_regions, region_of
from napari_segnet.run import write_atomically
from napari_segnet.viewer_jobs.arrays import ArrayFile

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("objects", "counts", "cover", "regions")
"""The tables, in the order in which they are shown."""
_EXAMPLES = 8
"""Planes that are looked at to guess what labels mean."""


class DrawnRegion(Frozen):
    """A shape in the pixels of the labels: corners (Y, X), or along all axes of the labels."""

    vertices: tuple[tuple[float, ...], ...]
    kind: str
    name: str = ""


class MeasureJob(Frozen):
    """The command ``measure``: labels, and what belongs to them, all of one size.

    `probabilities` are one file a class, in the order of `classes`, or one alone. `class_labels` say the classes of
    numbered objects.
    """

    out: str
    labels: ArrayFile
    images: dict[str, ArrayFile] = Field(default_factory=dict)
    probabilities: tuple[ArrayFile, ...] = ()
    class_labels: ArrayFile | None = None
    regions: tuple[DrawnRegion, ...] = ()
    classes: tuple[LabelClass, ...] = ()
    options: MeasureOptions = MeasureOptions()


def measure(job: MeasureJob, should_stop: Callable[[], bool] = lambda: False) -> Iterator[events.Event]:
    """Measure a labels layer.

    Written into the folder `job.out`: ``objects.npz``, ``counts.npz``, ``cover.npz`` and, where there are regions,
    ``regions.npz`` (`napari_segnet.frames`); ``objects.npy``, the objects with the numbers of the table, of the size
    and axes of the labels; ``meaning.json``: what the labels were taken for. Objects that are pieces of classes are
    numbered on and on over planes and times; numbered objects keep their numbers.

    Yields
    ------
    Event
        Progress for each plane or volume, Finished.

    Raises
    ------
    SegNetError
        If something can't be measured, in a sentence.
    """
    options, out = job.options, Path(job.out)
    spatial = "ZYX" if "Z" in job.labels.axes and not options.planes else "YX"
    sources = _Sources.of(job, spatial)
    labels = sources.labels
    meaning = _meaning(labels, job)
    numbered = np.zeros((len(labels), *labels.item_shape), np.uint32)
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    last = 0
    for number in range(len(labels)):
        if should_stop():
            yield events.Finished("stopped")
            return
        frames, found = _measure_item(sources, number, meaning, job)
        if meaning.task == "semantic":
            found = np.where(found > 0, found + np.uint32(last), 0)
            frames["objects"]["label"] += last
        numbered[number] = found
        last = max(last, int(found.max(initial=0)))
        for name, frame in frames.items():
            tables[name].append(frame)
        yield events.Progress("measure", number + 1, len(labels))
    _write(out, tables, numbered.reshape(*labels.leading, *labels.item_shape), meaning, last)
    yield events.Finished("completed")


@dataclass(frozen=True)
class _Sources:
    """The labels and what belongs to them, item by item."""

    labels: ImageStack
    images: dict[str, ImageStack]
    probabilities: list[ImageStack]
    class_labels: ImageStack | None

    @classmethod
    def of(cls, job: MeasureJob, spatial: str) -> Self:
        """Open the files of a job."""
        return cls(
            job.labels.labels(spatial),
            {name: file.image(spatial) for name, file in job.images.items()},
            [file.image(spatial) for file in job.probabilities],
            None if job.class_labels is None else job.class_labels.labels(spatial),
        )


def _meaning(labels: ImageStack, job: MeasureJob) -> LabelMeaning:
    counts: dict[int, int] = {}
    examples: list[NDArray[Any]] = []
    for number in range(len(labels)):
        item = np.asarray(labels[number])[0]
        for value, pixels in count_values([item]).items():
            counts[value] = counts.get(value, 0) + pixels
        if len(examples) < _EXAMPLES and item.any():
            examples.append(item)
    if not any(counts.get(value) for value in counts if value not in (0, *job.options.ignore_values)):
        raise DataError("There is nothing in these labels.", "Paint something, or choose another layer.")
    return find_meaning(
        examples,
        counts=counts,
        task=job.options.task,
        unlabelled=job.options.unlabelled or "background",
        ignore_values=job.options.ignore_values,
        classes=job.classes,
    )


def _measure_item(
    sources: _Sources, number: int, meaning: LabelMeaning, job: MeasureJob
) -> tuple[dict[str, pd.DataFrame], NDArray[np.uint32]]:
    """Return the tables of a plane or a volume, and its numbered objects."""
    options, stack = job.options, sources.labels
    labels = np.asarray(stack[number])[0]
    space: dict[str, Any] = {"spacing": options.pixel_size, "units": options.units, "meaning": meaning}
    sure = np.stack([np.asarray(p[number])[0] for p in sources.probabilities]) if sources.probabilities else None
    kinds = None if sources.class_labels is None else np.asarray(sources.class_labels[number])[0]
    images = {name: image for key, of in sources.images.items() for name, image in _channels(key, of, number)}
    objects = measure_objects(
        labels,
        images,
        probabilities=sure,
        class_labels=kinds if meaning.task == "instances" else None,
        options=options.objects,
        **space,
    )
    frames = {
        "objects": objects.table,
        "counts": count_objects(objects),
        "cover": cover_fractions(labels, probabilities=sure, circle=options.circle, **space),
    }
    drawn = _regions(job, stack.index(number), len(stack.spatial))
    if drawn:
        frames["regions"] = measure_regions(labels, drawn, objects=objects, **space)
    where: dict[str, Any] = dict(zip(stack.leading_axes.lower(), stack.index(number), strict=True))
    units = make_grid(labels.ndim, options.pixel_size, options.units).units
    for frame in frames.values():
        for column, value in reversed([*(where | {"unit": units}).items()]):
            frame.insert(0, column, value)
    return frames, objects.labels.astype(np.uint32)


def _channels(name: str, stack: ImageStack, number: int) -> Iterator[tuple[str, NDArray[Any]]]:
    channels = stack[number]
    for channel in range(channels.shape[0]):
        yield (name if channels.shape[0] == 1 else f"{name}_c{channel + 1}"), np.asarray(channels[channel])


def _regions(job: MeasureJob, place: tuple[int, ...], axes: int) -> list[Region]:
    """Return the regions that lie in a plane or a volume at some place along the axes before it."""
    found = []
    for number, drawn in enumerate(job.regions, start=1):
        points = np.asarray(drawn.vertices, dtype=np.float64)
        if points.ndim == 2 and points.shape[1] > 2:
            before = np.rint(points[0, : points.shape[1] - axes]).astype(int)
            if tuple(before.tolist()) != place:
                continue
            points = points[:, -axes:]
        found.append(region_of(points, drawn.kind, drawn.name or f"region {number}"))
    return found


def _write(
    out: Path, tables: dict[str, list[pd.DataFrame]], numbered: NDArray[np.uint32], meaning: LabelMeaning, last: int
) -> None:
    import pandas as pd

    out.mkdir(parents=True, exist_ok=True)
    for name, frames in tables.items():
        # Empty tables know no types: they would make texts of all columns.
        filled = [frame for frame in frames if len(frame)] or frames[:1]
        if filled:
            write_frame(pd.concat(filled, ignore_index=True), out / f"{name}.npz")
    write_npy(out / "objects.npy", numbered.astype(smallest_unsigned(last)))
    found = {"task": meaning.task, "classes": {str(value): meaning.name(value) for value in meaning.values}}
    write_atomically(out / "meaning.json", json.dumps(found))
