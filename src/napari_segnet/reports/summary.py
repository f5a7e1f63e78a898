"""What ``summary.json`` holds: means over images with their confidence intervals, and what was counted of all together.

An image without a score (no class in either) is left out of a mean. Infinite distances, of classes that are in one
image only, are left out too, and counted as `missed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from napari_segnet.evaluation import overlap
from napari_segnet.evaluation.bootstrap import RESAMPLES, Interval, mean_intervals
from napari_segnet.evaluation.calibration import ProbabilityCounts
from napari_segnet.evaluation.curves import best_threshold, bin_counts, precision_recall_curve, roc_curve
from napari_segnet.evaluation.measures import list_measures
from napari_segnet.evaluation.overlap import Confusion
from napari_segnet.evaluation.panoptic import PanopticQuality, pooled
from napari_segnet.evaluation.scores import (
    Rules,
    agreed,
    count_missed,
    mean_scores,
    nothing_counts,
    plain,
    plain_tree,
)
from napari_segnet.reports.measuring import Result

OBJECT_NUMBERS = (
    "object_precision", "object_recall", "object_f1", "pq", "sq", "rq", "aji", "aji_plus", "splits", "merges",
    "centroid_error", "count_error", "absolute_count_error", "relative_count_error",
)  # fmt: skip
"""Numbers of objects whose means over images are told, besides `ap50` and `ap`."""
REGION_NUMBERS = ("dice", "iou", "truth_volume", "predicted_volume")
"""Numbers of parts of stacks."""
OBJECT_COUNTS = ("truth_objects", "predicted_objects", "matched", "missed", "invented", "splits", "merges")
"""Numbers of objects that are summed up over images."""
_MANY_IMAGES = 2000
_FEWER_DRAWS = 1000


@dataclass(frozen=True)
class Means:
    """Means over images, with intervals: of images, classes, objects, the topology of classes, parts of stacks."""

    image: dict[str, Interval]
    classes: dict[int, dict[str, Interval]]
    objects: dict[str, Interval]
    topology: dict[int, dict[str, Interval]]
    regions: dict[tuple[str, int], dict[str, Interval]]


def find_means(results: Sequence[Result], rules: Rules) -> Means:
    """Return all means over images, with bootstrap confidence intervals of 95 %.

    Parameters
    ----------
    results : sequence of Result
    rules : Rules
    """
    rows = [result.scores.of_image() for result in results]
    columns: dict[tuple[Any, ...], list[float]] = {("image", name): _column(rows, name) for name in _names(rows)}
    for value in rules.values:
        found = [result.scores.of_class(value) for result in results]
        columns |= {("class", value, name): _column(found, name) for name in _names(found)}
        shapes = [r.topology[value].to_dict() if value in r.topology else {} for r in results]
        columns |= {("topology", value, name): _column(shapes, name) for name in _names(shapes)}
    if rules.instances:
        numbers = [result.objects.to_dict() if result.objects else {} for result in results]
        columns |= {("objects", name): _column(numbers, name) for name in OBJECT_NUMBERS}
    for region, value in dict.fromkeys((part.region, part.value) for result in results for part in result.regions):
        parts = [_part(result, region, value) for result in results]
        columns |= {("region", region, value, name): _column(parts, name) for name in REGION_NUMBERS}
    # A large set has narrow intervals anyway, and takes long to draw from.
    draws = RESAMPLES if len(results) <= _MANY_IMAGES else _FEWER_DRAWS
    keys = {str(place): key for place, key in enumerate(columns)}
    intervals = mean_intervals({place: columns[key] for place, key in keys.items()}, resamples=draws)
    means = Means({}, {value: {} for value in rules.values}, {}, {}, {})
    for place, interval in intervals.items():
        kind, *rest = keys[place]
        if kind == "image":
            means.image[rest[0]] = interval
        elif kind == "objects":
            means.objects[rest[0]] = interval
        elif kind == "class":
            means.classes[rest[0]][rest[1]] = interval
        elif kind == "topology":
            means.topology.setdefault(rest[0], {})[rest[1]] = interval
        else:
            means.regions.setdefault((rest[0], rest[1]), {})[rest[2]] = interval
    return means


def _part(result: Result, region: str, value: int) -> dict[str, Any]:
    """Return the numbers of a class in a part of a stack."""
    found = [asdict(part) for part in result.regions if (part.region, part.value) == (region, value)]
    return found[0] if found else {}


def _names(rows: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    """Return a number of each row; NaN where there is none, or none that a mean could be made of."""
    values = (row.get(name) for row in rows)
    return [float(v) if v is not None and math.isfinite(v) else math.nan for v in values]


def summarize(results: Sequence[Result], rules: Rules, means: Means) -> dict[str, Any]:
    """Return what ``summary.json`` holds of the scores.

    Raises
    ------
    DataError
        If no pixel of any reference counts.
    """
    if math.isnan(overlap.mean(result.scores.pixel_accuracy for result in results)):
        raise nothing_counts("The reference labels")
    everything = [result.scores for result in results]
    summary: dict[str, Any] = {"mean_iou_with_background": None, **mean_scores(everything)}
    for name in ("ap50", "ap"):
        if name in summary:
            summary[name] = agreed(summary[name])
    summary["confidence"] = _ends(means.image)
    summary["per_class"] = {str(value): _of_class(value, results, means) for value in rules.values}
    summary["missed_images"] = count_missed(everything)
    confusion = pooled_confusion(results)
    summary["pooled"] = _pooled(confusion, rules)
    summary["confusion"] = {"values": list(confusion.values), "counts": [list(row) for row in confusion.counts]}
    if rules.instances:
        summary |= _of_objects(results, means)
    if means.regions:
        summary["thirds"] = [
            {
                "region": region,
                "class": value,
                **{name: plain(interval.value) for name, interval in numbers.items()},
                "confidence": _ends(numbers),
            }
            for (region, value), numbers in means.regions.items()
        ]
    tree: dict[str, Any] = plain_tree(summary)
    return tree


def _ends(intervals: dict[str, Interval]) -> dict[str, list[float]]:
    """Return the ends of the intervals that exist."""
    return {name: [i.low, i.high] for name, i in intervals.items() if math.isfinite(i.low) and math.isfinite(i.high)}


def _of_class(value: int, results: Sequence[Result], means: Means) -> dict[str, Any]:
    scores = [result.scores.per_class[value] for result in results]
    found: dict[str, Any] = {"value": value, "name": scores[0].name}
    found |= {name: plain(interval.value) for name, interval in means.classes[value].items()}
    found |= {name: plain(interval.value) for name, interval in means.topology.get(value, {}).items()}
    return found | {
        "missed_images": count_missed([result.scores for result in results], value),
        "images": sum(not math.isnan(score.dice) for score in scores),
        "truth_pixels": sum(score.truth_pixels for score in scores),
        "predicted_pixels": sum(score.predicted_pixels for score in scores),
        "confidence": _ends({**means.classes[value], **means.topology.get(value, {})}),
    }


def pooled_confusion(results: Sequence[Result]) -> Confusion:
    """Return the confusion matrix of all images together."""
    return reduce(add, (result.scores.confusion for result in results))


def _pooled(confusion: Confusion, rules: Rules) -> dict[str, Any]:
    """Return the overlap of all pixels together: large images, and those with much of a class, weigh more."""
    matrix = confusion.matrix
    classes = overlap.class_scores(matrix, confusion.values, rules.names)
    kept = [c for c in classes.values() if rules.instances or c.value not in rules.ignore_values]
    foreground = [c for c in kept if c.value != 0] if rules.unlabelled == "background" else kept
    names = [m.name for m in list_measures("overlap", of="class")]
    return {
        **{name: overlap.mean(getattr(c, name) for c in foreground) for name in names if name not in ("kappa", "mcc")},
        "pixel_accuracy": overlap.pixel_accuracy(matrix),
        "class_accuracy": overlap.class_accuracy(matrix),
        "frequency_weighted_iou": overlap.frequency_weighted_iou(matrix),
        "kappa": overlap.kappa(matrix),
        "mcc": overlap.mcc(matrix),
        "per_class": {str(c.value): {name: getattr(c, name) for name in names} for c in kept},
    }


def _of_objects(results: Sequence[Result], means: Means) -> dict[str, Any]:
    found = [result.objects for result in results if result.objects is not None]
    totals = {name: sum(getattr(objects, name) for objects in found) for name in OBJECT_COUNTS}
    qualities = [_quality(result) for result in results]
    together = pooled(quality for quality in qualities if quality is not None)
    numbers = {name: plain(interval.value) for name, interval in means.objects.items()}
    return {
        "truth_objects": totals.pop("truth_objects"),
        "predicted_objects": totals.pop("predicted_objects"),
        "objects": {
            **numbers,
            "confidence": _ends(means.objects),
            "totals": totals,
            "pooled": {"pq": together.pq, "sq": together.sq, "rq": together.rq},
        },
    }


def _quality(result: Result) -> PanopticQuality | None:
    """Return the counts behind the panoptic quality of an image."""
    objects = result.objects
    if objects is None:
        return None
    total = objects.truth_objects + objects.predicted_objects
    if not total:
        return PanopticQuality(0, 0, 0, 0.0)
    matches = round(objects.rq * total / 2)
    return PanopticQuality(
        matches, objects.predicted_objects - matches, objects.truth_objects - matches, objects.pq * total / 2
    )


def pooled_probability(results: Sequence[Result]) -> ProbabilityCounts | None:
    """Return what was counted of the probabilities of all images; None if no image has any."""
    counts = [result.probability for result in results if result.probability is not None]
    return reduce(add, counts) if counts else None


def summarize_probability(counts: ProbabilityCounts, rules: Rules, images: int) -> dict[str, Any]:
    """Return ROC AUC, average precision, Brier score, ECE and the best threshold of each class.

    Parameters
    ----------
    counts : ProbabilityCounts
        Of all images together.
    rules : Rules
    images : int
        How many images have probabilities.
    """
    per_class: dict[str, Any] = {}
    for value in counts.values:
        bins = bin_counts(counts, value)
        best = best_threshold(bins)
        per_class[str(value)] = {
            "roc_auc": roc_curve(bins).area,
            "average_precision": precision_recall_curve(bins).area,
            "brier": counts.brier(value),
            "ece": counts.ece(value),
            "best_threshold": best.threshold,
            "dice_at_best_threshold": best.score,
            "dice_at_half": best.score_at_half,
        }
    shown = [per_class[str(value)] for value in counts.values if value != 0 or rules.unlabelled == "ignore"]
    tree: dict[str, Any] = plain_tree(
        {
            "images": images,
            "roc_auc": overlap.mean(c["roc_auc"] for c in shown),
            "average_precision": overlap.mean(c["average_precision"] for c in shown),
            "brier": counts.brier(),
            "ece": counts.ece(),
            "classwise_ece": counts.classwise_ece(),
            "per_class": per_class,
        }
    )
    return tree


def object_curves(results: Sequence[Result]) -> tuple[tuple[float, ...], dict[str, list[float]]]:
    """Return thresholds of the IoU, and the means over images of AP, precision, recall and F1 at each."""
    curves = [result.objects.curve for result in results if result.objects is not None]
    names = {"AP": "average_precisions", "precision": "precisions", "recall": "recalls", "F1": "f1s"}
    found = {}
    for title, name in names.items():
        values = np.array([getattr(curve, name) for curve in curves])
        found[title] = [overlap.mean(column.tolist()) for column in values.T]
    return curves[0].thresholds, found
