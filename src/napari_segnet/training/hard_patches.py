"""Patches that went worst lately, to be shown again.

A habit of competitions ("repeat the worst batch out of ten"), and online hard example mining by patches (Shrivastava,
Gupta and Girshick 2016, https://arxiv.org/abs/1604.03540, do it by regions within an image). The list is a part of the
checkpoint, so that a resumed run shows the same patches again.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari_segnet.data.sampling import Place

_BATCHES = 10
"""The worst are chosen out of the patches of so many batches."""


def remember(known: Sequence[Sequence[float]], places: Sequence[Place], losses: Sequence[float]) -> list[list[float]]:
    """Return what is known of patches after one more batch.

    Parameters
    ----------
    known : sequence of (region, [z], y, x, loss)
        The oldest first.
    places : sequence of Place
        The patches of the batch. Of a patch that was shown again only the new loss counts.
    losses : sequence of float
        The loss of each.

    Returns
    -------
    list of [region, [z], y, x, loss]
        At most ten batches.
    """
    shown = set(places)
    kept = [list(entry) for entry in known if _place(entry) not in shown]
    return [*kept, *([*place, loss] for place, loss in zip(places, losses, strict=True))][-_BATCHES * len(places) :]


def how_many(share: float, step: int, number: int) -> int:
    """Return how many of the `number` patches of a step are shown again, so that over many steps the share is right."""
    return int(share * number * (step + 1)) - int(share * number * step)


def worst(known: Sequence[Sequence[float]], number: int) -> list[Place]:
    """Return the places of the patches with the largest losses, at most `number`; of equal ones the older."""
    return [_place(entry) for entry in sorted(known, key=lambda entry: -entry[-1])[:number]]


def _place(entry: Sequence[float]) -> Place:
    return tuple(int(value) for value in entry[:-1])
