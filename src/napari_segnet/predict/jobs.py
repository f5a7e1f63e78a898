"""A list of images to predict, as events: the part that files and arrays share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_segnet import events
from napari_segnet.axes import ImageStack
from napari_segnet.config import PredictConfig
from napari_segnet.devices import pick_device
from napari_segnet.errors import DataError
from napari_segnet.predict.ensemble import make_predictor
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.resampled import pixel_size_of, words_of
from napari_segnet.predict.stacks import Sink, check_channels, predict_stack_into

_SECONDS_BETWEEN_PROGRESS = 0.1
SUFFIXES = {"labels": "", "probabilities": "_probabilities", "uncertainty": "_uncertainty"}
"""What the file names of each output end with, before the extension."""


@dataclass(frozen=True)
class Job:
    """One image to predict: how its planes ("YX") or volumes ("ZYX") are opened, and where its outputs go.

    `pixel_size`, asked when it is open, says the size of a pixel along [Z], Y, X and its units.
    """

    name: str
    open: Callable[[str], ImageStack]
    sink: Sink
    files: Mapping[str, Path]
    pixel_size: Callable[[], tuple[Sequence[float] | None, str | None]] = lambda: (None, None)


def predict_jobs(
    model: Path | str,
    jobs: Sequence[Job],
    *,
    probabilities: bool,
    uncertainty: bool,
    instances: bool,
    config: PredictConfig | None,
    should_stop: Callable[[], bool] | None,
) -> Iterator[events.Event]:
    """Predict images one after another.

    Yields
    ------
    Event
        Notice, Progress (tiles of an image), Predicted for each image, Finished with the reason completed or
        stopped. Outputs of an image that was not finished are not left behind.

    Raises
    ------
    DataError
        At the end, if some of the images can't be used: the others are predicted.
    """
    config = config or PredictConfig()
    device = pick_device(config.device)
    notices: list[str] = []
    predictor = make_predictor(model, config, device, on_notice=notices.append)
    wanted = [
        name for name, on in (("labels", True), ("probabilities", probabilities), ("uncertainty", uncertainty)) if on
    ]
    bad: list[DataError] = []
    for job in jobs:
        steps = _predict_one(predictor, job, probabilities, uncertainty, instances, notices)
        try:
            for event in steps:
                yield event
                if should_stop is not None and should_stop():
                    # Closing it now takes the unfinished files away.
                    steps.close()
                    yield events.Finished("stopped")
                    return
        except DataError as error:
            if len(jobs) == 1:
                raise
            # One damaged file among many is no reason to leave the others undone.
            bad.append(error)
            yield events.Notice(f"Left out: {error}")
        else:
            yield events.Predicted(job.name, {name: str(job.files[name]) for name in wanted})
    raise_first(bad, len(jobs))
    yield events.Finished("completed")


def raise_first(bad: Sequence[DataError], total: int) -> None:
    """Raise `DataError` if some of `total` images were left out: how many, and why the first."""
    if bad:
        others = "the others are done" if len(bad) < total else "so nothing is done"
        raise DataError(
            f"{len(bad)} of {total} images can't be predicted, {others}. The first: {bad[0].problem}", bad[0].remedy
        )


def _predict_one(
    predictor: Predictor, job: Job, probabilities: bool, uncertainty: bool, instances: bool, notices: list[str]
) -> Generator[events.Event]:
    items = job.open(predictor.spatial)
    check_channels(job.name, items, predictor.info)
    size, units = job.pixel_size()
    if predictor.info.resampled and pixel_size_of(predictor, size, units) is None:
        notices.append(
            f"{job.name} doesn't say how large its pixels are, so it is predicted as it is. The model knows pixels of "
            f"{words_of(predictor.info)}: if others are in the image, say how large with --pixel-size, or by the scale "
            "and the units of the layer."
        )
    steps = predict_stack_into(
        predictor,
        items,
        job.sink,
        probabilities=probabilities,
        uncertainty=uncertainty,
        instances=instances,
        pixel_size=size,
        units=units,
    )
    said = 0.0
    with contextlib.closing(steps):
        for done, total in steps:
            while notices:
                yield events.Notice(notices.pop(0))
            if done == total or time.monotonic() - said > _SECONDS_BETWEEN_PROGRESS:
                said = time.monotonic()
                yield events.Progress(job.name, done, total)
    while notices:
        yield events.Notice(notices.pop(0))
