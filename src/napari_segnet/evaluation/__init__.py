"""Numbers: how well labels agree with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_segnet.axes import ArrayLike
from napari_segnet.config import LabelClass
from napari_segnet.errors import DataError
from napari_segnet.evaluation.overlap import ClassScore
from napari_segnet.evaluation.scores import Labels, Scores, agreed, make_rules, nothing_counts, score
from napari_segnet.io.images import open_labels
from napari_segnet.io.labels import as_labels

__all__ = ["ClassScore", "Scores", "evaluate"]


def evaluate(
    prediction: ArrayLike | Path | str,
    truth: ArrayLike | Path | str,
    *,
    unlabelled: Literal["background", "ignore"] | None = None,
    instances: bool | None = None,
    classes: Sequence[LabelClass] | None = None,
    ignore_values: Sequence[int] = (),
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

    Returns
    -------
    Scores
        If one side has only 0 and 1 and the other only 0 and 255, 255 counts as 1.

    Raises
    ------
    DataError
        If the shapes differ, a side is no labels, or no pixel counts.
    """
    sides = (_labels(prediction, "The prediction"), _labels(truth, "The reference"))
    if sides[0].shape != sides[1].shape:
        raise DataError(
            f"The prediction has the shape {sides[0].shape}, the reference {sides[1].shape}.",
            "Compare labels of one image.",
        )
    rules = make_rules([sides], unlabelled, instances, classes, ignore_values)
    scores = score(*sides, rules)
    if np.isnan(scores.pixel_accuracy):
        raise nothing_counts("The reference")
    changes: dict[str, Any] = {
        name: agreed(getattr(scores, name))
        for name in ("dice", "iou", "precision", "recall", "ap50", "ap")
        if getattr(scores, name) is not None
    }
    return replace(scores, **changes)


def _labels(source: ArrayLike | Path | str, name: str) -> Labels:
    array = open_labels(source).array if isinstance(source, Path | str) else np.asarray(source)
    labels: Labels = np.asarray(as_labels(array, name))
    return labels
