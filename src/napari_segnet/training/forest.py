"""A random forest on filter features: the first answer to strokes, and a guide for the network's first steps.

With few painted pixels a forest is good within a second, while a network from scratch has hardly begun. Its
probabilities are soft targets for the pixels that nobody painted: they tell the network about the rest of the
image, their weight fades, and where strokes are, strokes count. (Learning from another model's probabilities:
Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from napari_segnet.data.labels import IGNORE
from napari_segnet.data.sampling import ImageCache
from napari_segnet.data.split import Region

_MOST_PIXELS = 3_000_000
_MOST_SAMPLES = 60_000
_SPARSE = 0.2
_SIGMA_MAX = 8.0


def is_sparse(targets: Sequence[NDArray[np.uint8]], regions: Sequence[Region]) -> bool:
    """Say whether so little is annotated that the rest of the image has more to teach."""
    known = sum(np.count_nonzero(_cut(targets, region) != IGNORE) for region in regions)
    return bool(0 < known < _SPARSE * sum(math.prod(region.shape) for region in regions))


def forest_guide(
    cache: ImageCache, targets: Sequence[NDArray[np.uint8]], regions: Sequence[Region], outputs: int, seed: int
) -> dict[int, NDArray[np.float16]]:
    """Fit a forest to the strokes, and let it say what it thinks of every pixel.

    Parameters
    ----------
    cache : ImageCache
    targets : sequence of ([Z], Y, X) uint8
    regions : sequence of Region
        Training regions; the best annotated are used, up to about three million pixels in all. Larger images are
        left out: their answer would take longer than the network's.
    outputs : int
        Number of classes, K.
    seed : int

    Returns
    -------
    dict of int to (K, *shape) float16
        Number of the region -> probabilities. Empty where the strokes touch one class only, or all images are large.
    """
    chosen = _choose(targets, regions)
    features = {number: _features(cache, regions[number]) for number in chosen}
    samples, classes = [], []
    for number in chosen:
        target = _cut(targets, regions[number])
        known = target != IGNORE
        samples.append(features[number][known])
        classes.append(target[known])
    x, y = np.concatenate(samples or [np.empty((0, 1))]), np.concatenate(classes or [np.empty(0, np.uint8)])
    if len(np.unique(y)) < 2:
        return {}
    if len(y) > _MOST_SAMPLES:
        picked = np.random.default_rng(seed).choice(len(y), _MOST_SAMPLES, replace=False)
        x, y = x[picked], y[picked]
    forest = RandomForestClassifier(
        n_estimators=50, min_samples_leaf=2, max_samples=min(0.5, 20_000 / len(y)), class_weight="balanced",
        n_jobs=-1, random_state=seed,
    )  # fmt: skip
    forest.fit(x, y)
    return {number: _answer(forest, features[number], outputs) for number in chosen}


def _choose(targets: Sequence[NDArray[np.uint8]], regions: Sequence[Region]) -> list[int]:
    counts = [int(np.count_nonzero(_cut(targets, region) != IGNORE)) for region in regions]
    chosen: list[int] = []
    pixels = 0
    for number in np.argsort(counts)[::-1].tolist():
        size = math.prod(regions[number].shape)
        if counts[number] > 0 and pixels + size <= _MOST_PIXELS:
            chosen.append(number)
            pixels += size
    return chosen


def _cut(targets: Sequence[NDArray[np.uint8]], region: Region) -> NDArray[np.uint8]:
    return targets[region.pair][region.slices]


def _features(cache: ImageCache, region: Region) -> NDArray[np.float32]:
    image = cache.read(region.pair, region.slices)
    found: NDArray[Any] = multiscale_basic_features(image, sigma_min=1, sigma_max=_SIGMA_MAX, channel_axis=0)
    return found.astype(np.float32, copy=False)


def _answer(forest: RandomForestClassifier, features: NDArray[np.float32], outputs: int) -> NDArray[np.float16]:
    *shape, number = features.shape
    found = forest.predict_proba(features.reshape(-1, number))
    probabilities = np.zeros((outputs, math.prod(shape)), np.float16)
    probabilities[forest.classes_] = found.T
    return probabilities.reshape(outputs, *shape)
