"""One way to run: a run folder in, events out. The viewer's worker, the command line and Python all call `execute`."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from napari_segnet import events
from napari_segnet.axes import per_axis
from napari_segnet.devices import device_name, pick_device, reused_memory
from napari_segnet.errors import ConfigError, ModelFileError, RunFolderError, SegNetError
from napari_segnet.models.file import load_model, transfer
from napari_segnet.models.info import ModelInfo, model_path, read_info, same_classes
from napari_segnet.models.packages import is_package, model_bytes
from napari_segnet.models.registry import build_network, network_spec
from napari_segnet.preview import View, preview
from napari_segnet.reports.training import try_training_report
from napari_segnet.run import RunFolder, write_atomically
from napari_segnet.training.checkpoint import read_checkpoint
from napari_segnet.training.deep_supervision import DeepSupervised
from napari_segnet.training.examples import write_examples
from napari_segnet.training.learner import Learner
from napari_segnet.training.loop import draw_batch, train
from napari_segnet.training.losses import loss_function
from napari_segnet.training.lr_finder import range_test
from napari_segnet.training.prepare import Prepared, prepare
from napari_segnet.training.saver import Saver
from napari_segnet.training.tensorboard import Row, check_tensorboard, scalars

_CHECKPOINT_SECONDS = 8.0
_STEP_SECONDS = 0.2
_FIRST_PREVIEW_STEP = 8


@dataclass
class Control:
    """What the one who started a run may change while it runs.

    `report`: whether ``RUN/report.html`` is written at the end, and the pictures in it.
    """

    stop: bool = False
    view: View | None = field(default=None)
    report: bool = False


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
        if control.report:  # nobody waits for the page
            try_training_report(run.path)


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
    ready, learner = set_up(run, device)
    counters = learner.counters
    yield events.Started(
        str(run.path), device_name(device), len(counters.history), ready.config.train.epochs, ready.choices
    )
    for text in ready.warnings:
        yield events.Notice(text)
    saver = Saver(run, ready, learner)
    wanted = ready.config.train.tensorboard
    with reused_memory(device), scalars(run.path / "tensorboard", wanted, len(counters.history)) as write:
        reason = yield from _learn(run, control, ready, learner, saver, write)
    yield from saver.save_checkpoint()
    if control.report:
        with contextlib.suppress(Exception):  # pictures for the report must never fail a run
            write_examples(run, ready, learner)
    yield from saver.finish(reason)


def set_up(run: RunFolder, device: torch.device) -> tuple[Prepared, Learner]:
    """Decide everything that a run leaves open, and make what learns, as it was at the last checkpoint.

    Raises
    ------
    SegNetError
        If something can't work.
    """
    if run.config.train.tensorboard:
        check_tensorboard()
    start_path = _start_model(run)
    start = read_info(start_path) if start_path else None
    _adopt_network(run, start)
    ready = prepare(run, device, start)
    resuming = _checkpoint(run).exists()
    learner = _new_learner(ready, device, start_path, resuming)
    if resuming:
        read_checkpoint(_checkpoint(run), learner)
    elif ready.config.train.find_rate:
        ready = _with_found_rate(ready, learner)
    run.set_config(ready.config)
    return ready, learner


def _with_found_rate(ready: Prepared, learner: Learner) -> Prepared:
    config = ready.config.train
    found = range_test(learner, lambda tried: draw_batch(tried, ready.lesson, config, 0.0)).steepest
    learner.config = config.replace(learning_rate=found)
    choices = {**ready.choices, "rate": f"{found:.1e}: at this learning rate the loss falls quickest."}
    return replace(ready, config=ready.config.replace(train=learner.config.explicit()), choices=choices)


def _learn(
    run: RunFolder, control: Control, ready: Prepared, learner: Learner, saver: Saver, write: Callable[[Row], None]
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
            write(event.row)
            saver.remember(event.best)
            if now - saved > _CHECKPOINT_SECONDS:
                saved = now
                yield from saver.save_checkpoint()
        view = control.view  # read once: the viewer may change it at any moment
        if view is not None and now >= next_preview and learner.counters.step >= _FIRST_PREVIEW_STEP:
            previews += 1
            # A preview that can't be written, such as over a file that is being read, must not end the training.
            with contextlib.suppress(OSError, SegNetError):
                yield from preview(run, view, ready, learner, previews)
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
    if not path.is_file() and not is_package(path):
        raise ConfigError(
            f"There are no weights {weights!r}.",
            "Use imagenet, none, a model file, or a file of encoder weights.",
        )
    try:
        members = read_info(path).members
    except ModelFileError:
        return None
    if members:
        raise ConfigError(
            f"{path} is an ensemble of {len(members)} models: only one model can be gone on with.",
            "Name one of the models that it was made of, such as a fold's run folder.",
        )
    write_atomically(run.start, model_bytes(path))
    return run.start


def _checkpoint(run: RunFolder) -> Path:
    return run.checkpoints / "last.safetensors"


def _adopt_network(run: RunFolder, start: ModelInfo | None) -> None:
    """Fine-tuning keeps the network of the model it starts from."""
    if start is None:
        return
    config = run.config
    asked = config.model.explicit()
    for key in ("network", "encoder", "norm"):
        if key in asked and asked[key] != getattr(start, key):
            raise ConfigError(
                f"The model to start from is a {start.network} ({start.encoder or 'no encoder'}, "
                f"{start.norm or 'its own'} normalization), but {key} = {asked[key]} was asked for.",
                f"Leave {key} out to fine-tune it, or --weights out to train from scratch.",
            )
    same = {"network": start.network, "encoder": start.encoder, "norm": start.norm, "options": dict(start.options)}
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
        norm=config.model.norm,
    )
    if start_path:
        info, trained = load_model(start_path)
        transfer(trained, network, _same_classes(info, ready))
    if config.train.deep_supervision:
        patch = per_axis(config.train.patch_size, len(network_spec(config.model.network).axes))
        network = DeepSupervised(network, ready.outputs, torch.zeros(1, ready.pairs[0].channels, *patch))
    return Learner(
        network,
        loss_function(config.train.loss, config.train.loss_options),
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
    return same_classes(info.classes, ready.config.data.classes)
