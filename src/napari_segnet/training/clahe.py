"""Contrast-limited adaptive histogram equalization of a batch, in any number of dimensions, on its device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_BINS = 128
_TILE = 32
"""Side of a tile, pixels, about: patches are small, and a tile needs enough pixels for a histogram."""


def equalize(images: Tensor, limit: Tensor) -> Tensor:
    """Equalize the local histograms of images, with limited contrast.

    Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV (1994). Each tile of about 32
    pixels has the mapping that would make its histogram flat, where a bin counts for at most `limit` times the mean
    bin; between the middles of tiles mappings are interpolated linearly. What is cut off is handed out evenly to the
    bins that have room, by the exact solution instead of over and over. Grey values keep their place within a bin, so
    that no steps appear.

    Parameters
    ----------
    images : (B, C, ...) float32
        Values between -1 and 1 are equalized, what lies outside is kept as it is.
    limit : (B,) float32
        Largest slope of a mapping, at least 1, which changes nothing.

    Returns
    -------
    (B, C, ...) float32
    """
    sides = images.shape[2:]
    inside = images.clamp(-1, 1)
    places = (inside.flatten(0, 1) + 1) * (_BINS / 2)
    bins = places.long().clamp(0, _BINS - 1)
    within = places - bins
    counts = [max(1, round(side / _TILE)) for side in sides]
    heights = _histograms(bins, _tiles(sides, counts, images.device), counts)
    most = limit.to(images.device).repeat_interleave(images.shape[1])[:, None, None]
    clipped = _clip(heights, most)
    starts = (clipped.cumsum(dim=2) - clipped).flatten(1)
    mapped = _interpolate(bins, within, starts, clipped.flatten(1), sides, counts)
    return images - inside + (mapped * (2 / _BINS) - 1).reshape(images.shape)


def _tiles(sides: Sequence[int], counts: Sequence[int], device: torch.device) -> Tensor:
    """Return the number of the tile that each pixel lies in."""
    number = torch.zeros((), dtype=torch.long, device=device)
    for side, count in zip(sides, counts, strict=True):
        number = number[..., None] * count + torch.arange(side, device=device) * count // side
    return number


def _histograms(bins: Tensor, tiles: Tensor, counts: Sequence[int]) -> Tensor:
    """Return how full each bin of each tile is, by the mean bin: (N, tiles, bins)."""
    index = (tiles * _BINS + bins).flatten(1)
    heights = torch.zeros(len(bins), math.prod(counts) * _BINS, device=bins.device)
    heights.scatter_add_(1, index, torch.ones_like(index, dtype=heights.dtype))
    heights = heights.reshape(len(bins), -1, _BINS)
    return heights / heights.mean(dim=2, keepdim=True)


def _clip(heights: Tensor, most: Tensor) -> Tensor:
    """Return min(heights + rest, most), with the one rest that keeps the mean at 1."""
    falling = heights.sort(dim=2, descending=True).values
    # If the n fullest bins are at the limit, this rest remains for each of the others.
    full = torch.arange(_BINS, device=heights.device)
    below = falling.sum(dim=2, keepdim=True) - falling.cumsum(dim=2) + falling
    rest = (_BINS - full * most - below) / (_BINS - full)
    first = (falling + rest <= most + 1e-4).int().argmax(dim=2, keepdim=True)
    return torch.minimum(heights + rest.gather(2, first), most)


def _interpolate(
    bins: Tensor, within: Tensor, starts: Tensor, slopes: Tensor, sides: Sequence[int], counts: Sequence[int]
) -> Tensor:
    """Return each pixel's value (N, ...) by the mappings of the tiles around it, in bins."""
    total = torch.zeros_like(within)
    neighbours = [_neighbours(side, count, bins.device) for side, count in zip(sides, counts, strict=True)]
    for corner in itertools.product((0, 1), repeat=len(sides)):
        tile = torch.zeros((), dtype=torch.long, device=bins.device)
        share = torch.ones((), device=bins.device)
        for axis, which in enumerate(corner):
            tiles, shares = neighbours[axis][which]
            tile, share = tile[..., None] * counts[axis] + tiles, share[..., None] * shares
        index = (tile * _BINS + bins).flatten(1)
        mapped = starts.gather(1, index) + slopes.gather(1, index) * within.flatten(1)
        total += share * mapped.reshape(total.shape)
    return total


def _neighbours(side: int, count: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the tile before and the tile behind each pixel along an axis, with their shares."""
    place = (torch.arange(side, device=device) + 0.5) * (count / side) - 0.5
    low = place.floor()
    behind = place - low
    before = low.long().clamp(0, count - 1), 1 - behind
    return before, ((low.long() + 1).clamp(0, count - 1), behind)
