"""From a run folder to a lesson: data read and checked, everything decided, the configuration completed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_segnet import presets, volumes
from napari_segnet.axes import per_axis
from napari_segnet.config import DataConfig, PatchSize, RunConfig
from napari_segnet.data import checks, normalization
from napari_segnet.data.duplicates import Lookalikes, join_groups
from napari_segnet.data.folds import split_fold
from napari_segnet.data.labels import (
    IGNORE,
    INSTANCE_OUTPUTS,
    encode,
)
from napari_segnet.data.pairs import OpenedRecord, TrainingPair, close_files, open_pairs
from napari_segnet.data.resampling import at_one_size, at_zoom, fits
from napari_segnet.data.sampling import ImageCache, PatchSampler, read_window, validation_windows
from napari_segnet.data.split import Region, Split, split
from napari_segnet.devices import free_memory
from napari_segnet.errors import DataError
from napari_segnet.models.info import ModelInfo, same_classes
from napari_segnet.models.registry import network_spec
from napari_segnet.run import PairRecord, RunFolder
from napari_segnet.training.fingerprint import describe, fingerprint
from napari_segnet.training.fitting import fit_patch
from napari_segnet.training.forest import forest_guide, is_sparse
from napari_segnet.training.loop import Lesson
from napari_segnet.training.meaning import class_table, complete_data
from napari_segnet.training.weighing import border_map, check_border_weight, loss_weights

_MOST_VALIDATION_PIXELS = 16 * 256 * 256
_MOST_LOOKS = 200
"""Images that are looked at to see how bright images are."""


@dataclass(frozen=True)
class Prepared:
    """Everything that is decided before the first step."""

    config: RunConfig
    pairs: list[TrainingPair]
    targets: list[NDArray[np.uint8]]
    cache: ImageCache
    normalization: normalization.Normalization
    split: Split
    lesson: Lesson
    outputs: int
    weights: Tensor
    choices: dict[str, str]
    warnings: tuple[str, ...]
    fingerprint: dict[str, int | float | str]


def prepare(run: RunFolder, device: torch.device, start: ModelInfo | None = None) -> Prepared:
    """Read the data of a run, check it, and decide everything that is open.

    Parameters
    ----------
    run : RunFolder
    device : torch.device
        What the presets adapt to.
    start : ModelInfo, optional
        The model to start from: its normalization and classes are kept, new classes come after them.

    Raises
    ------
    DataError, ConfigError
        If something can't work, in a sentence.
    """
    spatial, seen_as = _axes(run, device, start)
    pairs, config, resized = _open(run, spatial, start)
    data, counts, words = complete_data(config.data, pairs, start, class_table(run))
    problems = checks.check_labels(counts, data, [c.value for c in start.classes] if start else ())
    _raise_first(problems)
    targets = [encode(pair.labels(), data) for pair in pairs]
    outputs = _outputs(data)
    data_print = fingerprint(pairs, targets, outputs, device)
    zoom, zoomed = _zoom(run, config.replace(data=data), data_print, pairs, start)
    if zoom != 1:
        pairs = at_zoom(pairs, zoom)
        targets = [encode(pair.labels(), data) for pair in pairs]
        data_print = fingerprint(pairs, targets, outputs, device)
    data = data.replace(zoom=zoom)
    config, choices = _choose(config.replace(data=data), data_print, start)
    seen = Lookalikes()
    fitted, image_problems = _look_at_images(pairs, config, seen)
    problems += image_problems
    _raise_first(problems)
    norm = start.normalization if start else fitted
    if start and (data.window is not None or data.normalization != "auto") and norm != fitted:
        choices["intensities"] = "scaled as the model to start from knows them, not as asked for."
    parts, copies = _divide(pairs, targets, config, seen)
    problems += copies
    cache = ImageCache(pairs, norm, limit=free_memory(torch.device("cpu")) // 3)
    spacing = data_print.spacing[-len(spatial) :]
    weights, weighed = loss_weights(_count(targets, parts.train, outputs), data, config.train.class_weights)
    if weighed:
        choices["weights"] = weighed
    lesson, guided = _lesson(pairs, cache, targets, parts, config, outputs, start, spacing)
    if guided:
        choices["guide"] = "few pixels are painted: a random forest's answer leads the first steps."
    if lesson.anchored:
        choices["guide"] = "few pixels are painted: elsewhere the model it starts from still has a say."
    return Prepared(
        config=config,
        pairs=pairs,
        targets=targets,
        cache=cache,
        normalization=norm,
        split=parts,
        lesson=lesson,
        outputs=outputs,
        weights=torch.from_numpy(weights),
        choices={"labels": words, **seen_as, **resized, **zoomed, **choices, "validation": parts.words},
        warnings=tuple(dict.fromkeys(p.text for p in problems)),
        fingerprint=describe(data_print, pairs, targets),
    )


def _open(
    run: RunFolder, spatial: str, start: ModelInfo | None
) -> tuple[list[TrainingPair], RunConfig, dict[str, str]]:
    """Open the pairs of a run, at one pixel size where that is asked for."""
    pairs = open_pairs(run.pairs, spatial)
    if start is not None and start.channels != pairs[0].channels:
        raise DataError(
            f"The model to start from was trained on {start.channels} channel(s), these images have "
            f"{pairs[0].channels}.",
            "Use images with the same channels, or train from scratch.",
        )
    return resample_pairs(pairs, run.config, start)


def _outputs(data: DataConfig) -> int:
    """Return how many classes the network tells apart."""
    outputs = INSTANCE_OUTPUTS if data.task == "instances" else len(data.classes)
    if outputs < 2:
        raise DataError("There is only one class.", "Paint a second one, or leave the background unpainted.")
    return outputs


def _zoom(
    run: RunFolder,
    config: RunConfig,
    data: presets.Fingerprint,
    pairs: Sequence[TrainingPair],
    start: ModelInfo | None,
) -> tuple[float, dict[str, str]]:
    """Return the size at which the network sees images, and a word on it where it was chosen here."""
    asked = config.data.explicit().get("zoom")
    if start is not None:
        words = "as large as the model to start from knows them"
        if asked not in (None, start.zoom):
            return start.zoom, {"images": f"{words}, not as asked for."}
        return start.zoom, {"images": f"{words}."} if start.zoom != 1 else {}
    # What has begun goes on as it is, also where an earlier version began it.
    if run.last.exists() or not (asked or all(fits(pair.channels, pair.shape) for pair in pairs)):
        return config.data.zoom, {}
    return presets.choose_zoom(config, data)


def _choose(config: RunConfig, data: presets.Fingerprint, start: ModelInfo | None) -> tuple[RunConfig, dict[str, str]]:
    """Fill in what the user hasn't set, and check that it goes together."""
    asked = config.train.explicit()
    config, choices = presets.resolve(config, data, fine_tunes=start is not None)
    check_border_weight(config)
    axes = 2 if data.depth is None else 3
    return fit_patch(config, axes, data.channels, data.outputs, asked="patch_size" in asked), choices


def _divide(
    pairs: Sequence[TrainingPair], targets: Sequence[NDArray[np.uint8]], config: RunConfig, seen: Lookalikes
) -> tuple[Split, list[checks.Problem]]:
    """Return what is learned from and what it is judged on, and a warning of images that look the same."""
    data, seed = config.data, config.train.seed
    groups, copies = _groups(pairs, seen)
    if data.folds:
        parts = split_fold(targets, groups, data.fold, data.folds, seed)
    else:
        half = [side // 2 for side in per_axis(config.train.patch_size, targets[0].ndim)]
        parts = split(targets, groups, data.val_fraction, half, seed)
    return parts, [checks.Problem("warning", copies)] if copies else []


def resample_pairs(
    pairs: list[TrainingPair], config: RunConfig, start: ModelInfo | None
) -> tuple[list[TrainingPair], RunConfig, dict[str, str]]:
    """Bring images to one pixel size where that is asked for, or the model to start from knows them so.

    What was found is written down: a resumed run, and the model, have to keep it.
    """
    wanted: float | tuple[float, ...] | str | None = config.data.pixel_size
    units = None
    if start is not None:
        wanted, units = (start.pixel_size, start.units) if start.resampled else (None, None)
    pairs, size, words = at_one_size(pairs, wanted, units)
    if size is None and config.data.pixel_size is None:
        return pairs, config, {}
    config = config.replace(data={**config.data.explicit(), "pixel_size": size})
    return pairs, config, {"pixels": words or "as they are: so the model to start from knows them."}


def _axes(run: RunFolder, device: torch.device, start: ModelInfo | None) -> tuple[str, dict[str, str]]:
    """Return what the network sees at once, planes or volumes, and a word on it where it was chosen here."""
    if start is not None:
        return start.axes, {}
    if "network" in run.config.model.explicit():
        return network_spec(run.config.model.network).axes, {}
    close_files()
    if not run.pairs:
        return "YX", {}  # said where the pairs are opened
    axes, words = volumes.axes_for(
        [_stack_print(record) for record in run.pairs], device.type != "cpu", run.config.train.minutes
    )
    return axes, {"axes": words} if words else {}


def _stack_print(record: PairRecord) -> volumes.StackPrint:
    if "Z" not in record.axes:
        return volumes.StackPrint(0, None)
    images = OpenedRecord(record).images
    planes = dict(zip(images.axes, images.shape, strict=True))["Z"]
    size = record.pixel_size
    ratio = size[0] / max(size[1:]) if size is not None and len(size) == 3 and min(size) > 0 else None
    return volumes.StackPrint(planes, ratio)


def _lesson(
    pairs: Sequence[TrainingPair],
    cache: ImageCache,
    targets: Sequence[NDArray[np.uint8]],
    parts: Split,
    config: RunConfig,
    outputs: int,
    start: ModelInfo | None,
    spacing: tuple[float, ...],
) -> tuple[Lesson, bool]:
    """Return what there is to learn from, and whether a forest guides the first steps."""
    sampler = PatchSampler(cache, targets, parts.train, config.train.seed, config.train.balanced)
    if config.train.border_weight:
        sampler.weigh_by([border_map(pairs[r.pair].labels()[r.slices], config, spacing) for r in parts.train])
    sparse = is_sparse(targets, parts.train)
    known, missing = _known_classes(start, config.data, outputs)
    knows = known > 0
    # A model that has learned these classes already knows more than a forest would tell it.
    wanted = config.train.forest_guide and sparse and not knows
    guide = forest_guide(cache, targets, parts.train, outputs, config.train.seed) if wanted else {}
    if guide:
        sampler.guide_by(guide)
    lesson = Lesson(
        sampler,
        _validation(cache, targets, parts, config),
        spacing=spacing,
        frequencies=torch.from_numpy(_count(targets, parts.train, outputs).sum(axis=0)).float(),
        instances=config.data.task == "instances",
        first_class=0 if config.data.unlabelled == "ignore" and config.data.task == "semantic" else 1,
        sparse=sparse,
        knows=knows,
        anchored=sparse and knows and not missing,
    )
    return lesson, bool(guide)


def _count(targets: Sequence[NDArray[np.uint8]], regions: Sequence[Region], outputs: int) -> NDArray[np.int64]:
    """Count annotated pixels by region and class: (R, K)."""
    counts = [np.bincount(targets[r.pair][r.slices].ravel(), minlength=IGNORE + 1)[:outputs] for r in regions]
    return np.array(counts, np.int64).reshape(-1, outputs)


def _known_classes(start: ModelInfo | None, data: DataConfig, outputs: int) -> tuple[int, int]:
    """Count the classes that the model to start from has learned already, and those that are new to it."""
    if data.task == "instances":
        known = outputs if start else 0
    else:
        known = len(same_classes(start.classes, data.classes)) if start else 0
    return known, outputs - known


def _groups(pairs: Sequence[TrainingPair], seen: Lookalikes) -> tuple[list[str], str]:
    """Return what must not be divided by the split, and a warning of images that look the same."""
    groups = [pair.group for pair in pairs]
    if len(set(groups)) > 1:
        seen.look_at_rest(pairs)
    return join_groups(groups, [pair.shape for pair in pairs], seen.alike())


def _some(pairs: Sequence[TrainingPair]) -> list[int]:
    """Return the numbers of at most some hundred pairs, evenly spread."""
    return [round(i) for i in np.linspace(0, len(pairs) - 1, min(len(pairs), _MOST_LOOKS))]


def _look_at_images(
    pairs: Sequence[TrainingPair], config: RunConfig, seen: Lookalikes
) -> tuple[normalization.Normalization, list[checks.Problem]]:
    """Fit the normalization and look for what can't be learned from: at one look, because decoding takes longest."""
    found: list[list[checks.Problem]] = []
    images = _checked(pairs, config.train.patch_size, found, seen)
    fitted = normalization.fit(images, config.data.normalization, config.data.window)
    blank = [any(p.level == "error" for p in of_image) for of_image in found]
    # Black planes at the end of a stack are no reason to refuse the others.
    return fitted, [p if all(blank) else replace(p, level="warning") for of_image in found for p in of_image]


def _checked(
    pairs: Sequence[TrainingPair], patch: PatchSize, found: list[list[checks.Problem]], seen: Lookalikes
) -> Iterator[Any]:
    """Yield images one at a time, and add what is wrong with each to `found`."""
    for number in _some(pairs):
        image = pairs[number].image()
        found.append(checks.check_image(pairs[number].name, image, patch))
        seen.look(number, image)
        yield image


def _raise_first(problems: Sequence[checks.Problem]) -> None:
    for problem in problems:
        if problem.level == "error":
            raise DataError(problem.text)


def _validation(
    cache: ImageCache, targets: Sequence[NDArray[np.uint8]], parts: Split, config: RunConfig
) -> list[tuple[Tensor, Tensor]]:
    size = config.train.patch_size
    if not parts.validation:
        return []
    pixels = math.prod(per_axis(size, targets[0].ndim))
    windows = validation_windows(targets, parts.validation, size, max(8, _MOST_VALIDATION_PIXELS // pixels))
    batches = []
    for start in range(0, len(windows), config.train.batch_size):
        read = [
            read_window(cache, targets[region.pair], region, corner, size)
            for region, corner in windows[start : start + config.train.batch_size]
        ]
        images, labels = (np.stack(part) for part in zip(*read, strict=True))
        batches.append((torch.from_numpy(images), torch.from_numpy(labels).long()))
    return batches
