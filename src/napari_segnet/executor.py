"""One way to run: a run folder in, events out. The viewer's worker, the command line and Python all call `execute`."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from napari_segnet import events
from napari_segnet.config import PredictConfig
from napari_segnet.data.normalization import Normalization
from napari_segnet.devices import device_name, pick_device, reused_memory
from napari_segnet.errors import ConfigError, ModelFileError, RunFolderError, SegNetError
from napari_segnet.io.write import write_npy
from napari_segnet.models.file import load_model, transfer
from napari_segnet.models.info import ModelInfo, model_path, read_info
from napari_segnet.models.registry import build_network
from napari_segnet.predict.predictor import Predictor
from napari_segnet.run import RunFolder, write_atomically
from napari_segnet.training.checkpoint import read_checkpoint
from napari_segnet.training.learner import Learner
from napari_segnet.training.loop import statistics_batches, train
from napari_segnet.training.losses import loss_function
from napari_segnet.training.prepare import Prepared, prepare
from napari_segnet.training.saver import Saver, model_info

_CHECKPOINT_SECONDS = 8.0
_STEP_SECONDS = 0.2
_FIRST_PREVIEW_STEP = 8
_PREVIEW_MARGIN = 64


@dataclass(frozen=True)
class View:
    """The part of a training image that previews show: corner and size, pixels."""

    pair: str
    plane: int
    origin: tuple[int, int]
    shape: tuple[int, int]


@dataclass
class Control:
    """What the one who started a run may change while it runs."""

    stop: bool = False
    view: View | None = field(default=None)


def execute(run: RunFolder, control: Control | None = None) -> Iterator[events.Event]:
    """Train what a run folder asks for; go on where there is a checkpoint.

    Parameters
    ----------
    run : RunFolder
    control : Control, optional
        Setting its `stop` finishes the step, saves, and ends the run.

    Yields
    ------
    Event
        All but `Step` and `Preview` are also appended to the folder's ``events.jsonl``.

    Raises
    ------
    SegNetError
        If something can't work; then the last event in the folder is `Failed`.
    """
    control = control or Control()
    finished: events.Event | None = None
    with run.lock():
        try:
            for event in _run(run, control):
                run.beat()
                if not isinstance(event, events.Step | events.Preview):
                    run.append(event)
                if isinstance(event, events.Finished):
                    finished = event
                else:
                    yield event
        except SegNetError as error:
            _record_failure(run, error)
            raise
        except OSError as error:
            failure = _explain_disk(run, error)
            _record_failure(run, failure)
            raise failure from error
    # Told when the folder is free again: whoever hears it may take the run up at once.
    if finished is not None:
        yield finished


def _record_failure(run: RunFolder, error: SegNetError) -> None:
    try:
        run.append(events.Failed(error.problem, error.remedy))
    except OSError:
        return  # a full disk takes no event either: the caller still gets the error


def _explain_disk(run: RunFolder, error: OSError) -> SegNetError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RunFolderError(
            f"The disk is full: {run.path} can't be written.",
            "Make room, then resume the run: everything up to its last checkpoint is whole.",
        )
    return RunFolderError(f"{error.filename or run.path} can't be used: {error.strerror or error}.")


def _run(run: RunFolder, control: Control) -> Iterator[events.Event]:
    device = pick_device(run.config.train.device)
    start_path = _start_model(run)
    start = read_info(start_path) if start_path else None
    _adopt_network(run, start)
    ready = prepare(run, device, start)
    run.set_config(ready.config)
    resuming = _checkpoint(run).exists()
    learner = _new_learner(ready, device, start_path, resuming)
    if resuming:
        read_checkpoint(_checkpoint(run), learner)
    counters = learner.counters
    yield events.Started(
        str(run.path), device_name(device), len(counters.history), ready.config.train.epochs, ready.choices
    )
    for text in ready.warnings:
        yield events.Notice(text)
    saver = Saver(run, ready, learner)
    with reused_memory(device):
        reason = yield from _learn(run, control, ready, learner, saver)
    yield from saver.save_checkpoint()
    yield from saver.finish(reason)


def _learn(
    run: RunFolder, control: Control, ready: Prepared, learner: Learner, saver: Saver
) -> Generator[events.Event, None, str]:
    """Run the loop: save now and then, show the view now and then. Returns why it ended."""
    reason = "completed"
    saved = told = next_preview = 0.0
    previews = 0
    for event in train(learner, ready.lesson, ready.config.train, lambda: control.stop):
        now = time.monotonic()
        if isinstance(event, events.Finished):
            reason = event.reason
        elif not isinstance(event, events.Step):
            yield event
        elif now - told > _STEP_SECONDS:
            told = now
            yield event
        if isinstance(event, events.Epoch):
            run.write_history(learner.counters.history)
            saver.remember(event.best)
            if now - saved > _CHECKPOINT_SECONDS:
                saved = now
                yield from saver.save_checkpoint()
        view = control.view  # read once: the viewer may change it at any moment
        if view is not None and now >= next_preview and learner.counters.step >= _FIRST_PREVIEW_STEP:
            previews += 1
            # A preview that can't be written, such as over a file that is being read, must not end the training.
            with contextlib.suppress(OSError, SegNetError):
                yield from _preview(run, view, ready, learner, previews % 2)
            ended = time.monotonic()
            # At least three quarters of the time are for learning, however slow the preview is.
            next_preview = ended + max(ready.config.train.preview_seconds, 3 * (ended - now))
    return reason


def _start_model(run: RunFolder) -> Path | None:
    """Return the model to fine-tune, None where weights are imagenet, none, or of an encoder alone.

    It is copied into the run folder, which then can be moved, and resumed when the original is gone.
    """
    weights = run.config.model.weights
    if run.start.is_file():
        return run.start
    if weights in ("none", "imagenet") or _checkpoint(run).exists():
        return None
    path = model_path(weights)
    if not path.is_file():
        raise ConfigError(
            f"There are no weights {weights!r}.",
            "Use imagenet, none, a model file, or a file of encoder weights.",
        )
    try:
        read_info(path)
    except ModelFileError:
        return None
    write_atomically(run.start, path.read_bytes())
    return run.start


def _checkpoint(run: RunFolder) -> Path:
    return run.checkpoints / "last.safetensors"


def _adopt_network(run: RunFolder, start: ModelInfo | None) -> None:
    """Fine-tuning keeps the network of the model it starts from."""
    if start is None:
        return
    config = run.config
    asked = config.model.explicit()
    for key in ("network", "encoder"):
        if key in asked and asked[key] != getattr(start, key):
            raise ConfigError(
                f"The model to start from is a {start.network} ({start.encoder or 'no encoder'}), "
                f"but {key} = {asked[key]} was asked for.",
                f"Leave --{key} out to fine-tune it, or --weights out to train from scratch.",
            )
    same = {"network": start.network, "encoder": start.encoder, "options": dict(start.options)}
    run.set_config(config.replace(model={**asked, **same}))


def _new_learner(ready: Prepared, device: torch.device, start_path: Path | None, resuming: bool) -> Learner:
    config = ready.config
    torch.manual_seed(config.train.seed)
    network = build_network(
        config.model.network,
        channels=ready.pairs[0].channels,
        outputs=ready.outputs,
        encoder=config.model.encoder,
        # A checkpoint holds all weights: nothing has to be fetched again.
        weights="none" if start_path or resuming else config.model.weights,
        options=config.model.options,
    )
    stride, patch = int(network.stride), config.train.patch_size  # type: ignore[arg-type]
    if patch % stride:
        raise ConfigError(
            f"Patches of {patch} pixels don't fit this network, which needs multiples of {stride}.",
            f"Set train.patch_size to {-(-patch // stride) * stride}.",
        )
    if start_path:
        info, trained = load_model(start_path)
        transfer(trained, network, _same_classes(info, ready))
    return Learner(
        network,
        loss_function(config.train.loss),
        ready.weights,
        config.train,
        device,
        trained=ready.lesson.knows,
        anchored=ready.lesson.anchored,
    )


def _same_classes(info: ModelInfo, ready: Prepared) -> dict[int, int]:
    if info.task != ready.config.data.task:
        raise ConfigError(
            f"The model to start from predicts {info.task}, these labels hold {ready.config.data.task}.",
            "Change what the labels mean, or train from scratch.",
        )
    if info.task == "instances":
        return {index: index for index in range(info.outputs)}
    old = {c.value: index for index, c in enumerate(info.classes)}
    return {new: old[c.value] for new, c in enumerate(ready.config.data.classes) if c.value in old}


def _preview(run: RunFolder, view: View, ready: Prepared, learner: Learner, turn: int) -> Iterator[events.Event]:
    """Predict the view with a margin around it, with the averaged weights as they are now."""
    found = [i for i, p in enumerate(ready.pairs) if p.group == view.pair and p.plane == view.plane]
    if not found:
        return
    began = time.perf_counter()
    pair = ready.pairs[found[0]]
    height, width = pair.shape
    top, left = max(0, min(view.origin[0], height - 1)), max(0, min(view.origin[1], width - 1))
    bottom, right = min(height, top + max(1, view.shape[0])), min(width, left + max(1, view.shape[1]))
    y0, x0 = max(0, top - _PREVIEW_MARGIN), max(0, left - _PREVIEW_MARGIN)
    rows, columns = (
        slice(y0, min(height, bottom + _PREVIEW_MARGIN)),
        slice(x0, min(width, right + _PREVIEW_MARGIN)),
    )
    image = ready.cache.read(found[0], (rows, columns))
    network = learner.refresh_average(lambda: statistics_batches(learner, ready.lesson, ready.config.train))
    # The window is normalized already, by the limits of its whole image.
    info = model_info(ready, network, {}).replace(normalization=Normalization(mode="none"))
    predictor = Predictor(network, info, PredictConfig(), learner.device)
    labels = np.empty(image.shape[1:], predictor.label_dtype)
    probabilities = np.empty((len(predictor.classes), *image.shape[1:]), np.float32)
    predictor.predict_plane(image, labels_out=labels, probabilities_out=probabilities)
    inside = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
    folder = run.path / "preview"
    folder.mkdir(exist_ok=True)
    # Two names in turn: the viewer may still be reading the previous one.
    files = folder / f"labels-{turn}.npy", folder / f"probabilities-{turn}.npy"
    write_npy(files[0], labels[inside])
    write_npy(files[1], probabilities[:, inside[0], inside[1]])
    yield events.Preview(view.pair, str(files[0]), str(files[1]), (top, left), time.perf_counter() - began, view.plane)
