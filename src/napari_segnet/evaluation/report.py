"""The report: one HTML file that needs no other, with a table and a small picture of each image."""

from __future__ import annotations

import base64
import colorsys
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_segnet.evaluation.scores import Labels, Rules, Scores, same_white

_SIDE = 128
_MOST_PICTURES = 200
# Differences: right background, right foreground, missed, invented, another class, doesn't count.
_DIFFERENCE = ["#000000", "#d9d9d9", "#3182bd", "#e6550d", "#c51b8a", "#4d4d4d"]
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; border-bottom: 1px solid #ddd; }
td { text-align: right; font-variant-numeric: tabular-nums; } td:first-child, th:first-child { text-align: left; }
img { image-rendering: pixelated; display: block; } .key span { padding: 0 .5rem; margin-right: .4rem; color: #fff; }
.note { color: #666; }
"""


@dataclass(frozen=True)
class Row:
    """One image of the report; `picture` is a PNG."""

    name: str
    scores: Scores
    picture: bytes


def thumbnail(prediction: Labels, truth: Labels, rules: Rules) -> bytes:
    """Draw the reference, the prediction and their differences side by side.

    Parameters
    ----------
    prediction, truth : (..., Y, X) integer arrays
        Of a stack, the middle plane is drawn.
    rules : Rules
        How they are compared.

    Returns
    -------
    bytes
        A PNG, each of its three parts at most 128 pixels wide and high.
    """
    middle = tuple(n // 2 for n in truth.shape[:-2])
    step = math.ceil(max(truth.shape[-2:]) / _SIDE)
    small_truth = same_white(truth[middle][::step, ::step], rules)
    small = same_white(prediction[middle][::step, ::step], rules)
    difference = np.full(small.shape, 4, np.uint8)
    # Objects have other numbers on either side: what counts is that there is one.
    difference[((small > 0) & (small_truth > 0)) if rules.instances else (small == small_truth)] = 1
    difference[(small == 0) & (small_truth == 0)] = 0
    difference[(small == 0) & (small_truth != 0)] = 2
    difference[(small != 0) & (small_truth == 0)] = 3
    difference[np.isin(small_truth, rules.ignore_values)] = 5
    gap = np.full((small.shape[0], 4), 255, np.uint8)
    parts = [_colour_index(small_truth), gap, _colour_index(small), gap, difference + 249]
    picture = Image.fromarray(np.concatenate(parts, axis=1))
    picture.putpalette(_palette().tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _colour_index(labels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.where(labels == 0, 0, 1 + (labels.astype(np.int64) - 1) % 240).astype(np.uint8)


def _palette() -> NDArray[np.uint8]:
    """Return 256 colours: black, 240 well apart, the differences, white."""
    colours = np.zeros((256, 3))
    for i in range(1, 241):
        colours[i] = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.65, 1.0 - 0.3 * (i % 3) / 2)
    for i, colour in enumerate(_DIFFERENCE):
        colours[249 + i] = [int(colour[j : j + 2], 16) / 255 for j in (1, 3, 5)]
    colours[255] = 1
    return (255 * colours).astype(np.uint8)


def write_report(rows: Sequence[Row], summary: dict[str, Any]) -> str:
    """Return the HTML text of the report."""
    objects = summary["task"] == "instances"
    measures = ["dice", "iou", "pixel_accuracy", "precision", "recall", *(["ap50", "ap"] if objects else [])]
    heads = [_TITLES[name] for name in measures]
    overall = _table(heads, [[_number(summary[name]) for name in measures]])
    classes = _table(
        ["Class", "Dice", "IoU", "Pixel accuracy", "Precision", "Recall", "Images"],
        [
            [html.escape(f"{c['name']}" if c["name"] == value else f"{c['name']} ({value})")]
            + [_number(c[name]) for name in ("dice", "iou", "pixel_accuracy", "precision", "recall")]
            + [str(c["images"])]
            for value, c in summary["per_class"].items()
        ],
    )
    # The worst first: they are what one wants to look at. Images without a score come last.
    order = sorted(rows, key=lambda row: (math.isnan(row.scores.dice), row.scores.dice))
    images = _table(
        ["Image", *heads, "Reference, prediction, differences"],
        [
            [html.escape(row.name), *(_number(getattr(row.scores, name)) for name in measures), _picture(row, i)]
            for i, row in enumerate(order)
        ],
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Evaluation of {len(rows)} "
        f"image{'' if len(rows) == 1 else 's'}</h1>\n{overall}\n{_notes(summary)}\n"
        f"<h2>Classes</h2>\n{classes}\n<h2>Images, worst first</h2>\n{_key()}\n{images}\n</body></html>\n"
    )


_TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "pixel_accuracy": "Pixel accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "ap50": "AP50",
    "ap": "AP 0.50-0.95",
}


def _notes(summary: dict[str, Any]) -> str:
    sentences = ["Means over images."]
    if summary["unlabelled"] == "background":
        sentences.append("Pixels of value 0 are background; it is left out of all means but pixel accuracy.")
    else:
        sentences.append("Pixels of value 0 in the reference are not annotated, and don't count.")
    for key, what in (
        ("unpaired_predictions", "Predictions without a reference"),
        ("unpaired_labels", "References without a prediction"),
    ):
        names = summary[key]
        if names:
            more = f" ... ({len(names)} in all)" if len(names) > 10 else ""
            sentences.append(f"{what}: {', '.join(names[:10])}{more}.")
    return "\n".join(f'<p class="note">{html.escape(sentence)}</p>' for sentence in sentences)


def _key() -> str:
    words = zip(_DIFFERENCE[2:], ("missed", "invented", "another class", "doesn't count"), strict=True)
    spans = "".join(f'<span style="background:{colour}">{word}</span>' for colour, word in words)
    return f'<p class="key">Differences: {spans}</p>'


def _picture(row: Row, place: int) -> str:
    if place >= _MOST_PICTURES:
        return ""
    data = base64.b64encode(row.picture).decode("ascii")
    name = html.escape(row.name, quote=True)
    return f'<img alt="Reference, prediction and differences of {name}" src="data:image/png;base64,{data}">'


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{title}</th>" for title in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
