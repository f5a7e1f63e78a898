"""Figures of scores: their distribution over the images, means with intervals, and what was taken for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.reports.charts import Chart, literal, new_figure
from napari_segnet.reports.colours import BLUE, CYCLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_FOR_BOX = 5
"""So many images get a box; of fewer the points say more."""
_MOST_CLASSES = 30
"""Classes drawn; of more the worst ones."""
_WRITTEN_CLASSES = 10
"""So many classes have their numbers written into the confusion matrix."""


@dataclass(frozen=True)
class Mean:
    """A mean with its interval, such as the 95 % confidence interval."""

    value: float
    low: float
    high: float


def distribution_chart(
    scores: Mapping[str, Sequence[float]], title: str, *, name: str, colours: Mapping[str, str] | None = None
) -> Chart:
    """Draw the scores of all images, a row of points with a box for each class.

    Parameters
    ----------
    scores : mapping of str to sequence of float
        Name of a class -> scores of its images, between 0 and 1; NaN is left out.
    title : str
        Name of the measure.
    name : str
        Stem of the files.
    colours : mapping of str to str, optional
        Colour of each class.
    """
    known = {key: _finite(values) for key, values in scores.items()}
    known = dict(sorted(((k, v) for k, v in known.items() if len(v)), key=lambda item: float(np.mean(item[1]))))
    shown = dict(list(known.items())[:_MOST_CLASSES])
    random = np.random.default_rng(0)
    with new_figure(height=max(2.2, 0.9 + 0.42 * len(shown))) as (figure, (axes,)):
        for place, (key, values) in enumerate(shown.items()):
            colour = _visible((colours or {}).get(key, BLUE))
            jitter = random.uniform(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
            axes.scatter(
                values, place + jitter, s=14, color=colour, alpha=0.55, linewidths=0, rasterized=len(values) > 500
            )
            if len(values) >= _LEAST_FOR_BOX:
                _draw_box(axes, values, place)
        axes.set_yticks(range(len(shown)), [f"{literal(key)} ({len(values)})" for key, values in shown.items()])
        axes.set_ylim(-0.6, max(len(shown), 1) - 0.4)
        lowest = min((float(values.min()) for values in shown.values()), default=0.0)
        # Points tell as much on a part of the axis; where they are spread, the whole of it is shown.
        axes.set_xlim(-0.02 if lowest < 0.5 else np.floor(10 * lowest) / 10 - 0.01, 1.01)
        axes.set_title(f"{title} of each image")
        axes.set_xlabel(title)
        axes.grid(False, axis="y")
    more = "" if len(shown) == len(known) else f" The {len(shown)} worst of {len(known)} classes are drawn."
    caption = f"{title} of each image, by class, the worst class at the bottom; in brackets the number of images. "
    caption += f"Boxes: quartiles and median; whiskers: the last image within 1.5 interquartile ranges.{more}"
    return Chart(name, figure, caption, f"Distribution of {title} over the images, by class")


def bars_chart(
    means: Mapping[str, Mapping[str, Mean]], title: str, *, name: str, words: str = "95 % confidence interval"
) -> Chart:
    """Draw means with intervals, a group of bars for each class.

    Parameters
    ----------
    means : mapping of str to mapping of str to Mean
        Name of a class -> name of a measure -> its mean; measures between 0 and 1. NaN is left out.
    title : str
    name : str
        Stem of the files.
    words : str
        What the whiskers are.
    """
    shown = dict(list(means.items())[:_MOST_CLASSES])
    measures = list(dict.fromkeys(measure for found in shown.values() for measure in found))
    thickness = 0.8 / max(len(measures), 1)
    with new_figure(height=max(2.2, 0.9 + 0.16 * len(shown) * (len(measures) + 1))) as (figure, (axes,)):
        for row, measure in enumerate(measures):
            places = [
                p for p, found in enumerate(shown.values()) if measure in found and np.isfinite(found[measure].value)
            ]
            found = [list(shown.values())[place][measure] for place in places]
            values = np.array([mean.value for mean in found])
            reach = np.array([[m.value - m.low for m in found], [m.high - m.value for m in found]]).reshape(2, -1)
            axes.barh(
                np.array(places) + (row - (len(measures) - 1) / 2) * thickness,
                values,
                thickness * 0.9,
                xerr=np.nan_to_num(reach).clip(0),
                color=CYCLE[row % len(CYCLE)],
                error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#222222"},
                label=measure,
            )
        axes.set_yticks(range(len(shown)), [literal(key) for key in shown])
        axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
        axes.set_xlim(0, 1.02)
        axes.set_title(title)
        axes.grid(False, axis="y")
        figure.legend(loc="outside lower center", ncols=max(1, len(measures)))
    more = "" if len(shown) == len(means) else f" The first {len(shown)} of {len(means)} classes are drawn."
    return Chart(name, figure, f"{title}: means over the images, whiskers: {words}.{more}", f"Bars of {title}")


def confusion_chart(matrix: NDArray[np.int64], names: Sequence[str]) -> Chart:
    """Draw a confusion matrix, as counts and as shares of each row.

    Parameters
    ----------
    matrix : (K, K) int64
        Pixels; rows are true classes, columns predicted ones.
    names : sequence of str
        Of the K classes.
    """
    classes = len(names)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    side = min(7.0, max(2.6, 1.5 + 0.42 * classes))
    with new_figure(2, width=2 * side + 0.8, height=side) as (figure, axes):
        for place, (values, title) in enumerate(((matrix, "Pixels"), (shares, "Share of the true class"))):
            colours = np.log10(values + 1.0) if place == 0 else values
            axes[place].imshow(colours, cmap="Blues", vmin=0, vmax=None if place == 0 else 1, aspect="equal")
            ticks = [literal(name, 16) for name in names] if classes <= _MOST_CLASSES else []
            axes[place].set_xticks(range(len(ticks)), ticks, rotation=45, ha="right", rotation_mode="anchor")
            axes[place].set_yticks(range(len(ticks)), ticks)
            axes[place].set_title(title)
            axes[place].set_xlabel("predicted")
            axes[place].grid(False)
            if classes <= _WRITTEN_CLASSES:
                _write_numbers(axes[place], values, colours, _count if place == 0 else _share)
        axes[0].set_ylabel("true")
    caption = (
        "Confusion matrix over all images: rows are true classes, columns predicted ones. The colours of the left "
    )
    caption += "one are logarithmic; the right one has the recall of each class on its diagonal."
    return Chart("confusion", figure, caption, f"Confusion matrix of {classes} classes")


def _draw_box(axes: Axes, values: NDArray[np.float64], place: float) -> None:
    """Draw quartiles, median, and whiskers to the last value within 1.5 interquartile ranges (Tukey's)."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    reach = 1.5 * (high - low)
    left, right = values[values >= low - reach].min(), values[values <= high + reach].max()
    axes.plot([low, high, high, low, low], place + 0.25 * np.array([-1, -1, 1, 1, -1]), color="#444444", linewidth=1)
    axes.hlines([place, place], [left, high], [low, right], color="#444444", linewidth=1)
    axes.vlines([median], place - 0.25, place + 0.25, color="#000000", linewidth=1.8)


def _write_numbers(
    axes: Axes, values: NDArray[Any], colours: NDArray[np.float64], words: Callable[[float], str]
) -> None:
    middle = np.nanmax(colours) * 0.6 if np.isfinite(colours).any() else 1.0
    for (row, column), value in np.ndenumerate(values):
        colour = "#ffffff" if colours[row, column] > middle else "#222222"
        axes.text(column, row, words(value), ha="center", va="center", fontsize=7.5, color=colour)


def _count(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return f"{value:.0f}"


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1%}"


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    finite: NDArray[np.float64] = array[np.isfinite(array)]
    return finite


def _visible(colour: str) -> str:
    """Return a colour darkened until it can be seen on white."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    light = float(rgb @ (0.299, 0.587, 0.114))
    rgb = rgb * min(1.0, 0.7 / max(light, 1e-9))
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
