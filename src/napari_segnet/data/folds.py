"""Cross-validation: images divided into folds, each of which is validated on once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_segnet.data.labels import IGNORE
from napari_segnet.data.split import Split, whole
from napari_segnet.errors import ConfigError, DataError

_DRAWS = 200


def split_fold(
    targets: Sequence[NDArray[np.uint8]], groups: Sequence[str], fold: int, folds: int, seed: int = 0
) -> Split:
    """Divide annotated planes or volumes into training and validation by image, for one of several folds.

    Parameters
    ----------
    targets : sequence of ([Z], Y, X) uint8
        Target images: output indices and `IGNORE`.
    groups : sequence of str
        Name of the image that each plane belongs to: planes of one image stay together.
    fold : int
        Which part to validate on, from 1.
    folds : int
        How many parts there are.
    seed : int
        Decides which image is in which part; the same for all folds of a run.

    Returns
    -------
    Split
        Over all folds each annotated image is in validation exactly once.

    Raises
    ------
    DataError
        If there are fewer annotated images than folds.
    ConfigError
        If it isn't said which fold.
    """
    if fold == 0:
        raise ConfigError(
            f"data.folds = {folds} asks for {folds} runs, but this is one, and doesn't say which.",
            "Use napari-segnet train --folds, or set data.fold too.",
        )
    counts: dict[str, NDArray[np.int64]] = {}
    for target, group in zip(targets, groups, strict=True):
        found = np.bincount(target.ravel(), minlength=IGNORE + 1)[:IGNORE]
        if found.any():
            counts[group] = counts.get(group, 0) + found
    chosen = set(assign_folds(counts, folds, seed)[fold - 1])
    annotated = [i for i, target in enumerate(targets) if (target != IGNORE).any()]
    return Split(
        tuple(whole(i, targets[i]) for i in annotated if groups[i] not in chosen),
        tuple(whole(i, targets[i]) for i in annotated if groups[i] in chosen),
        f"Validation on fold {fold} of {folds}: {', '.join(sorted(chosen)[:6])}.",
    )


def assign_folds(counts: dict[str, NDArray[np.int64]], folds: int, seed: int = 0) -> list[list[str]]:
    """Divide images into folds of (nearly) the same number of images, with the classes spread as evenly as it goes.

    Parameters
    ----------
    counts : dict of str to (K,) int64
        Annotated pixels of each class in each image.
    folds : int
    seed : int
        Of 200 random divisions the most even is taken.

    Returns
    -------
    list of list of str
        Names of the images in each fold.

    Raises
    ------
    DataError
        If there are fewer images than folds.
    """
    names = sorted(counts)
    if len(names) < folds:
        raise DataError(
            f"{folds} folds need at least {folds} images with annotation, but there are {len(names)}.",
            f"Use --folds {len(names)}, or annotate more images."
            if len(names) > 1
            else "Train without --folds: one image is divided into blocks.",
        )
    table = np.array([counts[name] for name in names], np.float64)
    table = table[:, table.sum(axis=0) > 0] / table.sum(axis=0)[table.sum(axis=0) > 0]
    rng = np.random.default_rng(seed)

    def badness(order: NDArray[np.int64]) -> float:
        shares = np.array([table[part].sum(axis=0) for part in np.array_split(order, folds)])
        # A class that is missing in a fold, or is in no other, is worse than any uneven share.
        missing = (shares == 0) | (shares >= 1)
        return float(np.abs(shares - 1 / folds).mean() + 10 * missing.mean())

    best = min((rng.permutation(len(names)) for _ in range(_DRAWS)), key=badness)
    return [[names[i] for i in sorted(part)] for part in np.array_split(best, folds)]
