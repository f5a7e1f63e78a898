"""A list of images to predict, as events: the part that files and arrays share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_segnet import events
from napari_segnet.axes import PlaneStack
from napari_segnet.config import PredictConfig
from napari_segnet.devices import pick_device
from napari_segnet.models.file import load_model
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.stacks import Sink, check_channels, predict_stack_into

_SECONDS_BETWEEN_PROGRESS = 0.1
SUFFIXES = {"labels": "", "probabilities": "_probabilities", "uncertainty": "_uncertainty"}
"""What the file names of each output end with, before the extension."""


@dataclass(frozen=True)
class Job:
    """One image to predict: how it is opened, and where its outputs go."""

    name: str
    open: Callable[[], PlaneStack]
    sink: Sink
    files: Mapping[str, Path]


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
    """
    config = config or PredictConfig()
    device = pick_device(config.device)
    notices: list[str] = []
    info, network = load_model(model, device)
    predictor = Predictor(network, info, config, device, on_notice=notices.append)
    wanted = [
        name for name, on in (("labels", True), ("probabilities", probabilities), ("uncertainty", uncertainty)) if on
    ]
    for job in jobs:
        planes = job.open()
        check_channels(job.name, planes, info)
        steps = predict_stack_into(
            predictor, planes, job.sink, probabilities=probabilities, uncertainty=uncertainty, instances=instances
        )
        said = 0.0
        while should_stop is None or not should_stop():
            counts = next(steps, None)
            yield from (events.Notice(notices.pop(0)) for _ in range(len(notices)))
            if counts is None:
                break
            if counts[0] == counts[1] or time.monotonic() - said > _SECONDS_BETWEEN_PROGRESS:
                said = time.monotonic()
                yield events.Progress(job.name, *counts)
        else:
            # Closing it now takes the unfinished files away.
            steps.close()
            yield events.Finished("stopped")
            return
        yield events.Predicted(job.name, {name: str(job.files[name]) for name in wanted})
    yield events.Finished("completed")
