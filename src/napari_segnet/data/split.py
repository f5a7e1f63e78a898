"""Training and validation without a leak: whole images, or rectangles (or boxes) that share no pixel.

Patches are cut from regions and mirrored at a region's border, never read beyond it. So no pixel of a validation
region can be seen in training, whatever the augmentation does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_segnet.data.labels import IGNORE

_ENOUGH = 400
"""Annotated pixels of each class that both sides of a cut image need."""


_FEW_PIXELS = 50_000
_SPARSE = 0.2
_TOO_LITTLE = "Too little is annotated to keep a part for validation: everything is used for training."


@dataclass(frozen=True)
class Region:
    """A rectangle of a plane, or a box of a volume: from `start` to `stop` (exclusive) along [Z], Y, X."""

    pair: int
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis, pixels."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Its place in the plane or volume."""
        return tuple(map(slice, self.start, self.stop))


@dataclass(frozen=True)
class Split:
    """Where to learn and where to look how good it is. `words` says how it was decided."""

    train: tuple[Region, ...]
    validation: tuple[Region, ...]
    words: str


def whole(pair: int, target: NDArray[np.uint8]) -> Region:
    """Return the region that is a whole plane or volume."""
    return Region(pair, (0,) * target.ndim, target.shape)


def split(
    targets: Sequence[NDArray[np.uint8]],
    groups: Sequence[str],
    fraction: float,
    smallest: int | Sequence[int],
    seed: int = 0,
) -> Split:
    """Divide annotated planes or volumes into training and validation regions.

    Four or more images are divided by image (planes of one stack stay together); fewer by cutting each in
    two blocks, because a whole image would be a third or half of what there is to learn from; with too little
    annotation for that, everything is for training.

    Parameters
    ----------
    targets : sequence of ([Z], Y, X) uint8
        Target images: output indices and `IGNORE`.
    groups : sequence of str
        Name of the image that each plane belongs to.
    fraction : float
        Wanted share of the annotation for validation; 0 for none.
    smallest : int, or sequence of int
        Shortest side that a region may have along every axis, or each, pixels.
    seed : int
        Decides which images are chosen.

    Returns
    -------
    Split
        Planes without annotation are in neither side.
    """
    annotated = [i for i, target in enumerate(targets) if (target != IGNORE).any()]
    everything = tuple(whole(i, targets[i]) for i in annotated)
    if fraction <= 0:
        return Split(everything, (), "Validation is turned off: everything is used for training.")
    names = sorted({groups[i] for i in annotated})
    if _too_little([targets[i] for i in annotated]):
        return Split(everything, (), _TOO_LITTLE)
    if len(names) >= 4:
        return _by_image(targets, groups, annotated, names, fraction, seed)
    if len(annotated) >= 8 and len(names) == 1 and targets[annotated[0]].ndim == 2:
        return _by_planes(targets, annotated, fraction)
    cuts = []
    for name in names:
        cuts += _cut([(i, targets[i]) for i in annotated if groups[i] == name], fraction, smallest)
    if not any(validation for _, validation in cuts):
        return Split(everything, (), _TOO_LITTLE)
    train = tuple(region for region, _ in cuts)
    validation = tuple(region for _, region in cuts if region)
    pixels = sum(_annotated(targets[r.pair], r) for r in validation)
    each = "the image" if len(names) == 1 else "each image"
    return Split(train, validation, f"Validation on a block at the border of {each}: {pixels} annotated pixels.")


def _too_little(targets: Sequence[NDArray[np.uint8]]) -> bool:
    """Strokes are too precious to be held back, and say too little of a network's quality, until there are many."""
    annotated = sum(int(np.count_nonzero(target != IGNORE)) for target in targets)
    return annotated < min(_FEW_PIXELS, _SPARSE * sum(target.size for target in targets))


def _by_image(
    targets: Sequence[NDArray[np.uint8]],
    groups: Sequence[str],
    annotated: Sequence[int],
    names: Sequence[str],
    fraction: float,
    seed: int,
) -> Split:
    rng = np.random.default_rng(seed)
    number = min(max(1, round(fraction * len(names))), len(names) - 1)
    counts = {name: np.zeros(IGNORE, np.int64) for name in names}
    for i in annotated:
        counts[groups[i]] += np.bincount(targets[i].ravel(), minlength=IGNORE + 1)[:IGNORE]
    total = np.sum(list(counts.values()), axis=0)
    present = total > 0

    def badness(chosen: Iterable[str]) -> float:
        share = np.sum([counts[name] for name in chosen], axis=0)[present] / total[present]
        # A class that is missing on one side is worse than any uneven share.
        return float(np.abs(share - fraction).mean() + 10 * ((share == 0) | (share == 1)).mean())

    draws: list[list[str]] = [sorted(rng.choice(names, number, replace=False).tolist()) for _ in range(50)]
    chosen = set(min(draws, key=badness))
    train = tuple(whole(i, targets[i]) for i in annotated if groups[i] not in chosen)
    validation = tuple(whole(i, targets[i]) for i in annotated if groups[i] in chosen)
    return Split(train, validation, f"Validation on {number} of {len(names)} images: {', '.join(sorted(chosen)[:6])}.")


def _by_planes(targets: Sequence[NDArray[np.uint8]], annotated: Sequence[int], fraction: float) -> Split:
    number = min(max(1, round(fraction * len(annotated))), len(annotated) - 1)
    # Neighbouring planes resemble each other, so the planes for validation are the last ones, not scattered ones.
    train, validation = annotated[:-number], annotated[-number:]
    return Split(
        tuple(whole(i, targets[i]) for i in train),
        tuple(whole(i, targets[i]) for i in validation),
        f"Validation on the last {number} of {len(annotated)} annotated planes.",
    )


def _annotated(target: NDArray[np.uint8], region: Region) -> int:
    return int((target[region.slices] != IGNORE).sum())


def _cut(
    items: Sequence[tuple[int, NDArray[np.uint8]]], fraction: float, smallest: int | Sequence[int]
) -> list[tuple[Region, Region | None]]:
    """Cut the planes or volumes of one image in two at the best of their borders, all at the same place.

    Neighbouring planes resemble each other, so what is for validation in one must not be for training in the
    next. Both sides must hold enough of every class.
    """
    shape = items[0][1].shape
    limits = [smallest] * len(shape) if isinstance(smallest, int) else smallest
    best: tuple[float, int, int, bool] | None = None
    for axis, (length, least) in enumerate(zip(shape, limits, strict=True)):
        cumulative = np.cumsum(_counts_along([target for _, target in items], axis), axis=1)
        total = cumulative[:, -1]
        if (total < 2 * _ENOUGH).any():
            continue
        for at in range(least, length - least + 1, max(1, length // 64)):
            before, after = cumulative[:, at - 1], total - cumulative[:, at - 1]
            if min(before.min(), after.min()) < _ENOUGH:
                continue
            for first in (True, False):
                score = float(np.abs((before if first else after) / total - fraction).mean())
                if best is None or score < best[0]:
                    best = (score, axis, at, first)
    if best is None or best[0] > fraction:
        return [(whole(pair, target), None) for pair, target in items]
    _, axis, at, first = best
    halves = [_halves(whole(pair, target), axis, at) for pair, target in items]
    return [(b, a) if first else (a, b) for a, b in halves]


def _counts_along(targets: Sequence[NDArray[np.uint8]], axis: int) -> NDArray[np.int64]:
    """Count annotated pixels of each class that occurs, along one axis, over all planes or volumes."""
    values = sorted({v for target in targets for v in np.unique(target).tolist() if v != IGNORE})
    others = tuple(a for a in range(targets[0].ndim) if a != axis)
    return np.array([sum((t == value).sum(axis=others) for t in targets) for value in values], np.int64)


def _halves(region: Region, axis: int, at: int) -> tuple[Region, Region]:
    stop, start = list(region.stop), list(region.start)
    stop[axis] = start[axis] = at
    return Region(region.pair, region.start, tuple(stop)), Region(region.pair, tuple(start), region.stop)
