"""Parts that several pages have in common: figures, the key of error pictures, the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from napari_segnet.evaluation.bootstrap import Interval
from napari_segnet.models.card import model_card
from napari_segnet.models.info import ModelInfo
from napari_segnet.reports.charts import Chart
from napari_segnet.reports.colours import ERROR_COLOURS, ERROR_WORDS
from napari_segnet.reports.page import Cell, Fold, Gallery, Key, Markdown, Part, decimal, number


def chart_gallery(charts: Sequence[Chart], title: str = "") -> Gallery:
    """Return figures beside each other, three in a row where that comes out even."""
    columns = 1 if len(charts) == 1 else 3 if len(charts) % 3 == 0 else 2
    return Gallery(tuple(chart.picture() for chart in charts), title, columns)


def error_key() -> Part:
    """Say what the colours of error pictures mean."""
    return Key("Errors:", tuple(zip(ERROR_WORDS, ERROR_COLOURS, strict=True)))


def model_parts(info: ModelInfo) -> tuple[Part, ...]:
    """Say what a model is: its card."""
    return (Fold("The model card", (Markdown(model_card(info)),)),)


def with_interval(interval: Interval) -> Cell:
    """Return the cell of a mean, with its interval below it."""
    shown = number(interval.value)
    if not math.isfinite(interval.low):
        return shown
    return replace(shown, note=f"{decimal(interval.low, 3)} to {decimal(interval.high, 3)}")
