"""Pre-annotating whole folders: label files to be corrected, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_segnet.data.labels import PALETTE
from napari_segnet.errors import ConfigError, SegNetError
from napari_segnet.io.class_file import CLASS_FILE, ClassEntry, classes_beside, write_classes
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.io.pairing import Paths, file_stem, list_images, pair_files
from napari_segnet.io.records import check_sizes
from napari_segnet.io.write import write_tiff
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
    on_progress, on_note : callable
        Called with the number of images done and of all, and with sentences on what is left out.

    Returns
    -------
    list of Path
        The label files.

    Raises
    ------
    ConfigError
        If there is no such method or option, strokes are missing, or outputs would replace the images.
    DataError
        If an image can't be segmented so, or nothing pairs.
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
    written: list[Path] = []
    values: set[int] = set()
    for done, path in enumerate(files, start=1):
        image = open_image(path, axes)
        spatial = "ZYX" if "Z" in image.axes else "YX"
        stack = image.stack(spatial)
        drawn = None
        if path in painted:
            drawn = open_labels(painted[path], image.axes)
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
        written.append(out / f"{file_stem(path)}.tif")
        write_tiff(written[-1], whole, stack.leading_axes + spatial, image.pixel_size, image.units)
        values |= set(np.unique(whole).tolist()) if not gives_objects(method, options) else {0, 1}
        on_progress(done, len(files))
    try:
        write_classes(out / CLASS_FILE, _entries(values, method, options, next(iter(painted.values()), None)))
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another --out.") from error
    return written


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
