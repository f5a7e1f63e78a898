"""Images divided into training, validation and test, so that what belongs together stays together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import counted
from napari_segnet.datasets.likeness import join
from napari_segnet.errors import DataError

PARTS = ("train", "val", "test")
_DRAWS = 200
_MOST_CLASSES = 64
"""Label values whose shares are made even; more are objects."""


def part_sizes(count: int, val_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Return how many of `count` images are for validation and for testing, at least one each that is asked for.

    They are rounded down as in the example of imageseg's vignette, first the test images, then both together.
    """
    test = math.floor(count * test_fraction + 1e-9)
    val = math.floor(count * (test_fraction + val_fraction) + 1e-9) - test
    return max(val, int(val_fraction > 0)), max(test, int(test_fraction > 0))


def group_images(names: Sequence[str], expression: str | None, alike: Sequence[Sequence[int]]) -> list[int]:
    """Return, for each image, the first one of its group.

    Parameters
    ----------
    names : sequence of str
    expression : str, optional
        Regular expression: names in which it finds the same (in its first brackets, or as a whole) are a group.
    alike : sequence of sequence of int
        Images that look the same are a group, too.
    """
    by_key: dict[str, list[int]] = {}
    if expression:
        for number, name in enumerate(names):
            found = re.search(expression, name)
            if found:
                by_key.setdefault(found[1] or "" if found.re.groups else found[0], []).append(number)
    return join(len(names), [*by_key.values(), *alike])


def divide(
    groups: Sequence[int],
    counts: Sequence[Mapping[int, int]],
    val_fraction: float,
    test_fraction: float,
    seed: int = 0,
) -> list[str]:
    """Divide images into parts; images of a group stay together.

    Of 200 random divisions the one is taken whose parts come nearest to the sizes that are asked for, and in which
    classes are spread most evenly.

    Parameters
    ----------
    groups : sequence of int
        The group of each image, from `group_images`.
    counts : sequence of mapping of int to int
        Label value -> pixels in each image; empty where there are no labels.
    val_fraction, test_fraction : float
        Shares of the images; 0: no such part.
    seed : int
        The same seed divides the same images in the same way.

    Returns
    -------
    list of str
        ``"train"``, ``"val"`` or ``"test"`` for each image.

    Raises
    ------
    DataError
        If there are fewer groups than parts.
    """
    fractions = {"test": test_fraction, "val": val_fraction}
    fractions = {name: share for name, share in fractions.items() if share > 0}
    members: dict[int, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    together = list(members.values())
    if len(together) <= len(fractions):
        raise DataError(
            f"{counted(len(groups), 'image')} that make up {counted(len(together), 'group')} can't be divided into "
            f"{len(fractions) + 1} parts.",
            "Images of one group, or that look the same, stay together: take more images, ask for fewer parts, or let "
            "such images lie anywhere (--alike anywhere).",
        )
    val, test = part_sizes(len(groups), val_fraction, test_fraction)
    sizes = {"test": test, "val": val}
    table = _shares(counts)
    rng = np.random.default_rng(seed)
    draws = [_draw(together, {name: sizes[name] for name in fractions}, rng) for _ in range(_DRAWS)]

    def badness(parts: list[str]) -> float:
        found = np.array(parts)
        bad = 0.0
        for name in (*fractions, "train"):
            wanted = sizes.get(name, len(groups) - val - test) / len(groups)
            chosen = found == name
            bad += abs(chosen.mean() - wanted) * 3
            share = table[chosen].sum(axis=0)
            # A class that is missing in a part is worse than any uneven share.
            bad += float(np.abs(share - wanted).mean() + 10 * (share == 0).mean()) if share.size else 0.0
        return bad

    return min(draws, key=badness)


def _draw(together: Sequence[Sequence[int]], sizes: Mapping[str, int], rng: np.random.Generator) -> list[str]:
    order = [together[i] for i in rng.permutation(len(together)).tolist()]
    parts = ["train"] * sum(map(len, together))
    for place, (name, wanted) in enumerate(sizes.items()):
        taken: list[Sequence[int]] = []
        # Something has to be left for the parts that come after this one.
        spare = len(sizes) - place
        for group in list(order):
            if len(order) > spare and sum(map(len, taken)) + len(group) <= wanted:
                order.remove(group)
                taken.append(group)
        if not taken:
            smallest = min(order, key=len)
            order.remove(smallest)
            taken.append(smallest)
        for group in taken:
            for number in group:
                parts[number] = name
    return parts


def _shares(counts: Sequence[Mapping[int, int]]) -> NDArray[np.float64]:
    """Return which share of each class's pixels each image has (images, classes); no columns where there are none."""
    values = sorted({value for found in counts for value in found})
    if not values or len(values) > _MOST_CLASSES:
        return np.zeros((len(counts), 0))
    table = np.array([[found.get(value, 0) for value in values] for found in counts], np.float64)
    shares: NDArray[np.float64] = table / table.sum(axis=0)
    return shares
