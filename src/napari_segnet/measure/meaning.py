"""What label values stand for: classes with names, the probability that belongs to each, and what doesn't count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike, times
from napari_segnet.config import LabelClass, Task, Unlabelled
from napari_segnet.data.labels import count_values, guess_meaning
from napari_segnet.errors import DataError
from napari_segnet.io.labels import as_labels

Labels = NDArray[np.unsignedinteger[Any]]
OBJECT = 1
"""The class of numbered objects."""
# Pixels that are looked at where the order of probabilities isn't said.
_SOME = 200_000


@dataclass(frozen=True)
class LabelMeaning:
    """What the values of some label images mean; the same for all images of a set.

    Attributes
    ----------
    task : {"semantic", "instances"}
        Whether values are classes, or numbers of objects.
    values : tuple of int
        Values of all classes that can occur, in ascending order; 0 is among them if it means background. Numbered
        objects are of class 1.
    names : dict of int to str
    ignore_values : tuple of int
        Values of pixels that don't count, 0 among them if it means "not annotated".
    """

    task: Task
    values: tuple[int, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    ignore_values: tuple[int, ...] = ()
    classes: tuple[LabelClass, ...] = ()

    def name(self, value: int) -> str:
        """Return the name of a class."""
        return self.names.get(value, "background" if value == 0 else f"class {value}")

    def semantic(self, labels: Labels) -> Labels:
        """Return labels whose values are classes: of numbered objects, 0 and 1; what doesn't count stays."""
        if self.task == "semantic":
            return labels
        ignored = np.isin(labels, [value for value in self.ignore_values if value])
        found = (labels > 0).astype(labels.dtype)
        return np.where(ignored, labels, found) if ignored.any() else found


def check_labels(labels: ArrayLike) -> Labels:
    """Return a label image of a plane or a volume as unsigned integers.

    Raises
    ------
    DataError
        If it has other than two or three axes, no pixels, or no whole numbers.
    """
    if len(labels.shape) not in (2, 3) or 0 in labels.shape:
        raise DataError(
            f"Labels of the shape {tuple(labels.shape)} can't be measured.",
            "Give a plane (Y, X) or a volume (Z, Y, X).",
        )
    found: Labels = np.asarray(as_labels(labels))
    return found


def find_meaning(
    labels: Sequence[Labels],
    *,
    counts: Mapping[int, int] | None = None,
    task: Task | None = None,
    unlabelled: Unlabelled = "background",
    ignore_values: Iterable[int] = (),
    classes: Sequence[LabelClass] = (),
) -> LabelMeaning:
    """Find out what label values mean.

    Parameters
    ----------
    labels : sequence of ([Z], Y, X) arrays
        Those to look at; some painted ones will do.
    counts : mapping of int to int, optional
        Value -> pixels, over all images; default: over `labels`.
    task : {"semantic", "instances"}, optional
        Guessed where it isn't given: numbered objects, where there are at least five values, each in one piece.
    unlabelled : {"background", "ignore"}
        What 0 means.
    ignore_values : iterable of int
        Further values that don't count.
    classes : sequence of LabelClass
        Names of the values. They can occur even where no pixel has them: they then cover nothing.

    Returns
    -------
    LabelMeaning
    """
    counts = count_values(labels) if counts is None else counts
    ignored = {*ignore_values} | ({0} if unlabelled == "ignore" else set())
    if task is None:
        task = guess_meaning(labels, {v: n for v, n in counts.items() if v not in ignored}).task
    background = {0} if unlabelled == "background" else set()
    if task == "instances":
        # Of a class table only what isn't background can be the objects.
        names = [c.name for c in classes if c.value not in (ignored | {0})]
        found = {OBJECT: names[0] if len(names) == 1 else "object"}
        return LabelMeaning(task, tuple(sorted({OBJECT} | background)), found, tuple(sorted(ignored)), tuple(classes))
    values = {*counts, *(c.value for c in classes)} | background
    names_of = {c.value: c.name for c in classes}
    return LabelMeaning(task, tuple(sorted(values - ignored)), names_of, tuple(sorted(ignored)), tuple(classes))


@dataclass(frozen=True)
class ClassProbabilities:
    """Probabilities (K, [Z], Y, X), and the class that each channel belongs to."""

    array: ArrayLike
    order: tuple[int, ...]

    def of(self, value: int) -> NDArray[np.floating[Any]]:
        """Return the probability of a class, ([Z], Y, X).

        Raises
        ------
        DataError
            If none of the channels belongs to it.
        """
        if value in self.order:
            return np.asarray(self.array[self.order.index(value)])
        if value == OBJECT and self.order[0] == 0:
            return 1 - np.asarray(self.array[0])
        raise DataError(
            f"The labels have the value {value}, but the probabilities are those of {list(self.order)}.",
            "Name the model that both are from, or a classes.json with all of its classes.",
        )


def find_probabilities(probabilities: ArrayLike, meaning: LabelMeaning, labels: Labels) -> ClassProbabilities:
    """Find out which channel belongs to which class.

    Parameters
    ----------
    probabilities : (K, [Z], Y, X)
        As `predict` writes them: a channel for each class of the model, in its order; for numbered objects the
        background first, and objects are what isn't background. One channel alone is that of class 1, or of the only
        class that isn't background.
    meaning : LabelMeaning
        Its `classes` say the order of the channels. Without them channels stand for 0, 1, 2 ... or for 1, 2, 3 ...;
        where the labels leave both open, for what agrees better with the labels.
    labels : ([Z], Y, X)

    Raises
    ------
    DataError
        If their size isn't that of the labels, or it can't be said which channel belongs to which class.
    """
    if tuple(probabilities.shape[1:]) != labels.shape:
        raise DataError(
            f"The probabilities have the shape {tuple(probabilities.shape)}, the labels {labels.shape}.",
            "Probabilities have a channel for each class, then the axes of the labels.",
        )
    channels = probabilities.shape[0]
    if meaning.task == "instances":
        # Besides the background there may be the inside and the boundary of objects.
        return ClassProbabilities(probabilities, (0,) if channels > 1 else (OBJECT,))
    if channels == 1:
        others = [value for value in meaning.values if value != 0]
        return ClassProbabilities(probabilities, (others[0] if len(others) == 1 else OBJECT,))
    order = tuple(c.value for c in meaning.classes if c.value not in meaning.ignore_values)
    if order and 0 not in order and len(order) == channels - 1:
        order = (0, *order)
    if not order:
        present = [v for v in np.unique(labels).tolist() if v not in meaning.ignore_values]
        starts = [s for s in (0, 1) if all(s <= value < channels + s for value in present)]
        best = max(starts, key=lambda start: _agreement(probabilities, labels, start), default=0)
        order = tuple(range(best, best + channels)) if starts else ()
    if len(order) != channels:
        raise DataError(
            f"It isn't clear which of {channels} probabilities belongs to which of the classes "
            f"{list(order or meaning.values)}.",
            "Name the model, or a classes.json with all of its classes.",
        )
    return ClassProbabilities(probabilities, order)


def _agreement(probabilities: ArrayLike, labels: Labels, start: int) -> float:
    """Return the share of pixels whose likeliest class is the label, if channels stand for `start`, `start` + 1 ..."""
    step = max(1, int(np.ceil((labels.size / _SOME) ** (1 / labels.ndim))))
    thin = (slice(None, None, step),) * labels.ndim
    likeliest = np.asarray(probabilities[(slice(None), *thin)]).argmax(axis=0) + start
    return float(np.mean(likeliest == labels[thin]))


def check_size(shape: tuple[int, ...], labels: NDArray[Any], name: str) -> None:
    """Raise `DataError` if something has another shape than the labels."""
    if tuple(shape) != labels.shape:
        raise DataError(
            f"{name} has the size {times(shape)}, the labels {times(labels.shape)}.", "Both need the same size."
        )
