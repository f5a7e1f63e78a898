"""Comparing files with files: ``metrics.csv``, ``summary.json`` and ``report.html``."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_segnet.config import LabelClass
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.evaluation.overlap import mean
from napari_segnet.evaluation.report import Row, thumbnail, write_report
from napari_segnet.evaluation.scores import Labels, Rules, Scores, agreed, make_rules, nothing_counts, plain, score
from napari_segnet.io.images import open_labels
from napari_segnet.io.pairing import Pairing, Paths, file_stem, list_images, pair_files
from napari_segnet.run import write_atomically

_NOT_LABELS = ("_probabilities", "_uncertainty")
_MEASURES = ("dice", "iou", "precision", "recall")
_OF_CLASS = (*_MEASURES, "pixel_accuracy")
_WHOLE = "image_pixel_accuracy"


def evaluate_files(
    predictions: Paths,
    labels: Paths,
    out: Path | str,
    *,
    unlabelled: Literal["background", "ignore"] | None = None,
    instances: bool | None = None,
    classes: Sequence[LabelClass] | None = None,
    ignore_values: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compare predicted label files with reference files, paired by name, and write what was found.

    Parameters
    ----------
    predictions, labels : Path, or several
        Files or folders. Predictions that end with ``_probabilities`` or ``_uncertainty`` are left out.
    out : Path
        Folder for ``metrics.csv`` (a row an image and class), ``summary.json`` and ``report.html``.
    unlabelled, instances, classes, ignore_values
        As for `napari_segnet.evaluation.evaluate`; what isn't given is guessed from all files together.
    on_progress : callable, optional
        Called with the number of images done and of all.

    Returns
    -------
    dict
        What ``summary.json`` holds. Means are over images; an image without a score (no class in either) is
        left out of them.

    Raises
    ------
    DataError
        If a prediction has another size than its reference, nothing pairs, or a file can't be used.
    SegNetError
        If `out` can't be written.
    """
    pairing = pair_files(_label_files(predictions), labels, with_itself=True)
    rules = make_rules(_read_pairs(pairing), unlabelled, instances, classes, ignore_values)
    rows = []
    for (path, _), (prediction, truth) in zip(pairing.pairs, _read_pairs(pairing), strict=True):
        scores = score(prediction, truth, rules)
        rows.append(Row(file_stem(path), scores, thumbnail(prediction, truth, rules)))
        if on_progress is not None:
            on_progress(len(rows), len(pairing.pairs))
    summary = _summarize(rows, rules, pairing)
    _write(Path(out), rows, rules, summary)
    return summary


def _label_files(predictions: Paths) -> list[Path]:
    files = list_images(predictions, check_stems=False)
    kept = [path for path in files if not file_stem(path).lower().endswith(_NOT_LABELS)]
    if not kept:
        raise DataError(
            f"There are no label images among the predictions, only {files[0].name} and the like.",
            "Predict first: STEM.tif holds the labels.",
        )
    return kept


def _read_pairs(pairing: Pairing) -> Iterator[tuple[Labels, Labels]]:
    for prediction_path, truth_path in pairing.pairs:
        prediction = open_labels(prediction_path)
        truth = open_labels(truth_path)
        if prediction.shape != truth.shape:
            raise DataError(
                f"{prediction_path.name} has the shape {prediction.shape}, {truth_path.name} {truth.shape}.",
                "A prediction and its reference need the same size.",
            )
        yield np.asarray(prediction.array), np.asarray(truth.array)


def _summarize(rows: list[Row], rules: Rules, pairing: Pairing) -> dict[str, Any]:
    everything: list[Scores] = [row.scores for row in rows]
    accuracy = mean(s.pixel_accuracy for s in everything)
    if math.isnan(accuracy):
        raise nothing_counts("The reference labels")
    summary: dict[str, Any] = {name: agreed(mean(getattr(s, name) for s in everything)) for name in _MEASURES}
    summary["pixel_accuracy"] = accuracy
    summary["mean_iou_with_background"] = None
    if rules.unlabelled == "background":
        summary["mean_iou_with_background"] = plain(
            mean(s.mean_iou_with_background or 0.0 for s in everything if s.mean_iou_with_background is not None)
        )
    if rules.instances:
        for name in ("ap50", "ap"):
            summary[name] = agreed(mean(getattr(s, name) for s in everything))
        summary["truth_objects"] = sum(s.truth_objects or 0 for s in everything)
        summary["predicted_objects"] = sum(s.predicted_objects or 0 for s in everything)
    summary["per_class"] = {}
    for value in rules.values:
        scores = [s.per_class[value] for s in everything]
        summary["per_class"][str(value)] = {
            "value": value,
            "name": scores[0].name,
            **{name: plain(mean(getattr(s, name) for s in scores)) for name in _OF_CLASS},
            "images": sum(not math.isnan(s.dice) for s in scores),
            "truth_pixels": sum(s.truth_pixels for s in scores),
            "predicted_pixels": sum(s.predicted_pixels for s in scores),
        }
    summary |= {
        "images": len(rows),
        "task": "instances" if rules.instances else "semantic",
        "unlabelled": rules.unlabelled,
        "ignore_values": list(rules.ignore_values),
        "unpaired_predictions": [path.name for path in pairing.unpaired_images],
        "unpaired_labels": [path.name for path in pairing.unpaired_labels],
    }
    return summary


def _write(out: Path, rows: list[Row], rules: Rules, summary: dict[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "metrics.csv", _table(rows, rules))
        write_atomically(out / "summary.json", json.dumps(summary, indent=2, allow_nan=False))
        write_atomically(out / "report.html", write_report(rows, summary))
    except OSError as error:
        raise SegNetError(
            f"{out} can't be written: {error.strerror or error}.", "Choose another --out, or free some room."
        ) from error


def _table(rows: list[Row], rules: Rules) -> str:
    per_image = ["ap50", "ap"] if rules.instances else []
    columns = ["image", "class", "name", *_OF_CLASS, "truth_pixels", "predicted_pixels", _WHOLE, *per_image]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for value in rules.values:
            scores = row.scores.per_class[value]
            cells = {name: getattr(scores, name) for name in (*_OF_CLASS, "truth_pixels", "predicted_pixels")}
            cells |= {_WHOLE: row.scores.pixel_accuracy, **{name: getattr(row.scores, name) for name in per_image}}
            cells = {name: "" if plain(cell) is None else cell for name, cell in cells.items()}
            writer.writerow({"image": row.name, "class": value, "name": scores.name, **cells})
    return text.getvalue()
