"""The worker: a process that learns and predicts for the viewer. JSON lines in, JSON lines out.

Commands (one JSON object a line on standard input)::

    {"command": "train", "run": PATH}          start a run folder, or go on with an interrupted one
    {"command": "view", "pair": NAME, "plane": 0, "origin": [y, x], "shape": [h, w]}   what previews show
    {"command": "predict", "model": PATH, "inputs": [...], "out": DIR, ...}        arrays, for layers
    {"command": "predict-files", "model": PATH, "inputs": [PATH, ...], "out": DIR, ...}
    {"command": "preview-augmentation", "run": PATH, "seed": 0}       what augmentation does to the run's patches
    {"command": "stop"}                         finish the step, save, say finished
    {"command": "quit"}                         the end of standard input means the same

Answers are the events of `events.py` on standard output. Nothing else may be printed there: libraries' output
goes to standard error. The process lowers its own priority, so that the viewer stays responsive.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

from pydantic import Field

from napari_segnet import events
from napari_segnet._priority import lower_priority
from napari_segnet._process import prepare_process
from napari_segnet.config import Frozen, PredictConfig, validated
from napari_segnet.errors import ConfigError
from napari_segnet.job_loop import JobLoop, take_standard_output


class InputImage(Frozen):
    """An image to predict: ``.npy`` files (several: used as channels) and their axes."""

    name: str = Field(min_length=1, pattern=r"^[^/\\]+$")
    images: tuple[str, ...] = Field(min_length=1)
    axes: str = Field(pattern=r"^[TZCYX]+$")
    pixel_size: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(None, description="Along [Z], Y, X.")
    units: str | None = None


class PredictCommand(Frozen):
    """What both ways to predict are told: with which model, where to, and what of it."""

    model: str
    out: str
    probabilities: bool = True
    uncertainty: bool = True
    instances: bool = False
    config: PredictConfig = PredictConfig()


class PredictJob(PredictCommand):
    """The command ``predict``: arrays, whose answers become layers."""

    inputs: tuple[InputImage, ...] = Field(min_length=1)


class PredictFilesJob(PredictCommand):
    """The command ``predict-files``: image files, whose answers become files as at the shell."""

    inputs: tuple[str, ...] = Field(min_length=1)


class AugmentationJob(Frozen):
    """The command ``preview-augmentation``: a run folder that nothing learns from; it gets the picture."""

    run: str
    seed: int = Field(0, ge=0)


class Worker(JobLoop):
    """Takes jobs one after another; `stop` and `view` reach the job that is running.

    Parameters
    ----------
    commands, answers : text streams
    """

    def __init__(self, commands: TextIO, answers: TextIO) -> None:
        # Imported here, after the priority was lowered: torch's threads inherit it.
        from napari_segnet.executor import Control

        self._control: Control = Control(report=True)
        kinds = {
            "train": self._train,
            "predict": self._predict,
            "predict-files": self._predict_files,
            "preview-augmentation": self._preview_augmentation,
        }
        super().__init__(commands, answers, self._control, kinds)

    def _take(self, command: dict[str, Any]) -> None:
        from napari_segnet.preview import View

        if command["command"] != "view":
            super()._take(command)
        elif command.get("pair") is None:
            self._control.view = None
        else:
            place = tuple(command["origin"]), tuple(command["shape"])
            self._control.view = View(command["pair"], int(command["plane"]), *place)

    def _train(self, job: dict[str, Any]) -> Iterator[events.Event]:
        from napari_segnet.executor import execute
        from napari_segnet.run import RunFolder

        yield from execute(RunFolder(job["run"]), self._control)

    def _predict(self, job: dict[str, Any]) -> Iterator[events.Event]:
        from napari_segnet.predict.arrays import ArrayFiles, predict_arrays

        wanted = validated(PredictJob, {k: v for k, v in job.items() if k != "command"})
        images = [
            ArrayFiles(i.name, tuple(Path(p) for p in i.images), i.axes, i.pixel_size, i.units) for i in wanted.inputs
        ]
        yield from predict_arrays(wanted.model, images, Path(wanted.out), **self._how(wanted))

    def _predict_files(self, job: dict[str, Any]) -> Iterator[events.Event]:
        from napari_segnet.predict.files import predict_files

        wanted = validated(PredictFilesJob, {k: v for k, v in job.items() if k != "command"})
        yield from predict_files(wanted.model, wanted.inputs, wanted.out, **self._how(wanted))

    def _preview_augmentation(self, job: dict[str, Any]) -> Iterator[events.Event]:
        from napari_segnet.io.write import write_npy
        from napari_segnet.run import RunFolder
        from napari_segnet.training.augmentation_preview import preview_run

        wanted = validated(AugmentationJob, {k: v for k, v in job.items() if k != "command"})
        run = RunFolder(wanted.run)
        made = preview_run(run, seed=wanted.seed)
        if self._control.stop:
            yield events.Finished("stopped")
            return
        image, labels = run.path / "augmentation.npy", run.path / "augmentation_labels.npy"
        write_npy(image, made.image)
        write_npy(labels, made.labels)
        yield events.Augmented(str(image), str(labels), {str(v): colour for v, colour in made.colours.items()})
        yield events.Finished("completed")

    def _how(self, wanted: PredictCommand) -> dict[str, Any]:
        return {
            "probabilities": wanted.probabilities,
            "uncertainty": wanted.uncertainty,
            "instances": wanted.instances,
            "config": wanted.config,
            "should_stop": lambda: self._control.stop,
        }


def main() -> None:
    """Run the worker on standard input and output."""
    answers = take_standard_output()
    lower_priority()
    prepare_process()
    try:
        from napari_segnet.devices import device_name, free_memory, pick_device

        device = pick_device()
        Worker(sys.stdin, answers).run(events.Ready(device_name(device), os.getpid(), free_memory(device)))
    except ImportError as error:
        problem = ConfigError(f"torch or one of its libraries can't be loaded: {error}.", "Run napari-segnet doctor.")
        answers.write(events.to_json(events.Failed(problem.problem, problem.remedy)) + "\n")
        answers.flush()
        sys.exit(1)


if __name__ == "__main__":
    main()
