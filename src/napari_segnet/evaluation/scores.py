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
from napari_segnet.evaluation.measures import MEASURES, list_measures
from napari_segnet.evaluation.overlap import ClassScore, Confusion
from napari_segnet.evaluation.surface import SurfaceOptions, SurfaceScore, surface_scores

Labels = NDArray[np.unsignedinteger[Any]]
MEANS = ("dice", "iou", "precision", "recall", "specificity", "f2", "f05", "voe", "rvd")
"""Measures of an image that are means over its classes."""

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

    `napari_segnet.evaluation.measures` says how each number is counted.

    Attributes
    ----------
    dice, iou, precision, recall : float
        Means over the classes. The background (value 0) is left out of them where `unlabelled` is
        ``"background"``, as are classes that are in neither image. 1 if no class is in either: they agree.
    specificity, f2, f05, voe, rvd : float
        As these; 0 for `voe` and `rvd` if no class is in either.
    pixel_accuracy : float
        Share of the pixels, background included, that have the right value. Pixels that are not annotated don't
        count.
    mean_iou_with_background : float or None
        The mean IoU with the background as a class; None where there is no background class.
    class_accuracy, frequency_weighted_iou, kappa, mcc : float
        Over all values, background included.
    per_class : dict of int to ClassScore
        Scores of each value, background included.
    confusion : Confusion
        Pixels by true and predicted value.
    averaged : tuple of int
        The values that means are over.
    unlabelled : {"background", "ignore"}
        What 0 was taken for.
    ap50, ap : float or None
        For objects: average precision at an IoU of 0.5, and its mean over 0.50, 0.55 ... 0.95
        (see `napari_segnet.evaluation.objects`). 1 if there are no objects in either.
    truth_objects, predicted_objects : int or None
        For objects: their numbers.
    surface : dict of int to SurfaceScore, or None
        If it was asked for: distances between the surfaces of each value in `averaged`.
    """

    dice: float
    iou: float
    precision: float
    recall: float
    pixel_accuracy: float
    mean_iou_with_background: float | None
    per_class: dict[int, ClassScore]
    unlabelled: Unlabelled
    specificity: float
    f2: float
    f05: float
    voe: float
    rvd: float
    class_accuracy: float
    frequency_weighted_iou: float
    kappa: float
    mcc: float
    confusion: Confusion
    averaged: tuple[int, ...]
    ap50: float | None = None
    ap: float | None = None
    truth_objects: int | None = None
    predicted_objects: int | None = None
    surface: dict[int, SurfaceScore] | None = None

    def of_class(self, value: int) -> dict[str, float]:
        """Return what was measured of a class: measure -> number, in the order of `MEASURES`."""
        sources = [self.per_class[value], *([self.surface[value]] if self.surface and value in self.surface else [])]
        found = {name: getattr(source, name) for source in sources for name in MEASURES if hasattr(source, name)}
        return {m.name: found[m.name] for m in list_measures(of="class") if m.name in found}

    def of_image(self) -> dict[str, float]:
        """Return what was measured of the image: measure -> number, in the order of `MEASURES`.

        Distances are means over `averaged`: infinite if a class is missed, NaN if no class is in either image.
        """
        found: dict[str, Any] = {name: getattr(self, name, None) for name in MEASURES}
        if self.surface is not None:
            per_class = list(self.surface.values())
            found |= {m.name: overlap.mean(getattr(s, m.name) for s in per_class) for m in list_measures("surface")}
        return {m.name: found[m.name] for m in list_measures(of="image") if found[m.name] is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold; NaN and infinity become None."""
        tree: dict[str, Any] = plain_tree(asdict(self))
        return tree


def plain(value: Any) -> Any:
    """Return None for NaN, anything else unchanged."""
    return None if isinstance(value, float) and math.isnan(value) else value


def plain_tree(value: Any) -> Any:
    """Return a tree of dictionaries and sequences that JSON can hold: text as keys, None for NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): plain_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_tree(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def score(prediction: Labels, truth: Labels, rules: Rules, surface: SurfaceOptions | None = None) -> Scores:
    """Compare two label images of one shape; scores that don't exist are NaN.

    With `surface`, which takes longer, distances between surfaces are measured, too; of objects, those of all
    together.
    """
    prediction, truth = same_white(prediction, rules), same_white(truth, rules)
    found: objects.ObjectScores | None = None
    counted = None
    if rules.ignore_values and (rules.instances or surface is not None):
        counted = ~np.isin(truth, rules.ignore_values)
    if rules.instances:
        if counted is not None:
            prediction, truth = np.where(counted, prediction, 0), np.where(counted, truth, 0)
        found = objects.score_objects(prediction, truth)
        prediction, truth = (prediction > 0).astype(np.uint8), (truth > 0).astype(np.uint8)
    if rules.instances and counted is not None:
        matrix = overlap.confusion_matrix(prediction[counted], truth[counted], rules.values)
    else:
        matrix = overlap.confusion_matrix(prediction, truth, rules.values, rules.ignore_values)
    per_class = overlap.class_scores(matrix, rules.values, rules.names)
    kept = [s for s in per_class.values() if rules.instances or s.value not in rules.ignore_values]
    foreground = [s for s in kept if s.value != 0] if rules.unlabelled == "background" else kept
    averaged = tuple(s.value for s in foreground)
    means = {name: overlap.mean(getattr(s, name) for s in foreground) for name in MEANS}
    return Scores(
        **means,
        pixel_accuracy=overlap.pixel_accuracy(matrix),
        mean_iou_with_background=overlap.mean(s.iou for s in kept) if rules.unlabelled == "background" else None,
        class_accuracy=overlap.class_accuracy(matrix),
        frequency_weighted_iou=overlap.frequency_weighted_iou(matrix),
        kappa=overlap.kappa(matrix),
        mcc=overlap.mcc(matrix),
        per_class=per_class,
        confusion=overlap.make_confusion(matrix, rules.values, {s.value: s.name for s in per_class.values()}),
        averaged=averaged,
        unlabelled=rules.unlabelled,
        ap50=found.ap50 if found else None,
        ap=found.ap if found else None,
        truth_objects=found.truth_objects if found else None,
        predicted_objects=found.predicted_objects if found else None,
        surface=surface_scores(prediction, truth, averaged, surface, counted) if surface is not None else None,
    )


def mean_scores(everything: Sequence[Scores], value: int | None = None) -> dict[str, float]:
    """Return the means over images of each measure, in the order of `MEASURES`.

    Parameters
    ----------
    everything : sequence of Scores
        One an image.
    value : int, optional
        A class; by default the measures of images.

    Returns
    -------
    dict of str to float
        Images without a number are left out, and so are infinite distances: say beside them how many there are
        (`count_missed`). NaN if nothing is left. Where no class is in any image, the measures of images in `MEANS`
        have their best value: they agree.
    """
    rows = [scores.of_image() if value is None else scores.of_class(value) for scores in everything]
    columns = {name: [row[name] for row in rows if name in row] for name in MEASURES}
    means = {
        name: overlap.mean(number for number in numbers if not math.isinf(number))
        for name, numbers in columns.items()
        if numbers
    }
    if value is None and math.isnan(means.get("dice", 0)):
        means |= {name: MEASURES[name].best for name in MEANS}
    return means


def count_missed(everything: Sequence[Scores], value: int | None = None) -> int:
    """Return in how many images a class (by default any of those in means) is in one of both sides only."""

    def missed(score: ClassScore) -> bool:
        return (score.truth_pixels == 0) != (score.predicted_pixels == 0)

    return sum(
        any(missed(scores.per_class[v]) for v in (scores.averaged if value is None else [value]))
        for scores in everything
    )


def agreed(value: float) -> float:
    """Return 1 for NaN: where there is nothing in either image, they agree."""
    return 1.0 if math.isnan(value) else value


def nothing_counts(name: str) -> DataError:
    """Make the error for references in which no pixel counts."""
    return DataError(f"{name}: no pixel is annotated.", "Paint some, or choose that 0 is background.")
