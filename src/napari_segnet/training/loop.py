"""The training loop, from top to bottom. It knows nothing of files, Qt or JSON: it yields events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_segnet import events
from napari_segnet.axes import times
from napari_segnet.config import TrainConfig
from napari_segnet.data.sampling import PatchSampler
from napari_segnet.devices import empty_cache, is_out_of_memory
from napari_segnet.errors import SegNetError
from napari_segnet.training import hard_patches
from napari_segnet.training.augment import augment, window_size
from napari_segnet.training.learner import Batch, Learner, confusion, dice_of
from napari_segnet.training.schedule import pace

_STATISTICS_BATCHES = 4
_GUIDE_WEIGHT = 1.0
_GUIDE_ENDS = 0.6
_GUIDE_STEPS = 400
"""The forest's answer has full weight at the start, and none after this share of the run, and so many steps."""
_SELF_TRAINING_RAMP = 60
"""Steps until the averaged network has its full say: at first it knows nothing."""
_MEMORY_WEIGHT = 3.0
"""Weight of what a model to start from was certain of, beside 1 for what it says while it learns."""


@dataclass(frozen=True)
class Lesson:
    """What there is to learn from.

    `validation` holds batches of images (B, C, [Z], Y, X) and targets (B, [Z], Y, X), cut once; `first_class` is the
    first class that counts for the mean Dice (1 where class 0 is background); `spacing` is the size of a pixel along
    each axis, in any unit; `frequencies` are the annotated pixels of each class, (K,); `instances` says that targets
    are those of objects. Where annotation is `sparse`, the network's
    own averaged answer is a soft target for the pixels that nobody painted; `knows` says that it is worth something
    from the first step on, because learning starts from a trained model. Where that model knows every class, what it
    says at the start is a soft target too: the lesson is `anchored`.
    """

    sampler: PatchSampler
    validation: Sequence[tuple[Tensor, Tensor]]
    first_class: int
    spacing: tuple[float, ...] = (1.0, 1.0)
    frequencies: Tensor | None = None
    instances: bool = False
    sparse: bool = False
    knows: bool = False
    anchored: bool = False


def train(
    learner: Learner, lesson: Lesson, config: TrainConfig, should_stop: Callable[[], bool]
) -> Iterator[events.Event]:
    """Train until the epochs or the minutes are over, nothing improves any more, or it is told to stop.

    Parameters
    ----------
    learner : Learner
        Changed in place; new, or as it was at a checkpoint.
    lesson : Lesson
    config : TrainConfig
    should_stop : callable
        Asked after every step.

    Yields
    ------
    Event
        `Step` after each step, `Epoch` after each epoch (when the learner may be saved), which the end of the minutes
        may cut short, `Notice`, and one `Finished` at the end.

    Raises
    ------
    SegNetError
        If the loss is not a number, or memory doesn't suffice for a single patch.
    """
    counters = learner.counters
    budget = None if config.minutes is None else config.minutes * 60
    total = None if config.epochs is None else config.epochs * config.steps_per_epoch
    before = counters.seconds
    started = time.perf_counter()

    def end_epoch(left: float | None) -> events.Epoch:
        row = _finish_epoch(learner, lesson, config)
        counters.seconds = before + time.perf_counter() - started
        return events.Epoch(row, counters.best_epoch == row["epoch"], counters.seconds, left)

    while True:
        progress = _progress(counters.step, total, counters.seconds, budget)
        if progress >= 1:
            if counters.loss_steps:  # what was learned since the last epoch counts, too
                yield end_epoch(0.0)
            yield events.Finished("completed" if total and counters.step >= total else "time")
            return
        if should_stop():
            yield events.Finished("stopped")
            return
        loss = _try_step(learner, lesson, config, progress)
        if loss is None:
            yield _halve_batch(learner)
            continue
        counters.seconds = before + time.perf_counter() - started
        left = _seconds_left(counters.step, total, counters.seconds, budget)
        yield events.Step(counters.step, loss, counters.seconds, left)

        if counters.step % config.steps_per_epoch == 0:
            yield end_epoch(left)
            if len(counters.history) - counters.best_epoch >= config.patience:
                yield events.Finished("early-stopping")
                return


def _progress(step: int, total: int | None, seconds: float, budget: float | None) -> float:
    by_steps = step / total if total else 0.0
    by_time = seconds / budget if budget else 0.0
    return max(by_steps, by_time)


def _seconds_left(step: int, total: int | None, seconds: float, budget: float | None) -> float | None:
    ends = []
    if total:
        ends.append(seconds / max(step, 1) * (total - step))
    if budget:
        ends.append(budget - seconds)
    return max(0.0, min(ends)) if ends else None


def draw_batch(learner: Learner, lesson: Lesson, config: TrainConfig, progress: float) -> Batch:
    """Return the augmented patches of the learner's next step, on its device."""
    step = learner.counters.step
    # As many as a step takes, however many fit into memory at once.
    number = config.batch_size * config.accumulate
    size = window_size(config.patch_size, config.augment, lesson.spacing)
    again = hard_patches.worst(learner.counters.hard, hard_patches.how_many(config.repeat_worst, step, number))
    windows = lesson.sampler.draw(step, number, size, again)
    # In a short run the network doesn't get beyond the forest: then the guide never fades completely.
    faded = min(1.0, progress / _GUIDE_ENDS, step / _GUIDE_STEPS)
    forest = _GUIDE_WEIGHT * (1 - faded) if windows.guide is not None else 0.0
    patches = augment(
        torch.from_numpy(windows.images).to(learner.device),
        torch.from_numpy(np.ascontiguousarray(windows.targets)).to(learner.device),
        config.patch_size,
        config.augment,
        torch.Generator().manual_seed(config.seed * 1_000_003 + step),
        torch.from_numpy(windows.guide).to(learner.device).float() if windows.guide is not None and forest else None,
        spacing=lesson.spacing,
        frequencies=lesson.frequencies,
        instances=lesson.instances,
        first_class=lesson.first_class,
        weights=torch.from_numpy(windows.weights).to(learner.device).float() if windows.weights is not None else None,
    )
    targets = patches.targets.long()
    guides = [forest * patches.guide] if patches.guide is not None else []
    ramp = 1.0 if lesson.knows else min(1.0, step / _SELF_TRAINING_RAMP)
    if own := config.self_training * ramp * lesson.sparse:
        guides.append(own * learner.belief(patches.plain))
    if (remembered := learner.remembered(patches.plain, targets)) is not None:
        guides.append(_MEMORY_WEIGHT * remembered)
    guide = torch.stack(guides).sum(dim=0) if guides else None
    return Batch(patches.images, targets, guide, patches.weights, windows.places if config.repeat_worst else ())


def _try_step(learner: Learner, lesson: Lesson, config: TrainConfig, progress: float) -> float | None:
    """Do one step; returns its loss, None where memory ran out. Then nothing here holds on to tensors any more."""
    try:
        batch = draw_batch(learner, lesson, config, progress)
        return learner.step(batch, pace(config, learner.counters.step, progress, learner.counters.history))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _halve_batch(learner: Learner) -> events.Notice:
    """Go on in halves after memory ran out; raises SegNetError where one patch is too much already.

    Gradients are summed up over the parts of a batch, so a step still learns from as many patches.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    empty_cache(learner.device)
    if learner.counters.batch_size == 1:
        size = learner.config.patch_size
        side = size if isinstance(size, int) else times(size)
        raise SegNetError(
            f"Memory doesn't suffice for one patch of {side} pixels.",
            "Choose smaller patches (train.patch_size), a narrower network, or the preset fast.",
        )
    learner.counters.batch_size //= 2
    parts = math.ceil(learner.config.batch_size * learner.config.accumulate / learner.counters.batch_size)
    return events.Notice(
        f"Memory ran out: going on with batches of {learner.counters.batch_size}, {parts} of them a step."
    )


def statistics_batches(learner: Learner, lesson: Lesson, config: TrainConfig) -> Iterator[Tensor]:
    """Yield unchanged patches to measure batch-norm statistics on: (B, C, P, P) each, the same at every call."""
    for number in range(_STATISTICS_BATCHES):
        windows = lesson.sampler.draw(2**40 + number, learner.counters.batch_size, config.patch_size)
        yield torch.from_numpy(windows.images).to(learner.device)


def _finish_epoch(learner: Learner, lesson: Lesson, config: TrainConfig) -> dict[str, float | int | None]:
    """Validate, and write the epoch's row of the history."""
    counters = learner.counters
    network = learner.refresh_average(lambda: statistics_batches(learner, lesson, config))
    row: dict[str, float | int | None] = {
        "epoch": len(counters.history) + 1,
        "loss": counters.loss_sum / max(counters.loss_steps, 1),
        "val_loss": None,
        "learning_rate": float(learner.optimizer.param_groups[0]["lr"]),
        "dice": dice_of(np.array(counters.confusion), lesson.first_class),
        "val_dice": None,
    }
    if lesson.validation:
        matrix = np.zeros((len(learner.weights), len(learner.weights)), np.int64)
        losses = []
        with torch.inference_mode():
            for images, targets in _in_parts(lesson.validation, counters.batch_size):
                logits = learner.forward(network, images.to(learner.device))
                known = targets.to(learner.device)
                losses.append(float(learner.loss(logits, known, learner.weights)))
                matrix += confusion(logits.argmax(dim=1), known, len(learner.weights))
        row["val_loss"] = float(np.mean(losses))
        row["val_dice"] = dice_of(matrix, lesson.first_class)
    counters.history.append(row)
    counters.loss_sum, counters.loss_steps = 0.0, 0
    counters.confusion = np.zeros_like(counters.confusion).tolist()
    _keep_best(learner, row)
    return row


def _in_parts(batches: Sequence[tuple[Tensor, Tensor]], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches in parts of at most `size` images: memory may have run out since they were cut."""
    for images, targets in batches:
        for start in range(0, len(images), size):
            yield images[start : start + size], targets[start : start + size]


def _keep_best(learner: Learner, row: dict[str, float | int | None]) -> None:
    """Without validation the last weights are the best: the loss on augmented patches says little."""
    counters = learner.counters
    score = row["val_dice"]
    if score is None or counters.best is None or score >= counters.best:
        counters.best = None if score is None else float(score)
        counters.best_epoch = int(row["epoch"] or 0)
