"""Figures of a training: losses, scores and the learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from napari_segnet.reports.charts import Chart, literal, new_figure
from napari_segnet.reports.colours import CYCLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[Mapping[str, float | None]]
_LOSSES = ("loss", "val_loss")
_RATE = "learning_rate"
_WIDTH, _HEIGHT = 4.6, 3.3
_FEW = 12
"""So many epochs are drawn with a dot each."""


def training_charts(history: History, best_epoch: int | None) -> list[Chart]:
    """Draw what ``history.csv`` holds.

    Parameters
    ----------
    history : sequence of mappings
        A row an epoch: ``epoch``, ``loss``, ``val_loss``, ``learning_rate``, and each metric as NAME and ``val_NAME``;
        None where there is no number.
    best_epoch : int or None
        Epoch whose weights were kept: a dashed line.

    Returns
    -------
    list of Chart
        Of losses, scores and the learning rate; those without a number in them are left out.
    """
    names = list(dict.fromkeys(name for row in history for name in row if _numbers(history, name)))
    scores = [name for name in names if name not in ("epoch", _RATE, *_LOSSES)]
    charts = []
    if losses := [name for name in _LOSSES if name in names]:
        caption = "Loss of the patches of each epoch as they were learned, and of the validation after it."
        charts.append(_chart("training_loss", "Loss", history, losses, best_epoch, caption))
    if scores:
        caption = "Mean Dice over the classes on the patches of each epoch (augmented), and on the validation after it."
        if any(name not in ("dice", "val_dice") for name in scores):
            caption = "Scores on the patches of each epoch (augmented), and on the validation after it."
        charts.append(_chart("training_scores", "Scores", history, scores, best_epoch, caption))
    if _RATE in names:
        caption = "Learning rate at the end of each epoch."
        charts.append(_chart("learning_rate", "Learning rate", history, [_RATE], best_epoch, caption))
    return charts


def _chart(name: str, title: str, history: History, shown: list[str], best: int | None, caption: str) -> Chart:
    from matplotlib.ticker import MaxNLocator

    metrics = list(dict.fromkeys(column.removeprefix("val_") for column in shown))
    with new_figure(width=_WIDTH, height=_HEIGHT) as (figure, (axes,)):
        for column in shown:
            points = _numbers(history, column)
            validation = column.startswith("val_")
            # A metric has one colour where there are several; else learning and validation have one each.
            place = metrics.index(column.removeprefix("val_")) if len(metrics) > 1 else int(validation)
            axes.plot(
                [epoch for epoch, _ in points],
                [value for _, value in points],
                "-" if validation or len(shown) == 1 else "--",
                color=CYCLE[place % len(CYCLE)],
                marker="o" if len(history) <= _FEW else None,
                markersize=3.5,
                label=literal(_words(column, len(metrics) > 1)),
            )
        if best is not None:
            axes.axvline(best, color="#777777", linewidth=1, linestyle=":", label=f"best: epoch {best}")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _limits(axes, shown, [value for column in shown for _, value in _numbers(history, column)])
        axes.legend()
    return Chart(name, figure, caption, f"{title} over {len(history)} epochs")


def _limits(axes: Axes, shown: list[str], values: list[float]) -> None:
    if shown == [_RATE]:
        if min(values) > 0 and max(values) > 100 * min(values):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
    elif not set(shown) & set(_LOSSES) and min(values) >= 0 and max(values) <= 1:
        axes.set_ylim(0, 1.02)


def _words(column: str, several: bool) -> str:
    if column == _RATE:
        return "learning rate"
    where = "validation" if column.startswith("val_") else "learning"
    return f"{column.removeprefix('val_')}, {where}" if several else where


def _numbers(history: History, name: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of a column, where there are numbers."""
    found = []
    for place, row in enumerate(history, start=1):
        value = row.get(name)
        if value is not None and math.isfinite(value):
            found.append((float(row.get("epoch") or place), float(value)))
    return found
