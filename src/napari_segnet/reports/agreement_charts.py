"""Figures of agreement: what was measured by prediction and by reference, against each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_segnet.reports.charts import MANY_POINTS, Chart, literal, new_figure
from napari_segnet.reports.colours import BLUE, ORANGE, VERMILION


def bland_altman_chart(
    reference: Sequence[float],
    predicted: Sequence[float],
    bias: float,
    limits: tuple[float, float],
    *,
    quantity: str,
    unit: str,
    name: str,
) -> Chart:
    """Draw the differences of two ways to measure over their mean (Bland and Altman 1986, Lancet 327, 307-310).

    Parameters
    ----------
    reference, predicted : sequence of float
        What was measured, an entry an image.
    bias : float
        Mean difference, predicted - reference.
    limits : tuple of float
        Limits of agreement.
    quantity, unit : str
        Such as ``"area of nucleus"`` and ``"px"``.
    name : str
        Stem of the files.
    """
    means = (np.asarray(reference) + np.asarray(predicted)) / 2
    differences = np.asarray(predicted) - np.asarray(reference)
    with new_figure() as (figure, (axes,)):
        axes.scatter(means, differences, s=16, color=BLUE, alpha=0.7, linewidths=0, rasterized=len(means) > MANY_POINTS)
        axes.axhline(0, color="#999999", linewidth=0.8)
        axes.axhline(bias, color=VERMILION, linewidth=1.4, label=f"bias {bias:.4g}")
        for place, limit in enumerate(limits):
            words = f"limits of agreement {limits[0]:.4g} to {limits[1]:.4g}" if place == 0 else None
            axes.axhline(limit, color=ORANGE, linewidth=1.2, linestyle="--", label=words)
        axes.set_title(f"Bland-Altman: {literal(quantity, 44)}")
        axes.set_xlabel(f"mean of reference and prediction [{literal(unit)}]")
        axes.set_ylabel(f"prediction - reference [{literal(unit)}]")
        figure.legend(loc="outside lower center", ncols=2)
    caption = f"Differences of the {quantity} over its mean, a point an image: 95 % of the differences "
    caption += "are expected between the dashed lines."
    return Chart(name, figure, caption, f"Bland-Altman plot of the {quantity}: bias {bias:.4g} {unit}")


def regression_chart(
    reference: Sequence[float],
    predicted: Sequence[float],
    line: tuple[float, float],
    correlation: float,
    *,
    quantity: str,
    unit: str,
    name: str,
) -> Chart:
    """Draw predicted against true measurements with their regression line.

    Parameters
    ----------
    reference, predicted : sequence of float
        What was measured, an entry an image.
    line : tuple of float
        Slope and intercept.
    correlation : float
        Pearson's r.
    quantity, unit : str
        Such as ``"area of nucleus"`` and ``"px"``.
    name : str
        Stem of the files.
    """
    x, y = np.asarray(reference, np.float64), np.asarray(predicted, np.float64)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.04 * (high - low) or 1.0
    ends = np.array([low - margin, high + margin])
    slope, intercept = line
    with new_figure() as (figure, (axes,)):
        axes.plot(ends, ends, ":", color="#888888", linewidth=1, label="equal")
        axes.scatter(x, y, s=16, color=BLUE, alpha=0.7, linewidths=0, rasterized=len(x) > MANY_POINTS)
        sign = "+" if intercept >= 0 else "-"
        words = f"{slope:.4g} x {sign} {abs(intercept):.4g}, r = {correlation:.4f}"
        axes.plot(ends, slope * ends + intercept, color=VERMILION, linewidth=1.4, label=words)
        axes.set(xlim=tuple(ends), ylim=tuple(ends))
        axes.set_title(f"Regression: {literal(quantity, 44)}")
        axes.set_xlabel(f"reference [{literal(unit)}]")
        axes.set_ylabel(f"prediction [{literal(unit)}]")
        figure.legend(loc="outside lower center", ncols=2)
    caption = f"The {quantity} by prediction and by reference, a point an image, with the line of least squares."
    return Chart(name, figure, caption, f"Regression of the {quantity}: r = {correlation:.4f}")
