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

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from pydantic import Field

from napari_segnet import events
from napari_segnet._priority import lower_priority, rise_when_starved
from napari_segnet._process import prepare_process
from napari_segnet.config import Frozen, PredictConfig, validated
from napari_segnet.errors import ConfigError, SegNetError

if TYPE_CHECKING:
    import torch


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


class Worker:
    """Takes jobs one after another; `stop` and `view` reach the job that is running.

    Parameters
    ----------
    commands, answers : text streams
    """

    def __init__(self, commands: TextIO, answers: TextIO) -> None:
        self._commands, self._answers = commands, answers
        self._jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        # Imported here, after the priority was lowered: torch's threads inherit it.
        from napari_segnet.executor import Control

        self._control = Control()
        self._busy = False
        self._saying = threading.Lock()
        self._kinds = {
            "train": self._train,
            "predict": self._predict,
            "predict-files": self._predict_files,
            "preview-augmentation": self._preview_augmentation,
        }

    def run(self, device: torch.device) -> None:
        """Say that it is ready, then work until the end of the commands."""
        from napari_segnet.devices import device_name, free_memory

        threading.Thread(target=self._listen, daemon=True).start()
        rise_when_starved(lambda: self._busy, lambda text: self._say(events.Notice(text)))
        self._say(events.Ready(device_name(device), os.getpid(), free_memory(device)))
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _listen(self) -> None:
        for line in self._commands:
            try:
                command = json.loads(line)
                self._take(command)
            except (ValueError, KeyError, TypeError) as error:
                self._say(events.Failed(f"Not a command: {line.strip()[:200]!r} ({error}).", bug=True))
        self._control.stop = True
        self._jobs.put(None)

    def _take(self, command: dict[str, Any]) -> None:
        from napari_segnet.preview import View

        kind = command["command"]
        if kind == "stop":
            self._control.stop = True
        elif kind == "view":
            self._control.view = (
                None
                if command.get("pair") is None
                else View(command["pair"], int(command["plane"]), tuple(command["origin"]), tuple(command["shape"]))
            )
        elif kind == "quit":
            self._control.stop = True
            self._jobs.put(None)
        elif kind in self._kinds:
            self._control.stop = False
            self._jobs.put(command)
        else:
            raise ValueError(f"unknown command {kind!r}")

    def _do(self, job: dict[str, Any]) -> None:
        """Do one job; whatever goes wrong is said, and the worker lives on."""
        self._busy = True
        try:
            for event in self._kinds[job["command"]](job):
                self._say(event)
        except SegNetError as error:
            self._say(events.Failed(error.problem, error.remedy))
        except Exception as error:  # a bug in one job must not take the others with it; the viewer shows it
            self._say(events.Failed(f"{type(error).__name__}: {error}", bug=True, details=traceback.format_exc()))
        finally:
            self._busy = False

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

    def _say(self, event: events.Event) -> None:
        try:
            with self._saying:
                self._answers.write(events.to_json(event) + "\n")
                self._answers.flush()
        except (OSError, ValueError):
            # The viewer is gone. What runs is saved and ends; the run can be taken up again.
            self._control.stop = True
            self._jobs.put(None)


def main() -> None:
    """Run the worker on standard input and output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with the answers
    lower_priority()
    prepare_process()
    try:
        from napari_segnet.devices import pick_device

        Worker(sys.stdin, answers).run(pick_device())
    except ImportError as error:
        problem = ConfigError(f"torch or one of its libraries can't be loaded: {error}.", "Run napari-segnet doctor.")
        answers.write(events.to_json(events.Failed(problem.problem, problem.remedy)) + "\n")
        answers.flush()
        sys.exit(1)


if __name__ == "__main__":
    main()
