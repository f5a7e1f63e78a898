"""Old runs get lighter: what only a resumed run needs goes, models, strokes and records stay."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from napari_segnet import events
from napari_segnet._widgets import recovery
from napari_segnet.errors import SegNetError
from napari_segnet.run import RunFolder, list_runs

_ALWAYS_KEPT = 3
"""The newest runs stay whole whatever is preferred: one of them may be going on, or be resumed in a moment."""


def lighten_steps(parent: Path, keep: int) -> Iterator[None]:
    """Take the copies of images, and the checkpoints, out of all but the newest runs, a run a step.

    Each training from layers copies their images into its run folder: forty rounds of painting would fill a disk.
    A run that somebody may still want to resume (interrupted, and neither stopped nor dismissed) stays whole.

    Parameters
    ----------
    parent : Path
        Folder of the run folders.
    keep : int
        So many of the newest stay whole; 0: all of them.
    """
    if keep <= 0:
        return
    for run in list_runs(parent)[max(keep, _ALWAYS_KEPT) :]:
        # What can't be read or removed, such as a file that a viewer shows, is left for another time.
        with contextlib.suppress(SegNetError, OSError):
            if run.checkpoints.exists() and _is_over(run):
                _lighten(run)
        yield


def _is_over(run: RunFolder) -> bool:
    dismissed = (run.path / "dismissed").exists()
    return (dismissed or recovery.ended(run)) and run.state() != "running"


def _lighten(run: RunFolder) -> None:
    copies = [Path(file) for pair in run.pairs for file in pair.images]
    inside = [file for file in copies if run.data.resolve() in file.resolve().parents]
    written = run.path.stat().st_mtime_ns
    for file in [*inside, run.start]:
        file.unlink(missing_ok=True)
    run.append(events.Notice("An old run: its checkpoints and copies of images were removed to save disk space."))
    # Last, because a folder without checkpoints is not looked at again.
    shutil.rmtree(run.checkpoints)
    # Runs are ordered by this time: an old one must not become the newest.
    os.utime(run.path, ns=(written, written))
