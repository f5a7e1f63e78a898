"""Sentences about annotation and images that can't work, or that will work badly."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_segnet.axes import times
from napari_segnet.config import DataConfig, LabelClass
from napari_segnet.data.normalization import sparsely

_LIKE_STROKES = 0.05
_FEW = 50
"""Annotated pixels below which a class is hardly learned."""


@dataclass(frozen=True)
class Problem:
    """One sentence: an ``"error"`` keeps training from starting, a ``"warning"`` doesn't."""

    level: Literal["error", "warning"]
    text: str


def check_labels(counts: Mapping[int, int], config: DataConfig, learned: Collection[int] = ()) -> list[Problem]:
    """Look at painted pixels by label value.

    Parameters
    ----------
    counts : mapping of int to int
        Label value -> number of pixels, over all images (`labels.count_values`).
    config : DataConfig
        What the labels mean. An empty class table stands for the values that occur.
    learned : collection of int
        Values that a model to start from knows already: they needn't be painted.

    Returns
    -------
    list of Problem
    """
    known = {v: n for v, n in counts.items() if v not in config.ignore_values and n > 0}
    painted = {v: n for v, n in known.items() if v != 0}
    if not painted:
        return [Problem("error", "Nothing is painted yet: paint some strokes of each class in the labels layer.")]
    if config.task == "instances":
        return _check_instances(painted, known, config)
    if len(counts) > 64 and max(counts) <= 255 and not config.classes:
        text = f"The labels hold {len(counts)} grey values: this looks like an image or a JPEG mask, not like labels."
        return [Problem("error", text)]
    if config.unlabelled == "ignore":
        return _check_strokes(painted, config.classes, learned)
    if 0 not in known and len(painted) < 2:
        return [Problem("error", "Every pixel has the same class: leave the background unpainted (0).")]
    return [*_like_strokes(painted, known, config.classes), *_few_pixels(painted, config.classes, learned)]


def _check_instances(painted: Mapping[int, int], known: Mapping[int, int], config: DataConfig) -> list[Problem]:
    if config.unlabelled == "ignore":
        if 1 not in painted or len(painted) < 2:
            text = "Objects with unpainted pixels ignored need background strokes (label 1) and objects (2, 3, ...)."
            return [Problem("error", text)]
    elif 0 not in known:
        return [Problem("error", "The objects fill every pixel: there is no background (0) to learn.")]
    return []


def _check_strokes(
    painted: Mapping[int, int], classes: Sequence[LabelClass], learned: Collection[int]
) -> list[Problem]:
    if len(painted) == 1 and len(learned) < 2:
        value = next(iter(painted))
        text = (
            f"Only class {value} is painted: paint strokes of at least one other class too, "
            "or say that unpainted pixels are background."
        )
        return [Problem("error", text)]
    return _few_pixels(painted, classes, learned)


def _like_strokes(painted: Mapping[int, int], known: Mapping[int, int], classes: Sequence[LabelClass]) -> list[Problem]:
    """Warn of strokes of one class that look like a mask."""
    share = sum(painted.values()) / sum(known.values())
    if len(painted) != 1 or share >= _LIKE_STROKES:
        return []
    value = next(iter(painted))
    name = next((c.name for c in classes if c.value == value), f"class {value}")
    text = (
        f"Only {name} is painted, on {share:.1%} of the pixels, and all others count as background. If these are "
        "strokes, paint some of the background too, as a class of its own."
    )
    return [Problem("warning", text)]


def _few_pixels(painted: Mapping[int, int], classes: Sequence[LabelClass], learned: Collection[int]) -> list[Problem]:
    names = {c.value: c.name for c in classes}
    problems = [
        Problem("warning", f"{names.get(value, f'class {value}')} has only {number} painted pixels.")
        for value, number in painted.items()
        if number < _FEW
    ]
    problems += [
        Problem("warning", f"{name} is in the class table, but nowhere painted: it can't be learned.")
        for value, name in names.items()
        if value != 0 and value not in painted and value not in learned
    ]
    return problems


def check_image(name: str, image: Any, patch: int | Sequence[int]) -> list[Problem]:
    """Look for values that can't be learned from.

    Parameters
    ----------
    name : str
        How the user calls the image.
    image : array-like (C, [Z], Y, X)
        Looked at in every n-th row and column, at most about a million values.
    patch : int, or sequence of int
        Side of a training patch, pixels, or its length along each axis.

    Returns
    -------
    list of Problem
    """
    sample = np.asarray(image[sparsely(image.shape, 1e6)])
    problems = []
    if sample.dtype.kind == "f":
        bad = float(1 - np.isfinite(sample).mean())
        if bad == 1:
            return [Problem("error", f"{name} holds no numbers, only NaN or infinite values.")]
        if bad > 0:
            text = f"{name}: {bad:.2%} of the values are NaN or infinite; they are taken as dark."
            problems.append(Problem("warning", text))
    for channel, values in enumerate(sample):
        finite = values[np.isfinite(values)] if sample.dtype.kind == "f" else values
        if finite.size and finite.min() == finite.max():
            where = f" (channel {channel})" if len(sample) > 1 else ""
            problems.append(Problem("warning", f"{name}{where} has the same value everywhere: nothing to learn from."))
    if len(problems) >= len(sample) and all("same value" in p.text for p in problems):
        return [Problem("error", f"{name} has the same value everywhere: there is nothing to learn from.")]
    lengths = tuple(image.shape[1:])
    sides = [patch] * len(lengths) if isinstance(patch, int) else patch
    # A volume is often a little shorter than a patch along an axis: sides are rounded up to what the network takes.
    enough = 1 if len(lengths) == 2 else 2
    if any(enough * length < side for length, side in zip(lengths, sides, strict=True)):
        text = f"{name} is {times(lengths)} pixels, less than a patch of {times(sides)}: it is mirrored at its borders."
        problems.append(Problem("warning", text))
    return problems
