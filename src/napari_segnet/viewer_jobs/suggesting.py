"""Suggesting labels by a classical method: Otsu, local threshold, Canny, watershed, random walker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_segnet import events
from napari_segnet.config import Frozen, PixelSize
from napari_segnet.io.labels import smallest_unsigned
from napari_segnet.io.write import write_npy
from napari_segnet.measure.pre_annotation import (
    gives_objects,
    method_named,
    method_options,
    pre_annotate,
    with_strokes,
)
from napari_segnet.run import write_atomically
from napari_segnet.viewer_jobs.arrays import ArrayFile


class SuggestJob(Frozen):
    """The command ``suggest``: an image, one of `napari_segnet.measure.METHODS`, strokes where it needs them."""

    out: str
    image: ArrayFile
    method: str
    options: dict[str, Any] = Field(default_factory=dict)
    strokes: ArrayFile | None = None
    planes: bool = False
    pixel_size: PixelSize | None = None


def suggest(job: SuggestJob, should_stop: Callable[[], bool] = lambda: False) -> Iterator[events.Event]:
    """Segment an image, plane by plane or volume by volume.

    Written into the folder `job.out`: ``labels.npy``, of the axes of the image without C, and ``labels.json``: whether
    they number objects, which are numbered on and on then.

    Yields
    ------
    Event
        Progress, Finished.

    Raises
    ------
    SegNetError
        If there is no such method or option, or it can't be used on this image, in a sentence.
    """
    spatial = "ZYX" if "Z" in job.image.axes and not job.planes else "YX"
    images = job.image.image(spatial)
    strokes = None if job.strokes is None else job.strokes.labels(spatial)
    method = method_named(job.method)
    options = with_strokes(method, method_options(method, job.options), strokes is not None)
    objects = gives_objects(method, options)
    sizes = list(job.pixel_size) if isinstance(job.pixel_size, tuple) else job.pixel_size
    parts: list[NDArray[Any]] = []
    last = 0
    for number in range(len(images)):
        if should_stop():
            yield events.Finished("stopped")
            return
        found = pre_annotate(
            np.asarray(images[number]),
            method,
            options,
            axes=f"C{spatial}",
            strokes=None if strokes is None else np.asarray(strokes[number])[0],
            spacing=sizes,
        )
        if objects:
            found = np.where(found > 0, found.astype(np.uint32) + np.uint32(last), 0)
        parts.append(found)
        last = max(last, int(found.max(initial=0)))
        yield events.Progress("suggest", number + 1, len(images))
    labels = np.stack(parts).astype(smallest_unsigned(last)).reshape(*images.leading, *images.item_shape)
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    write_npy(out / "labels.npy", labels)
    write_atomically(out / "labels.json", json.dumps({"objects": objects}))
    yield events.Finished("completed")
