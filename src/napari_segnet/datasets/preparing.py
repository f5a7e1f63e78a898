"""Data sets made ready to learn from: cropped, resized, tiled, converted, divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.axes import ArrayLike, counted, view
from napari_segnet.config import validated
from napari_segnet.data.labels import count_values
from napari_segnet.datasets.converting import (
    Source,
    check_memory,
    open_mask,
    relabelled,
    resized,
    resized_labels,
)
from napari_segnet.datasets.dividing import PARTS, divide, group_images
from napari_segnet.datasets.facts import label_blocks, middle_item
from napari_segnet.datasets.finding import Part, find_parts
from napari_segnet.datasets.geometry import Box, Layout, lay_out
from napari_segnet.datasets.likeness import ManyLookalikes
from napari_segnet.datasets.manifest import PreparedFile, make_room, write_manifest
from napari_segnet.datasets.options import PrepareConfig, check_options
from napari_segnet.datasets.saving import check_format, save_image, save_labels
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.class_file import CLASS_FILE
from napari_segnet.io.images import ImageFile, open_image
from napari_segnet.io.pairing import file_stem
from napari_segnet.io.records import check_sizes
from napari_segnet.run import write_atomically


@dataclass(frozen=True)
class Prepared:
    """What was made.

    Attributes
    ----------
    out : Path
    files : tuple of PreparedFile
        As ``prepare.json`` lists them.
    notes : tuple of str
        What was left out, or decided.
    """

    out: Path
    files: tuple[PreparedFile, ...]
    notes: tuple[str, ...]

    @property
    def parts(self) -> dict[str, int]:
        """Number of files in each part; one without a name where images aren't divided."""
        counts = Counter(file.part for file in self.files)
        return {name: counts[name] for name in ("", *PARTS) if counts[name]}


@dataclass(frozen=True)
class _Task:
    """One image on its way."""

    name: str
    part: str
    image: Path
    labels: Path | None
    layout: Layout
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None
    group: str = ""


@dataclass
class _Plan:
    """Everything that is decided before the first file is written."""

    tasks: list[_Task] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(
    images: Path | str,
    labels: Path | str | None = None,
    *,
    out: Path | str,
    config: PrepareConfig | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Prepared:
    """Make a data set ready to learn from, or images ready to be predicted.

    Images get smaller by averaging, labels by taking the value in the middle of each new pixel. The same call on the
    same files writes the same bytes.

    Parameters
    ----------
    images : Path
        A file or a folder of images; without `labels` also a folder with ``images`` and ``masks`` in it, or with
        ``train``, ``val`` and ``test``, which stay what they are.
    labels : Path, optional
        A file or a folder.
    out : Path
        Folder for ``images`` and ``masks``, or for ``train/images``, ``train/masks`` and so on; and ``prepare.json``,
        which says what came from where. Tiles are called ``STEM_y0000_x0000``, by their first row and column.
    config : PrepareConfig, optional
        What to do; or give its fields as `options`.
    overwrite : bool
        Whether what was prepared in `out` before is replaced; anything else there is left alone, and an error.
    on_progress : callable, optional
        Called with the number of steps done and of all: each image is looked at, and then written.

    Returns
    -------
    Prepared

    Raises
    ------
    DataError
        If files are missing, don't fit or can't be used; before anything is written.
    ConfigError
        If the options contradict each other.
    SegNetError
        If something can't be written.
    """
    config = validated(PrepareConfig, {**(config.explicit() if config else {}), **options})
    check_options(config)
    out = Path(out)
    parts = find_parts(images, labels)
    _check_parts(parts, config)
    if not overwrite:
        make_room(out, overwrite=False)
    total = 2 * sum(len(part.pairs) for part in parts)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    plan = _make_plan(parts, config, step)
    files = [[*_outputs(task, config)] for task in plan.tasks]
    _protect_sources(out, plan.tasks)
    make_room(out, overwrite=overwrite)
    others = _class_files(plan, config)
    planned = [file for made in files for file in made]
    write_manifest(out, planned, config, list(others), complete=False)
    written = []
    for task, made in zip(plan.tasks, files, strict=True):
        written += _write(out, task, made, config)
        step()
    for name, content in others.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out / name, content)
    write_manifest(out, written, config, list(others), complete=True)
    left_out = len(planned) - len(written)
    if left_out:
        plan.notes.append(f"{counted(left_out, 'tile')} with too few labels left out.")
    return Prepared(out, tuple(written), tuple(plan.notes))


def _check_parts(parts: Sequence[Part], config: PrepareConfig) -> None:
    for part in parts:
        if part.problem:
            raise DataError(part.problem)
    labelled = any(part.labelled for part in parts)
    if parts[0].name and config.splits:
        raise ConfigError(
            f"The images are divided already, into {', '.join(part.name for part in parts)}.",
            "Leave --val-fraction and --test-fraction out, or name the folders of one part.",
        )
    for name in ("threshold", "relabel", "min_labelled"):
        if getattr(config, name) and not labelled:
            raise ConfigError(f"{name} does nothing without labels.", "Name the folder of the labels, too.")


def _make_plan(parts: Sequence[Part], config: PrepareConfig, step: Callable[[], None]) -> _Plan:
    """Look at all images and labels, and decide what becomes of them."""
    plan, seen = _Plan(), ManyLookalikes()
    counts: list[dict[int, int]] = []
    labelled = any(part.labelled for part in parts)
    taken: dict[tuple[str, str], Path] = {}
    for part in parts:
        for path in part.unpaired_labels:
            plan.notes.append(f"{path} has no image and is left out.")
        for image_path, label_path in part.pairs:
            if labelled and label_path is None:
                plan.notes.append(f"{image_path} has no labels and is left out.")
                step()
                continue
            task, image = _look(part.name, image_path, label_path, config)
            other = taken.setdefault((part.name, task.name.lower()), image_path)
            if other != image_path:
                raise DataError(
                    f"{other} and {image_path} would both be written as {task.name!r}.", "Rename one of them."
                )
            if config.splits:
                if config.alike == "together":
                    seen.look(len(plan.tasks), middle_item(image))
                mask = None if label_path is None else open_mask(label_path, image, config)
                counts.append({} if mask is None else count_values(label_blocks(mask)))
            plan.tasks.append(task)
            step()
    if config.splits:
        _divide(plan, counts, seen.groups(), config)
    return plan


def _look(part: str, image_path: Path, label_path: Path | None, config: PrepareConfig) -> tuple[_Task, ImageFile]:
    """Open an image and its labels, and check that everything that is asked for can be done with them."""
    image = open_image(image_path, config.axes)
    if label_path is not None:
        check_sizes(image, open_mask(label_path, image, config))
    source = Source(image, config)
    dtype = np.dtype(np.uint8) if config.bits == 8 else np.dtype(image.array.dtype)
    channels = (
        3 if "C" in source.axes and config.colour == "rgb" else image.stack().channels if "C" in source.axes else 1
    )
    check_format(config.format, source.axes, channels, dtype, str(image_path))
    shape = (image.shape_without_channels[-2], image.shape_without_channels[-1])
    layout = lay_out(shape, config, str(image_path))
    if layout.resizes or len(layout.tiles) == 1:
        check_memory(
            image, (*(n for n, a in zip(image.shape, image.axes, strict=True) if a not in "YX"), *layout.kept.shape)
        )
    size = _pixel_size(image, layout)
    return _Task(file_stem(image_path), part, image_path, label_path, layout, size, image.units), image


def _divide(
    plan: _Plan, counts: Sequence[dict[int, int]], alike: Sequence[Sequence[int]], config: PrepareConfig
) -> None:
    names = [task.name for task in plan.tasks]
    groups = group_images(names, config.group, alike)
    parts = divide(groups, counts, config.val_fraction, config.test_fraction, config.seed)
    plan.tasks = [
        replace(task, part=part, group=names[group])
        for task, part, group in zip(plan.tasks, parts, groups, strict=True)
    ]
    if alike:
        first = alike[0]
        images = sum(len(group) for group in alike)
        plan.notes.append(
            f"{images} images look like another one, such as {names[first[0]]} and {names[first[1]]}: "
            "they stay in one part."
        )
    if config.group and len(set(group_images(names, config.group, []))) == len(names):
        plan.notes.append(f"--group {config.group!r} puts no two images together.")


def _outputs(task: _Task, config: PrepareConfig) -> Iterator[PreparedFile]:
    """Say what is made of an image."""
    digits = max(4, len(str(max(task.layout.shape))))
    prefix = f"{task.part}/" if task.part else ""
    for tile in task.layout.tiles:
        name = f"{task.name}_y{tile.top:0{digits}d}_x{tile.left:0{digits}d}" if config.tile else task.name
        yield PreparedFile(
            image=f"{prefix}images/{name}.{config.format}",
            labels=f"{prefix}masks/{name}.{config.format}" if task.labels else "",
            part=task.part,
            source=str(task.image.resolve()),
            source_labels=str(task.labels.resolve()) if task.labels else "",
            box=task.layout.source_box(tile),
            shape=tile.shape,
            pixel_size=task.pixel_size,
            units=task.units,
            group=task.group,
        )


def _pixel_size(image: ImageFile, layout: Layout) -> tuple[float, ...] | None:
    if image.pixel_size is None:
        return None
    factors = [old / new for old, new in zip(layout.kept.shape, layout.shape, strict=True)]
    *depth, height, width = image.pixel_size
    return (*depth, height * factors[0], width * factors[1])


def _protect_sources(out: Path, tasks: Sequence[_Task]) -> None:
    base = out.resolve()
    for task in tasks:
        for path in (task.image, task.labels):
            if path is not None and path.resolve().is_relative_to(base):
                raise DataError(f"{path} is in the folder that is to be written.", "Choose another --out.")


def _write(out: Path, task: _Task, files: Sequence[PreparedFile], config: PrepareConfig) -> list[PreparedFile]:
    """Write the files of an image; returns those that were not left out."""
    image = open_image(task.image, config.axes)
    source, layout = Source(image, config), task.layout
    mask = None if task.labels is None else open_mask(task.labels, image, config)
    own = image.axes.replace("C", "")
    order = "".join(letter for letter in "TZYX" if letter in own)
    labels: ArrayLike | None = None if mask is None else view(mask.array, own, order)
    pixels = resized(source.read(layout.kept), layout.shape, str(task.image)) if layout.resizes else None
    if labels is not None and layout.resizes:
        labels = resized_labels(_cut(labels, layout.kept), layout.shape)
    written = []
    for tile, file in zip(layout.tiles, files, strict=True):
        box = tile if layout.resizes else tile.within(layout.kept)
        if labels is not None:
            cut = relabelled(_cut(labels, box), config.relabel)
            if np.count_nonzero(cut) < config.min_labelled * cut.size:
                continue
            save_labels(out / file.labels, cut, order, file.pixel_size, file.units)
        shown = source.read(box) if pixels is None else _cut(pixels, box)
        save_image(
            out / file.image,
            shown,
            source.axes,
            colours=source.colours,
            pixel_size=file.pixel_size,
            units=file.units,
        )
        written.append(file)
    return written


def _cut(array: ArrayLike, box: Box) -> Any:
    leading = (slice(None),) * (len(array.shape) - 2)
    return np.asarray(array[(*leading, slice(box.top, box.bottom), slice(box.left, box.right))])


def _class_files(plan: _Plan, config: PrepareConfig) -> dict[str, bytes]:
    """Return the ``classes.json`` beside the labels, for each folder of masks that is made of one folder."""
    folders: dict[str, set[Path]] = {}
    for task in plan.tasks:
        if task.labels is not None:
            folders.setdefault(f"{task.part}/masks" if task.part else "masks", set()).add(task.labels.parent)
    found = {}
    for name, sources in folders.items():
        path = min(sources) / CLASS_FILE
        if len(sources) == 1 and path.is_file():
            found[f"{name}/{CLASS_FILE}"] = path.read_bytes()
    if found and (config.relabel or config.threshold is not None):
        plan.notes.append(f"{CLASS_FILE} is left out: the values mean something else now.")
        return {}
    return found
