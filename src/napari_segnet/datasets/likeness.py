"""Groups of images that look the same, among thousands of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_segnet.data.duplicates import ALIKE, DETAILS_ALIKE, Lookalikes

_ROWS = 500
"""Images that are compared with all others at once."""


class ManyLookalikes(Lookalikes):
    """Remembers what images look like, and says which belong together; memory grows with their number, no faster."""

    def groups(self) -> list[list[int]]:
        """Return groups of images each of which looks like another one of its group, by their numbers."""
        numbers = sorted(self._digests)
        place = {number: i for i, number in enumerate(numbers)}
        leaders = np.arange(len(numbers))
        copies = [(place[same[0]], place[other]) for same in self._same() for other in same[1:]]
        leaders = _joined(leaders, np.array(copies, np.int64).reshape(-1, 2))
        known = sorted(self._coarse)
        if known:
            at = np.array([place[number] for number in known])
            coarse, fine = (np.stack([kept[n] for n in known]) for kept in (self._coarse, self._fine))
            for start in range(0, len(known), _ROWS):
                rows = slice(start, start + _ROWS)
                close = (coarse[rows] @ coarse.T > ALIKE) & (fine[rows] @ fine.T > DETAILS_ALIKE)
                one, other = close.nonzero()
                leaders = _joined(leaders, np.stack([at[one + start], at[other]], axis=1))
        found: dict[int, list[int]] = {}
        for number, leader in zip(numbers, leaders.tolist(), strict=True):
            found.setdefault(leader, []).append(number)
        return [group for group in found.values() if len(group) > 1]


def join(count: int, groups: Sequence[Sequence[int]]) -> list[int]:
    """Return, for each of `count` things, the first of those that it belongs together with; groups may overlap."""
    edges = [(group[0], other) for group in groups for other in group[1:]]
    return [int(first) for first in _joined(np.arange(count), np.array(edges, np.int64).reshape(-1, 2))]


def _joined(leaders: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first member of each thing's group, where `edges` join some more."""
    count = len(leaders)
    ends = np.concatenate([np.stack([np.arange(count), leaders], axis=1), edges])
    graph = sparse.coo_matrix((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), (count, count))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    first = np.full(count, count, np.int64)
    np.minimum.at(first, group, np.arange(count))
    joined: NDArray[np.int64] = first[group]
    return joined
