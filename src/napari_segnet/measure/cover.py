"""Which part of an image each class covers: vegetation and canopy density, area fractions of tissue, confluence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.config import LabelClass, Task, Unlabelled
from napari_segnet.errors import DataError
from napari_segnet.measure.circle import ring_edges, ring_numbers, solid_angles, zenith_angles
from napari_segnet.measure.grid import Grid, make_grid
from napari_segnet.measure.meaning import (
    LabelMeaning,
    Labels,
    check_labels,
    check_size,
    find_meaning,
    find_probabilities,
)
from napari_segnet.measure.options import CircleOptions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Part:
    """A part of an image: what its rows begin with, its pixels (None: all), and their weights (None: the same)."""

    row: dict[str, Any]
    mask: NDArray[np.bool_] | None = None
    weights: NDArray[np.float64] | None = None


def cover_fractions(
    labels: ArrayLike,
    *,
    probabilities: ArrayLike | None = None,
    circle: CircleOptions | None = None,
    area: ArrayLike | None = None,
    spacing: float | Sequence[float] | None = None,
    units: str | None = None,
    task: Task | None = None,
    unlabelled: Unlabelled = "background",
    ignore_values: Sequence[int] = (),
    classes: Sequence[LabelClass] = (),
    meaning: LabelMeaning | None = None,
) -> pd.DataFrame:
    """Return the fraction of the pixels that each class covers.

    The vegetation density of imageseg [1]_, one minus the mean of a mask with sky = 1, is ``remaining`` in the row of
    the sky, or ``fraction`` in the row of the background if 0 means canopy. imageseg rounds it to three digits.

    Parameters
    ----------
    labels : ([Z], Y, X) whole numbers
    probabilities : (K, [Z], Y, X), optional
        For the mean probability of each class over all pixels that count.
    circle : CircleOptions, optional
        Count only pixels in the circle of a hemispherical photograph, perhaps by ring of angles. Planes only.
    area : ([Z], Y, X), optional
        Count only pixels where this isn't 0.
    spacing, units
        Size of a pixel, as for `napari_segnet.measure.objects.measure_objects`.
    task, unlabelled, ignore_values, classes, meaning
        What the values mean, as there. Pixels that are ignored, or not annotated where 0 means that, don't count.

    Returns
    -------
    DataFrame
        A row a class (and ring): ``class``, ``class_name``, ``fraction``, ``remaining`` (one minus it), ``pixels``,
        ``counted_pixels``, ``ignored_pixels``, ``area`` or ``volume`` in units, ``mean_probability`` where there are
        probabilities. Fractions are NaN where no pixel counts.

    Raises
    ------
    DataError
        If sizes don't agree, `labels` are no labels, or a circle is asked for in a volume or outside the image.

    References
    ----------
    .. [1] Niedballa, J. et al. (2022). imageseg: an R package for deep learning-based image segmentation. Methods in
       Ecology and Evolution 13, 2363-2371.
    """
    import pandas as pd

    values = check_labels(labels)
    grid = make_grid(values.ndim, spacing, units)
    meaning = meaning or find_meaning(
        [values], task=task, unlabelled=unlabelled, ignore_values=ignore_values, classes=classes
    )
    sure = None if probabilities is None else find_probabilities(probabilities, meaning, values)
    inside = None
    if area is not None:
        check_size(tuple(area.shape), values, "The area")
        inside = np.asarray(area) != 0
    semantic = meaning.semantic(values)
    rows: list[dict[str, Any]] = []
    for part in _parts(values.shape, circle, inside):
        found = class_rows(semantic, meaning, grid, part.mask, part.weights)
        for row in found:
            if sure is not None:
                row["mean_probability"] = _mean(sure.of(row["class"]), semantic, meaning, part)
            rows.append({**part.row, **row})
    # Without any class there are columns, too.
    return pd.DataFrame(rows) if rows else pd.DataFrame([_no_row(semantic, grid)]).iloc[:0]


def _no_row(semantic: Labels, grid: Grid) -> dict[str, Any]:
    return class_rows(semantic, LabelMeaning("semantic", (0,)), grid)[0]


def class_rows(
    semantic: Labels,
    meaning: LabelMeaning,
    grid: Grid,
    mask: NDArray[np.bool_] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> list[dict[str, Any]]:
    """Return the fraction of each class in a part of an image, a dictionary each.

    Parameters
    ----------
    semantic : ([Z], Y, X)
        Values of classes, see `LabelMeaning.semantic`.
    mask : ([Z], Y, X) bool, optional
        The part.
    weights : (N,) float, optional
        What each of its pixels counts.
    """
    chosen = semantic.reshape(-1) if mask is None else semantic[mask]
    pixels = {value: int(np.count_nonzero(chosen == value)) for value in meaning.values}
    counted = sum(pixels.values())
    shares: dict[int, float] = dict(pixels)
    if weights is not None:
        shares = {value: float(weights[chosen == value].sum()) for value in meaning.values}
    total = sum(shares.values())
    name = "area" if semantic.ndim == 2 else "volume"
    rows = []
    for value in meaning.values:
        fraction = shares[value] / total if counted else float("nan")
        rows.append(
            {
                "class": value,
                "class_name": meaning.name(value),
                "fraction": fraction,
                "remaining": 1 - fraction,
                "pixels": pixels[value],
                "counted_pixels": counted,
                "ignored_pixels": chosen.size - counted,
                name: pixels[value] * grid.pixel,
            }
        )
    return rows


def _parts(shape: tuple[int, ...], circle: CircleOptions | None, area: NDArray[np.bool_] | None) -> Iterator[_Part]:
    if circle is None:
        yield _Part({}, area)
        return
    if len(shape) != 2:
        raise DataError("A circle was asked for in a volume.", "Measure each plane by itself: --planes.")
    angles = zenith_angles((shape[0], shape[1]), circle)
    numbers = ring_numbers(angles, circle)
    edges = ring_edges(circle)
    for ring in range(1, circle.rings + 1):
        mask = numbers == ring if area is None else (numbers == ring) & area
        row = {"zenith_start": float(edges[ring - 1]), "zenith_stop": float(edges[ring])}
        weights = solid_angles(angles[mask], circle) if circle.weights == "solid-angle" else None
        yield _Part(row, mask, weights)


def _mean(probability: NDArray[Any], semantic: Labels, meaning: LabelMeaning, part: _Part) -> float:
    """Return the mean probability over the pixels that count."""
    counts = np.isin(semantic, meaning.values) if part.mask is None else np.isin(semantic[part.mask], meaning.values)
    values = (probability.reshape(-1) if part.mask is None else probability[part.mask])[counts.reshape(-1)]
    if not values.size:
        return float("nan")
    weights = None if part.weights is None else part.weights[counts]
    return float(np.average(values.astype(np.float64), weights=weights))
