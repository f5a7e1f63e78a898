"""The tables of an evaluation as CSV: a row an image, an image and class, or a class."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from napari_segnet.evaluation.calibration import ProbabilityCounts
from napari_segnet.evaluation.overlap import Confusion
from napari_segnet.evaluation.scores import Rules
from napari_segnet.reports.comparison import Comparison
from napari_segnet.reports.evaluation import Compared
from napari_segnet.reports.measuring import Result

_FIRST = ("dice", "iou", "precision", "recall", "pixel_accuracy", "truth_pixels", "predicted_pixels")
"""Columns of ``metrics.csv`` that have always been there, in their order."""


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write rows as CSV with a head; None and NaN are empty, infinity is ``inf``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(row.get(name)) for name in columns} for row in rows)
    return text.getvalue()


def _plain(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def metrics_table(results: Sequence[Result], rules: Rules) -> str:
    """Return ``metrics.csv``: a row an image and class; numbers of an image begin with ``image_``, but for AP."""
    rows = []
    for result in results:
        of_image = {f"image_{name}": value for name, value in result.scores.of_image().items()}
        for name in ("ap50", "ap"):
            if f"image_{name}" in of_image:
                of_image[name] = of_image.pop(f"image_{name}")
        for value in rules.values:
            score = result.scores.per_class[value]
            row: dict[str, Any] = {"image": result.job.name, "class": value, "name": score.name}
            row |= {"truth_pixels": score.truth_pixels, "predicted_pixels": score.predicted_pixels}
            row |= result.scores.of_class(value)
            if value in result.topology:
                row |= result.topology[value].to_dict()
            rows.append(row | of_image)
    known = {name for row in rows for name in row}
    first = ["image", "class", "name", *_FIRST, "image_pixel_accuracy", *(n for n in ("ap50", "ap") if n in known)]
    columns = [*first, *dict.fromkeys(name for row in rows for name in row if name not in first)]
    return csv_text(rows, columns)


def objects_table(results: Sequence[Result]) -> str:
    """Return ``objects.csv``: a row an image, with average precision, precision and recall at each threshold."""
    rows = []
    for result in results:
        if result.objects is None:
            continue
        row: dict[str, Any] = {"image": result.job.name, **result.objects.to_dict()}
        curve = result.objects.curve
        numbers = zip(curve.thresholds, curve.average_precisions, curve.precisions, curve.recalls, strict=True)
        for threshold, average, precision, recall in numbers:
            row[f"ap_{threshold:.2f}"] = average
            row[f"precision_{threshold:.2f}"], row[f"recall_{threshold:.2f}"] = precision, recall
        rows.append(row)
    return csv_text(rows, list(rows[0]) if rows else ["image"])


def confusion_table(confusion: Confusion) -> str:
    """Return ``confusion.csv``: a row a true class, a column a predicted one; pixels of all images."""
    titles = [_title(value, confusion.names) for value in confusion.values]
    rows = [
        {"true": title, **dict(zip(titles, counts, strict=True))}
        for title, counts in zip(titles, confusion.counts, strict=True)
    ]
    return csv_text(rows, ["true", *titles])


def _title(value: int, names: Mapping[int, str]) -> str:
    """Return a name that no other value has."""
    name = names.get(value, str(value))
    return name if name == str(value) else f"{value} {name}"


def calibration_table(counts: ProbabilityCounts, names: Mapping[int, str]) -> str:
    """Return ``calibration.csv``: a row a bin of the reliability diagrams, of the class that wins and of each class."""
    rows = []
    for value in (None, *counts.values):
        bins = counts.reliability(value)
        columns = (bins.lower, bins.upper, bins.pixels, bins.confidence, bins.accuracy)
        for low, high, pixels, confidence, accuracy in zip(*(column.tolist() for column in columns), strict=True):
            name = "the class that wins" if value is None else names.get(value, str(value))
            rows.append(
                {
                    "class": value, "name": name, "from": low, "to": high, "pixels": pixels,
                    "mean_probability": confidence, "share_right": accuracy,
                }
            )  # fmt: skip
    return csv_text(rows, ["class", "name", "from", "to", "pixels", "mean_probability", "share_right"])


def agreement_table(compared: Sequence[Compared]) -> str:
    """Return ``agreement.csv``: a row a class (and the number of objects), with all numbers of agreement."""
    rows = []
    for one in compared:
        row: dict[str, Any] = {"class": one.value, "quantity": one.quantity, "unit": one.unit, "n": one.agreement.n}
        tree = asdict(one.agreement)
        for part in (
            "bland_altman",
            "bland_altman_percent",
            "correlation",
            "t_test",
            "wilcoxon",
            "least_squares",
            "deming",
        ):
            numbers = tree[part] or {}
            row |= {f"{part}_{name}": value for name, value in numbers.items() if isinstance(value, int | float | str)}
        for form, icc in tree["icc"].items():
            row |= {f"{form} {name}": icc[name] for name in ("value", "low", "high", "p")}
        rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(rows, [name for name in columns if name == "n" or not name.endswith("_n")])


def regions_table(results: Sequence[Result], names: Mapping[int, str]) -> str:
    """Return ``thirds.csv``: a row an image, part of its stack and class."""
    rows = []
    for result in results:
        for part in result.regions:
            numbers = {key: value for key, value in asdict(part).items() if key not in ("region", "value")}
            about = {"image": result.job.name, "region": part.region, "class": part.value}
            rows.append({**about, "name": names.get(part.value, str(part.value)), **numbers})
    return csv_text(rows, list(rows[0]) if rows else ["image", "region", "class"])


def comparison_table(comparison: Comparison) -> str:
    """Return ``comparison.csv``: a row an image and prediction, with all measures of images."""
    return csv_text(comparison.rows, list(dict.fromkeys(name for row in comparison.rows for name in row)))


def ranking_table(comparison: Comparison) -> str:
    """Return ``ranking.csv``: a row a prediction, the best first."""
    rows = [{"measure": comparison.measure, **row} for row in comparison.ranking.table()]
    return csv_text(rows, list(rows[0]))


def pairs_table(comparison: Comparison) -> str:
    """Return ``pairs.csv``: a row two predictions, compared on the same images."""
    rows = [{"measure": comparison.measure, **asdict(pair)} for pair in comparison.ranking.pairs]
    return csv_text(rows, [name for name in rows[0] if name != "notes"])
