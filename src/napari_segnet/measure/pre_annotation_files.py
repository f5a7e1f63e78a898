"""Pre-annotating whole folders: label files to be corrected, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.data.labels import PALETTE
from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.io.class_file import CLASS_FILE, ClassEntry, classes_beside, write_classes
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.io.pairing import Paths, file_stem, list_images, pair_files
from napari_segnet.io.records import check_sizes
from napari_segnet.io.write import write_tiff
from napari_segnet.measure.meaning import Labels
from napari_segnet.measure.pre_annotation import (
    Method,
    MethodOptions,
    gives_objects,
    method_named,
    method_options,
    pre_annotate,
    with_strokes,
)


def pre_annotate_files(
    method: Method | str,
    images: Paths,
    out: Path | str,
    options: MethodOptions | Mapping[str, Any] | None = None,
    *,
    strokes: Paths | None = None,
    axes: str | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    on_note: Callable[[str], None] = lambda _text: None,
) -> list[Path]:
    """Segment images by a classical method, and write label files.

    Parameters
    ----------
    method : str or Method
        One of `napari_segnet.measure.pre_annotation.METHODS`.
    images : Path, or several
        Files or folders.
    out : Path
        Folder for ``STEM.tif`` of each image, and ``classes.json``.
    options : MethodOptions, or mapping, optional
    strokes : Path, or several, optional
        Label images with strokes, paired with the images by name; 0 is unpainted.
    axes : str, optional
        Of the images, where the guess is wrong.
    overwrite : bool
        Whether label files that are there already are replaced: somebody may have corrected them.
    on_progress, on_note : callable
        Called with the number of images done and of all, and with sentences on what is left out: images
        that can't be segmented, too.

    Returns
    -------
    list of Path
        The label files that were made.

    Raises
    ------
    ConfigError
        If there is no such method or option, strokes are missing, or outputs would replace images or labels.
    DataError
        If no image at all can be segmented so, or nothing pairs.
    SegNetError
        If `out` can't be written.
    """
    method = method_named(method) if isinstance(method, str) else method
    if not isinstance(options, MethodOptions):
        options = method_options(method, options or {})
    options = with_strokes(method, options, strokes is not None)
    out = Path(out)
    files = list_images(images)
    painted: dict[Path, Path] = {}
    if strokes is not None:
        pairing = pair_files(files, strokes)
        painted = dict(pairing.pairs)
        for path in pairing.unpaired_images:
            on_note(f"{path.name} has no strokes and is left out.")
        files = [path for path in files if path in painted]
    if any(path.parent.resolve() == out.resolve() for path in files):
        raise ConfigError(f"The labels would be written among the images, into {out}.", "Choose another --out.")
    there = [file for path in files if (file := out / f"{file_stem(path)}.tif").exists()]
    if there and not overwrite:
        raise ConfigError(
            f"{there[0]} is there already, {len(there)} such in all.", "Choose another --out, or give --overwrite."
        )
    written: list[Path] = []
    failed: list[SegNetError] = []
    values: set[int] = set()
    for done, path in enumerate(files, start=1):
        try:
            image, whole, labelled_axes = _segmented(path, painted.get(path), method, options, axes)
        except SegNetError as error:
            failed.append(_named(error, path))
            on_note(f"{failed[-1].problem} It is left out.")
        else:
            written.append(out / f"{file_stem(path)}.tif")
            write_tiff(written[-1], whole, labelled_axes, image.pixel_size, image.units)
            values |= set(np.unique(whole).tolist()) if not gives_objects(method, options) else {0, 1}
            # Each time, so that it belongs to what is there if the next image ends everything.
            _write_classes(out, _entries(values, method, options, next(iter(painted.values()), None)))
        on_progress(done, len(files))
    if len(failed) == 1 and not written:
        raise failed[0]
    if not written:
        raise DataError(
            f"None of the {len(failed)} images can be segmented. {failed[0].problem}", failed[0].remedy
        ) from failed[0]
    return written


def _segmented(
    path: Path, strokes: Path | None, method: Method, options: MethodOptions, axes: str | None
) -> tuple[ImageFile, Labels, str]:
    """Return an image file, its labels, and their axes."""
    image = open_image(path, axes)
    spatial = "ZYX" if "Z" in image.axes else "YX"
    stack = image.stack(spatial)
    drawn = None
    if strokes is not None:
        drawn = open_labels(strokes, image.axes)
        check_sizes(image, drawn)
    found = [
        pre_annotate(
            np.asarray(stack[i]),
            method,
            options,
            axes=f"C{spatial}",
            strokes=None if drawn is None else np.asarray(drawn.stack(spatial)[i][0]),
            spacing=image.pixel_size if image.pixel_size and len(image.pixel_size) == len(spatial) else None,
        )
        for i in range(len(stack))
    ]
    largest = max(int(labels.max()) for labels in found)
    whole = np.stack(found).astype(smallest_unsigned(largest)).reshape((*stack.leading, *stack.item_shape))
    return image, whole, stack.leading_axes + spatial


def _named(error: SegNetError, path: Path) -> SegNetError:
    """Return an error that names the file."""
    problem = error.problem if path.name in error.problem else f"{path.name}: {error.problem}"
    return type(error)(problem, error.remedy)


def _write_classes(out: Path, entries: dict[int, ClassEntry]) -> None:
    try:
        write_classes(out / CLASS_FILE, entries)
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another --out.") from error


def _entries(values: set[int], method: Method, options: MethodOptions, strokes: Path | None) -> dict[int, ClassEntry]:
    """Return what ``classes.json`` says of the values."""
    background = ClassEntry(name="background", colour=PALETTE[0])
    if gives_objects(method, options):
        return {0: background, 1: ClassEntry(name="object", colour=PALETTE[1], objects=True)}
    known = None if strokes is None else classes_beside(strokes)
    said = {c.value: ClassEntry(name=c.name, colour=c.colour) for c in known.classes} if known else {}
    entries: dict[int, ClassEntry] = {0: background} if strokes is None else {}
    for value in sorted(values - {0}):
        entries[value] = said.get(value) or ClassEntry(name=f"class {value}", colour=PALETTE[value % len(PALETTE)])
    return entries
