"""Figures of objects and of several predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_segnet.reports.charts import Chart, literal, new_figure
from napari_segnet.reports.colours import BLUE
from napari_segnet.reports.score_charts import Mean


def threshold_curves_chart(thresholds: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Chart:
    """Draw how well objects are found, by how much they have to overlap.

    Parameters
    ----------
    thresholds : sequence of float
        Least IoU of a match.
    curves : mapping of str to sequence of float
        Name of a measure, such as ``"AP"`` -> its mean over the images at each threshold.
    """
    with new_figure() as (figure, (axes,)):
        for name, values in curves.items():
            axes.plot(thresholds, values, "o-", markersize=3.5, label=name)
        axes.set(xlabel="least IoU of a match", ylim=(-0.02, 1.02), title="Objects found, by overlap asked for")
        axes.legend(loc="lower left")
    caption = (
        "Means over the images; an object counts as found where it overlaps one of the other side with "
        "at least this IoU."
    )
    return Chart("objects", figure, caption, "Objects found over IoU thresholds")


def ranking_chart(means: Mapping[str, Mean], measure: str) -> Chart:
    """Draw the means of several predictions, the best at the top."""
    order = sorted(means.items(), key=lambda item: item[1].value)
    with new_figure(height=max(1.8, 0.9 + 0.34 * len(order))) as (figure, (axes,)):
        for place, (_, mean) in enumerate(order):
            axes.plot([mean.low, mean.high], [place, place], color=BLUE, linewidth=1.4)
            axes.plot([mean.value], [place], "o", color=BLUE, markersize=6)
        axes.set_yticks(range(len(order)), [literal(name) for name, _ in order])
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_title(f"{measure} of each")
        axes.set_xlabel(measure)
    caption = f"Mean {measure} over the images, with its 95 % confidence interval."
    return Chart("ranking", figure, caption, f"{measure} of {len(order)} predictions")
