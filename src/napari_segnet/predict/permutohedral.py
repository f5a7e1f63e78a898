"""Gaussian filtering among points of many dimensions, in time that grows with their number: the permutohedral lattice.

Adams, Baek and Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral Lattice": space is cut into
simplices whose corners lie on a regular lattice. Each point gives its values to the d + 1 corners of its simplex
(splat), the corners are blurred along the d + 1 directions of the lattice, and each point reads its corners again
(slice). Only corners that a point has touched exist.

Where we differ: the corners are found by sorting their keys, which any device does quickly, not in a hash table; and
the three steps are weighted sums of rows in a fixed order, so that the same points give the same answer to the bit.
As in the reference implementation of Kraehenbuehl and Koltun (2011), what would be blurred over a corner that does
not exist is lost; whoever normalizes makes up for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_SEED = 2010
_MOST_INT32 = 2**31 - 1


class PermutohedralLattice:
    """Sums values over points, weighted by a Gaussian of their distance, with a standard deviation of one.

    Parameters
    ----------
    points : (N, d) float32 tensor
        Divide each coordinate by the standard deviation that is wanted along it. On a CPU or a CUDA device.

    Attributes
    ----------
    size : int
        How many corners there are.
    """

    def __init__(self, points: Tensor) -> None:
        remainder, rank, weights = _enclosing_simplex(points)
        steps = _key_steps(points.shape[1], points.device)
        keys = _corner_keys(remainder, rank, steps)
        integers = torch.int32 if keys.numel() <= _MOST_INT32 else torch.int64
        corners, self._corner_of, self._splat_order, self._splat_start = _distinct(keys, integers)
        self.size = len(corners)
        self._weights = weights.t().contiguous()
        self._splat_weights = self._weights.flatten()[self._splat_order]
        # From an entry (a point and one of its corners) to the point.
        self._splat_order.div_(points.shape[1] + 1, rounding_mode="floor")
        self._neighbours = [_neighbours(corners, step, integers) for step in steps]

    def filter(self, values: Tensor) -> Tensor:
        """Return the Gaussian sums of values, up to a constant factor.

        Parameters
        ----------
        values : (N, K) float32

        Returns
        -------
        (N, K) float32
        """
        lattice = values.new_zeros((self.size + 1, values.shape[1]))  # the last corner stands for those that lack
        lattice[:-1] = F.embedding_bag(
            self._splat_order, values, self._splat_start, mode="sum", per_sample_weights=self._splat_weights
        )
        for neighbours in self._neighbours:
            blurred = F.embedding_bag(neighbours, lattice, mode="sum")
            lattice[:-1].add_(blurred, alpha=0.5)
        return F.embedding_bag(self._corner_of, lattice, mode="sum", per_sample_weights=self._weights)


def _enclosing_simplex(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the simplex that each point lies in.

    Returns
    -------
    remainder : (d + 1, N) float32
        The simplex's corner whose coordinates are multiples of d + 1.
    rank : (d + 1, N) int64
        Which coordinate of the point is farthest above that corner, which next ...: 0 .. d.
    weights : (d + 1, N) float32
        Barycentric weights of the corners; the k-th corner's coordinates leave a remainder of k.
    """
    count, d = points.shape
    # Blurring along d + 1 directions, splatting and slicing together have this variance (section 3.1 of the paper).
    deviation = math.sqrt(2 / 3) * (d + 1)
    elevated = points.new_empty((d + 1, count))
    above = points.new_zeros(count)
    for i in range(d, 0, -1):
        coordinate = points[:, i - 1] * (deviation / math.sqrt(i * (i + 1)))
        elevated[i] = above - i * coordinate
        above += coordinate
    elevated[0] = above

    remainder = (elevated / (d + 1)).round_().mul_(d + 1)
    # Multiples of d + 1 nearest to each coordinate may not sum to zero: so many steps they are off.
    excess = (remainder.sum(0) / (d + 1)).round_().long()
    rank = (elevated - remainder).argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    rank += excess
    turn = (rank < 0).long() - (rank > d).long()
    rank += (d + 1) * turn
    remainder += (d + 1) * turn

    ordered = torch.empty_like(elevated).scatter_(0, rank, elevated - remainder)
    weights = torch.empty_like(ordered)
    weights[1:] = (ordered[:-1] - ordered[1:]).flip(0) / (d + 1)
    weights[0] = 1 - (ordered[0] - ordered[-1]) / (d + 1)
    return remainder, rank, weights


def _key_steps(d: int, device: torch.device) -> Tensor:
    """Return by how much a corner's key changes along each of the d + 1 directions, int64.

    A corner's key is a sum of random 64-bit multiples of its coordinates, modulo 2**64: then neighbours' keys are
    one addition away. Two corners of ten million share a key with a probability below 1e-5.
    """
    generator = torch.Generator().manual_seed(_SEED)
    factors = torch.randint(-(2**62), 2**62, (d + 1,), generator=generator)
    # One step adds 1 to all coordinates but its own, which gets -d.
    return (factors.sum() - (d + 1) * factors).to(device)


def _corner_keys(remainder: Tensor, rank: Tensor, steps: Tensor) -> Tensor:
    """Return the keys of the corners of each point's simplex, (N, d + 1) int64."""
    d = len(steps) - 1
    keys = torch.empty((remainder.shape[1], d + 1), dtype=torch.int64, device=remainder.device)
    # n_i steps in each direction i lead to coordinates of sum(n) - (d + 1) n_i. The first corner's are multiples of
    # d + 1 that sum to zero: there lead -coordinate / (d + 1) steps.
    walked = remainder.div(-(d + 1)).round_().long()
    keys[:, 0] = (walked * steps[:, None]).sum(0)
    # From each corner to the next one step, against the order of the ranks.
    order = rank.argsort(dim=0)
    for k in range(1, d + 1):
        keys[:, k] = keys[:, k - 1] + steps[order[d + 1 - k]]
    return keys


def _distinct(keys: Tensor, integers: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give the corners numbers.

    Returns
    -------
    corners : (M,) int64
        Distinct keys, ascending.
    corner_of : (N, d + 1) integers
        Numbers of each point's corners.
    order : (N * (d + 1),) integers
        Entries of `corner_of` in the order of the corners.
    start : (M,) integers
        Where in `order` each corner begins.
    """
    ordered, order = keys.flatten().sort(stable=True)
    corners, number, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    corner_of = torch.empty_like(order, dtype=integers)
    corner_of[order] = number.to(integers)
    return corners, corner_of.view(keys.shape), order.to(integers), (counts.cumsum(0) - counts).to(integers)


def _neighbours(corners: Tensor, step: Tensor, integers: torch.dtype) -> Tensor:
    """Return the numbers of the neighbours before and after each corner, (M, 2) integers; M: there is none."""
    count = len(corners)
    found = torch.searchsorted(corners, corners + step, out_int32=integers == torch.int32).clamp_(max=count - 1)
    exists = corners[found] == corners + step
    pairs = torch.full((count, 2), count, dtype=integers, device=corners.device)
    here = torch.arange(count, dtype=integers, device=corners.device)
    pairs[:, 1] = torch.where(exists, found, pairs[:, 1])
    # Who is after me has me before.
    pairs[found[exists], 0] = here[exists]
    return pairs
