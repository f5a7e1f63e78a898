"""Scores of one image: what the labels mean, and the numbers that follow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_segnet.config import LabelClass, Unlabelled
from napari_segnet.data.labels import guess_meaning
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation import objects, overlap
from napari_segnet.evaluation.overlap import ClassScore

Labels = NDArray[np.unsignedinteger[Any]]
# 255 is how many programs write the foreground of a mask.
_WHITE = 255


@dataclass(frozen=True)
class Rules:
    """How labels are compared; the same for all images of a set.

    Attributes
    ----------
    unlabelled : {"background", "ignore"}
        What 0 means in the reference.
    instances : bool
        Whether each object has its own number.
    white : bool
        Whether one side writes 255 for the only class and the other 1: both count as 1.
    values : tuple of int
        All classes that occur in the set.
    names : dict
        Names of values.
    ignore_values : tuple of int
        Values of the reference that don't count, 0 among them if it means "not annotated".
    """

    unlabelled: Unlabelled
    instances: bool
    white: bool
    values: tuple[int, ...]
    names: dict[int, str] = field(default_factory=dict)
    ignore_values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scores:
    """How well labels agree with a reference.

    Attributes
    ----------
    dice, iou, precision, recall : float
        Means over the classes. The background (value 0) is left out of them where `unlabelled` is
        ``"background"``, as are classes that are in neither image. 1 if no class is in either: they agree.
    pixel_accuracy : float
        Share of the pixels, background included, that have the right value. Pixels that are not annotated don't
        count.
    mean_iou_with_background : float or None
        The mean IoU with the background as a class; None where there is no background class.
    per_class : dict of int to ClassScore
        Scores of each value, background included.
    unlabelled : {"background", "ignore"}
        What 0 was taken for.
    ap50, ap : float or None
        For objects: average precision at an IoU of 0.5, and its mean over 0.50, 0.55 ... 0.95
        (see `napari_segnet.evaluation.objects`). 1 if there are no objects in either.
    truth_objects, predicted_objects : int or None
        For objects: their numbers.
    """

    dice: float
    iou: float
    precision: float
    recall: float
    pixel_accuracy: float
    mean_iou_with_background: float | None
    per_class: dict[int, ClassScore]
    unlabelled: Unlabelled
    ap50: float | None = None
    ap: float | None = None
    truth_objects: int | None = None
    predicted_objects: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold; NaN becomes None."""
        tree = asdict(self)
        tree["per_class"] = {
            str(value): {key: plain(item) for key, item in asdict(score).items()}
            for value, score in self.per_class.items()
        }
        return {key: plain(item) for key, item in tree.items()}


def plain(value: Any) -> Any:
    """Return None for NaN, anything else unchanged."""
    return None if isinstance(value, float) and math.isnan(value) else value


def make_rules(
    pairs: Iterable[tuple[Labels, Labels]],
    unlabelled: Literal["background", "ignore"] | None,
    instances: bool | None,
    classes: Sequence[LabelClass] | None,
    ignore_values: Sequence[int],
) -> Rules:
    """Find out from all pairs (prediction, truth) what the labels mean; the arguments win over guesses."""
    if unlabelled not in (None, "background", "ignore"):
        raise ConfigError(f"unlabelled = {unlabelled!r}.", "It is 'background', 'ignore' or None.")
    predicted: set[int] = set()
    true: set[int] = set()
    some: list[Labels] = []
    for prediction, truth in pairs:
        predicted.update(overlap.present_values(prediction))
        true.update(overlap.present_values(truth))
        if instances is None and len(some) < 10:
            some += [_renumbered(truth), _renumbered(prediction)]
    true -= set(ignore_values)
    if instances is None:
        sides = (some[::2], some[1::2])
        instances = any(guess_meaning(side).task == "instances" for side in sides)
    if instances:
        return Rules("background", True, False, (0, 1), {1: "object"}, tuple(ignore_values))
    ones = {frozenset(predicted - {0}), frozenset(true - {0})}
    white = ones == {frozenset({1}), frozenset({_WHITE})}
    if unlabelled is None:
        # Models of strokes know no 0; with one class only, 0 has to be the other.
        strokes = 0 in true and 0 not in predicted and len((predicted | true) - {0}) > 1
        unlabelled = "ignore" if strokes and not white else "background"
    left_out = {*ignore_values} | ({0} if unlabelled == "ignore" else set())
    values = {0, 1} if white else (predicted | true)
    if unlabelled == "background":
        values = values | {0}
    # Predictions of a value that doesn't count in the reference are mistakes, and need their column.
    kept = tuple(sorted(values - (left_out - predicted)))
    names = {c.value: c.name for c in classes or ()}
    return Rules(unlabelled, False, white, kept, names, tuple(sorted(left_out)))


def _renumbered(labels: Labels) -> Labels:
    """Return labels whose largest value is no larger than it need be: guessing takes memory for each number."""
    if labels.dtype.itemsize <= 2:
        return labels
    values, index = np.unique(labels, return_inverse=True)
    first = 0 if values[0] == 0 else 1
    return (index.reshape(labels.shape) + first).astype(np.uint32)


def same_white(labels: Labels, rules: Rules) -> Labels:
    """Return labels with 255 as 1 where `rules` say that both mean the same."""
    return np.where(labels == _WHITE, 1, labels).astype(labels.dtype) if rules.white else labels


def score(prediction: Labels, truth: Labels, rules: Rules) -> Scores:
    """Compare two label images of one shape; scores that don't exist are NaN."""
    prediction, truth = same_white(prediction, rules), same_white(truth, rules)
    found: objects.ObjectScores | None = None
    if rules.instances:
        outside = np.isin(truth, rules.ignore_values)
        if outside.any():
            prediction, truth = np.where(outside, 0, prediction), np.where(outside, 0, truth)
        found = objects.score_objects(prediction, truth)
        seen = ~outside
        prediction, truth = (prediction > 0).astype(np.uint8)[seen], (truth > 0).astype(np.uint8)[seen]
    ignored = () if rules.instances else rules.ignore_values
    matrix = overlap.confusion_matrix(prediction, truth, rules.values, ignored)
    per_class = overlap.class_scores(matrix, rules.values, rules.names)
    averaged = [s for s in per_class.values() if s.value not in rules.ignore_values]
    foreground = averaged
    if rules.unlabelled == "background":
        foreground = [s for s in averaged if s.value != 0]
    return Scores(
        dice=overlap.mean(s.dice for s in foreground),
        iou=overlap.mean(s.iou for s in foreground),
        precision=overlap.mean(s.precision for s in foreground),
        recall=overlap.mean(s.recall for s in foreground),
        pixel_accuracy=overlap.pixel_accuracy(matrix),
        mean_iou_with_background=overlap.mean(s.iou for s in averaged) if rules.unlabelled == "background" else None,
        per_class=per_class,
        unlabelled=rules.unlabelled,
        ap50=found.ap50 if found else None,
        ap=found.ap if found else None,
        truth_objects=found.truth_objects if found else None,
        predicted_objects=found.predicted_objects if found else None,
    )


def agreed(value: float) -> float:
    """Return 1 for NaN: where there is nothing in either image, they agree."""
    return 1.0 if math.isnan(value) else value


def nothing_counts(name: str) -> DataError:
    """Make the error for references in which no pixel counts."""
    return DataError(f"{name}: no pixel is annotated.", "Paint some, or choose that 0 is background.")
