"""Images that are there twice, or nearly: a copy in validation would say that learning by heart is understanding.

Exact copies are found by a digest of their pixels. Near copies (compressed, brightened or scaled ones, neighbouring
frames of a film) look alike as thumbnails of 16 x 16 pixels. That alone would also find images that only share an
uneven illumination, so details have to agree too, in thumbnails of 32 x 32 pixels without what is smooth in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize

from napari_segnet.data.normalization import sparsely
from napari_segnet.data.pairs import TrainingPair

_MOST = 2000
"""Images that are compared at most."""
_SAMPLE = 512 * 512
ALIKE = 0.995
DETAILS_ALIKE = 0.9
_SIDES = (16, 32)


class Lookalikes:
    """Remembers what images look like, and says which are alike."""

    def __init__(self) -> None:
        self._digests: dict[int, str] = {}
        self._coarse: dict[int, NDArray[np.float32]] = {}
        self._fine: dict[int, NDArray[np.float32]] = {}

    def look(self, number: int, image: Any) -> None:
        """Remember an image (C, [Z], Y, X); of large ones every n-th row and column is looked at."""
        sample = np.ascontiguousarray(image[sparsely(image.shape, _SAMPLE)])
        self._digests[number] = hashlib.sha256(f"{image.shape}{sample.dtype}".encode() + sample.tobytes()).hexdigest()
        values = np.nan_to_num(sample.astype(np.float32), posinf=0, neginf=0)
        picture = values.mean(axis=tuple(range(values.ndim - 2)))
        coarse, fine = (resize(picture, (side, side), order=1, anti_aliasing=True) for side in _SIDES)
        # Twice, and without the border: of an illumination not even its curvature is left.
        details = fine
        for _ in range(2):
            details = (details - ndimage.uniform_filter(details, 3))[1:-1, 1:-1]
        if np.ptp(picture) == 0:
            self._digests[number] = f"blank {number}"  # as all blank ones: there is nothing to learn by heart
        if min(coarse.std(), details.std()) <= 1e-6 * np.ptp(picture):
            return
        self._coarse[number], self._fine[number] = _standard(coarse), _standard(details)

    def look_at_rest(self, pairs: Sequence[TrainingPair]) -> None:
        """Look at what wasn't seen yet of some pairs, at 2,000 of them at most."""
        for number in np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), _MOST)).round().astype(int)).tolist():
            if number not in self._digests:
                self.look(number, pairs[number].image())

    def alike(self) -> list[tuple[int, int]]:
        """Return pairs of images that are alike, the smaller number first."""
        found = {(numbers[0], other) for numbers in self._same() for other in numbers[1:]}
        numbers = sorted(self._coarse)
        if numbers:
            coarse, fine = (np.stack([kept[n] for n in numbers]) for kept in (self._coarse, self._fine))
            close = np.triu((coarse @ coarse.T > ALIKE) & (fine @ fine.T > DETAILS_ALIKE), k=1)
            found |= {(numbers[a], numbers[b]) for a, b in zip(*close.nonzero(), strict=True)}
        return sorted(found)

    def _same(self) -> list[list[int]]:
        by_digest: dict[str, list[int]] = {}
        for number, digest in sorted(self._digests.items()):
            by_digest.setdefault(digest, []).append(number)
        return list(by_digest.values())


def _standard(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values with a mean of zero and a length of one: products of two of them are correlations."""
    centred = (values - values.mean()).ravel()
    standard: NDArray[np.float32] = (centred / np.linalg.norm(centred)).astype(np.float32)
    return standard


def join_groups(
    groups: Sequence[str], shapes: Sequence[tuple[int, ...]], alike: Sequence[tuple[int, int]]
) -> tuple[list[str], str]:
    """Put images that are alike into one group, so that no split comes between them.

    Parameters
    ----------
    groups : sequence of str
        Name of the image that each plane or volume belongs to. Planes of one image are alike anyway.
    shapes : sequence of tuple of int
        Of each plane or volume. Few images are cut in two, all of a group at the same place: then only those of one
        shape are joined.
    alike : sequence of (int, int)
        Planes or volumes that look the same, from `Lookalikes.alike`.

    Returns
    -------
    groups : list of str
        A group has the name of its first image.
    words : str
        One sentence to warn with; empty where nothing is alike.
    """
    between = [(a, b) for a, b in alike if groups[a] != groups[b]]
    joined = _joined(groups, between)
    if len(set(joined)) < 4:
        joined = _joined(groups, [(a, b) for a, b in between if shapes[a] == shapes[b]])
    names = list(dict.fromkeys((groups[a], groups[b]) for a, b in between))
    if not names:
        return joined, ""
    shown = ", ".join(f"{a} and {b}" for a, b in names[:3]) + (f", and {len(names) - 3} more" if len(names) > 3 else "")
    return joined, f"Images look the same ({shown}): they stay on one side of the split; leave out what is a copy."


def _joined(groups: Sequence[str], alike: Sequence[tuple[int, int]]) -> list[str]:
    leader = {name: name for name in groups}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    order = {name: n for n, name in enumerate(dict.fromkeys(groups))}
    for a, b in alike:
        first, second = sorted((find(groups[a]), find(groups[b])), key=order.__getitem__)
        leader[second] = first
    return [find(name) for name in groups]
