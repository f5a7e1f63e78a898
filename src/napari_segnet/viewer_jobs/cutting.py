"""Cutting the objects of a labels layer out of an image layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from napari_segnet import events
from napari_segnet.config import Frozen, Task
from napari_segnet.errors import DataError
from napari_segnet.measure import cut_out_files
from napari_segnet.measure.options import CutOutOptions
from napari_segnet.run import write_atomically
from napari_segnet.viewer_jobs.arrays import ArrayFile


class CutOutJob(Frozen):
    """The command ``cut-out``: an image and its labels, whose files have the name of the pictures to be written."""

    out: str
    image: ArrayFile
    labels: ArrayFile
    into: str
    crops: bool = False
    task: Task | None = None
    options: CutOutOptions = CutOutOptions()


def cut(job: CutOutJob, _should_stop: Callable[[], bool] = lambda: False) -> Iterator[events.Event]:
    """Write PNG files into `job.into`; their names are left in ``written.json`` in the folder `job.out`.

    Raises
    ------
    SegNetError
        If the image is no picture, there is nothing to cut out, or the folder can't be written.
    """
    written = cut_out_files(
        Path(job.image.path),
        Path(job.labels.path),
        Path(job.into),
        job.options,
        crops=job.crops,
        task=job.task,
    )
    if not written:
        raise DataError("There is nothing to cut out.", "Paint something, or ask for smaller pieces.")
    write_atomically(Path(job.out) / "written.json", json.dumps([str(path) for path in written]))
    yield events.Finished("completed")
