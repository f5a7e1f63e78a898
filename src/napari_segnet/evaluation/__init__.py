"""Numbers: how well labels agree with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_segnet.axes import ArrayLike
from napari_segnet.config import LabelClass, validated
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation.measures import MEASURES, Measure
from napari_segnet.evaluation.overlap import ClassScore, Confusion
from napari_segnet.evaluation.scores import MEANS, Labels, Scores, make_rules, nothing_counts, score
from napari_segnet.evaluation.surface import SurfaceOptions, SurfaceScore, spacing_of
from napari_segnet.io.images import open_labels
from napari_segnet.io.labels import as_labels

__all__ = ["MEASURES", "ClassScore", "Confusion", "Measure", "Scores", "SurfaceOptions", "SurfaceScore", "evaluate"]


def evaluate(
    prediction: ArrayLike | Path | str,
    truth: ArrayLike | Path | str,
    *,
    unlabelled: Literal["background", "ignore"] | None = None,
    instances: bool | None = None,
    classes: Sequence[LabelClass] | None = None,
    ignore_values: Sequence[int] = (),
    surface: bool = False,
    spacing: Sequence[float] | None = None,
    tolerance: float | None = None,
) -> Scores:
    """Compare predicted labels with a reference.

    Parameters
    ----------
    prediction, truth : array of whole numbers, or a file
        Label images of one shape, (Y, X) or a stack.
    unlabelled : {"background", "ignore"}, optional
        What 0 means in `truth`: a class of its own, or pixels that are not annotated and don't count. By default
        ``"ignore"`` if there are zeros in `truth`, none in `prediction`, and more than one other value.
    instances : bool, optional
        Whether each object has its own number; guessed as for training. Dice, IoU and the like are then those
        of "object" against background, and `ap50` and `ap` say how well objects were told apart. An image
        with one value besides 0 is split into its connected pieces.
    classes : sequence of LabelClass, optional
        Names of the values.
    ignore_values : sequence of int
        Further values of `truth` that don't count.
    surface : bool
        Whether distances between surfaces are measured, too (see `napari_segnet.evaluation.surface`). A stack is
        a volume then.
    spacing : sequence of float, optional
        Size of a pixel along [Z], Y, X, the unit of distances. By default that of the file, else 1.
    tolerance : float, optional
        Of the surface Dice, in the same unit; by default the longest side of a pixel.

    Returns
    -------
    Scores
        If one side has only 0 and 1 and the other only 0 and 255, 255 counts as 1.

    Raises
    ------
    DataError
        If the shapes differ, a side is no labels, no pixel counts, or surfaces can't be measured.
    ConfigError
        If the spacing or the tolerance is no number, or given without `surface`.
    """
    asked = _surface_options(prediction, truth, spacing, tolerance) if surface else None
    if not surface and (spacing is not None or tolerance is not None):
        raise ConfigError("spacing and tolerance are for distances between surfaces.", "Give surface=True, too.")
    sides = (_labels(prediction, "The prediction"), _labels(truth, "The reference"))
    if sides[0].shape != sides[1].shape:
        raise DataError(
            f"The prediction has the shape {sides[0].shape}, the reference {sides[1].shape}.",
            "Compare labels of one image.",
        )
    rules = make_rules([sides], unlabelled, instances, classes, ignore_values)
    scores = score(*sides, rules, asked)
    if np.isnan(scores.pixel_accuracy):
        raise nothing_counts("The reference")
    # Where no class is in either image, they agree. A single measure that doesn't exist stays NaN.
    changes: dict[str, Any] = {name: MEASURES[name].best for name in MEANS} if np.isnan(scores.dice) else {}
    if scores.ap is not None and np.isnan(scores.ap):
        changes |= {"ap50": 1.0, "ap": 1.0}
    return replace(scores, **changes)


def _surface_options(
    prediction: ArrayLike | Path | str,
    truth: ArrayLike | Path | str,
    spacing: Sequence[float] | None,
    tolerance: float | None,
) -> SurfaceOptions:
    if spacing is None:
        files = [open_labels(source) for source in (truth, prediction) if isinstance(source, Path | str)]
        spacing = next((found for found in map(spacing_of, files) if found is not None), None)
    return validated(SurfaceOptions, {"spacing": spacing, "tolerance": tolerance})


def _labels(source: ArrayLike | Path | str, name: str) -> Labels:
    array = open_labels(source).array if isinstance(source, Path | str) else np.asarray(source)
    labels: Labels = np.asarray(as_labels(array, name))
    return labels
