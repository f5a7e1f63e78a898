"""Figures of probabilities: what any threshold would give, and whether they mean what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from napari_segnet.evaluation.curves import Curve
from napari_segnet.reports.charts import Chart, literal, new_figure
from napari_segnet.reports.colours import BLUE

_SQUARE = 4.2
_MOST_CLASSES = 7


def roc_chart(curves: Mapping[str, Curve]) -> Chart:
    """Draw receiver operating characteristics: `x` is the false positive rate, `y` the true positive rate."""
    with new_figure(width=_SQUARE, height=_SQUARE) as (figure, (axes,)):
        for name, curve in list(curves.items())[:_MOST_CLASSES]:
            thinned = curve.thinned()
            axes.plot(thinned.x, thinned.y, label=f"{literal(name)}: AUC {curve.area:.4f}")
        axes.plot([0, 1], [0, 1], ":", color="#888888", linewidth=1, label="chance")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
        axes.legend(loc="lower right")
    caption = "Receiver operating characteristic over the pixels of all images, each class against the rest."
    return Chart("roc", figure, caption, "ROC curves")


def precision_recall_chart(curves: Mapping[str, Curve], shares: Mapping[str, float]) -> Chart:
    """Draw precision (`y`) over recall (`x`); `shares` are those of the classes: the precision of guessing."""
    with new_figure(width=_SQUARE, height=_SQUARE) as (figure, (axes,)):
        for name, curve in list(curves.items())[:_MOST_CLASSES]:
            thinned = curve.thinned()
            (line,) = axes.plot(
                thinned.x, thinned.y, drawstyle="steps-pre", label=f"{literal(name)}: AP {curve.area:.4f}"
            )
            if name in shares:
                axes.axhline(shares[name], linestyle=":", linewidth=1, color=line.get_color())
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="recall", ylabel="precision", title="Precision and recall")
        axes.legend(loc="lower left")
    caption = "Precision over recall over the pixels of all images, each class against the rest; "
    caption += "dotted: its share of the pixels."
    return Chart("precision_recall", figure, caption, "Precision-recall curves")


def reliability_chart(
    confidence: Sequence[float], accuracy: Sequence[float], counts: Sequence[int], error: float
) -> Chart:
    """Draw how often a prediction is right, by how sure it was.

    Parameters
    ----------
    confidence, accuracy : sequence of float
        Mean largest probability, and share of right pixels, of each bin; NaN in empty bins.
    counts : sequence of int
        Pixels of each bin. Bins have equal widths over [0, 1].
    error : float
        The expected calibration error.
    """
    known = np.asarray(counts) > 0
    edges = np.linspace(0, 1, len(counts) + 1)
    share = np.asarray(counts, np.float64) / max(int(np.sum(counts)), 1)
    with new_figure(width=_SQUARE, height=_SQUARE) as (figure, (axes,)):
        axes.bar(edges[:-1], share, np.diff(edges), align="edge", color="#d5dbe5", label="share of pixels")
        axes.plot([0, 1], [0, 1], ":", color="#888888", linewidth=1)
        axes.plot(
            np.asarray(confidence)[known], np.asarray(accuracy)[known], "o-", color=BLUE, markersize=4, label="right"
        )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="largest probability", ylabel="share", title=f"Reliability (ECE {error:.4f})")
        axes.legend(loc="upper left")
    caption = "Share of right pixels by how sure the prediction was: below the dotted line it is too sure, "
    caption += "above it too modest. Bars: where the pixels are."
    return Chart("reliability", figure, caption, f"Reliability diagram, expected calibration error {error:.4f}")
