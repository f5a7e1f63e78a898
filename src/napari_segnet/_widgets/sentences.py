"""What the dock says about the end of a job, and about the end of the worker."""

from __future__ import annotations

from pathlib import Path

from napari_segnet._widgets.progress import Progress

_ENDS = {
    "completed": "Finished",
    "stopped": "Stopped; best and last model are saved",
    "early-stopping": "Finished: it got no better for a while",
    "time": "Finished: the time is over",
}


def end_of(reason: str, progress: Progress) -> str:
    """Say why a training ended, and how good it got."""
    return f"{_ENDS.get(reason, reason)}. {progress.summary()}".strip()


def death(how: str, was: str, loaded: bool, said: str, log: Path) -> str:
    """Say that the worker process is gone, what that means, and what to press.

    Parameters
    ----------
    how : str
        Such as "The worker process was killed."
    was : str
        The phase of the session.
    loaded : bool
        Whether the worker had come up at all.
    said : str
        The last error that it told.
    log : Path
        File of its standard error.
    """
    if not loaded:
        reason = said or f"{how} Run 'napari-segnet doctor' in a terminal."
        return f"{reason} Details are in {log}."
    if was in ("training", "stopping"):
        return f"{how} Your strokes and all finished epochs are safe; press Resume to go on."
    if was == "predicting":
        return f"{how} Press Predict to try again."
    return f"{how} It starts again with the next job."
