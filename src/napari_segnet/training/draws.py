"""Random numbers of a batch: which patches are changed, and how much."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_segnet.data.labels import IGNORE

_MOST_RARITY = 4.0
"""A class counts as rare as one with a sixteenth of the commonest class's pixels, however rare it is."""


class Draws:
    """Random numbers for the patches of one batch, on the CPU, so that every device draws the same.

    Parameters
    ----------
    generator : torch.Generator
        On the CPU.
    patches : int
        Number B of patches.
    probability : float
        Share of patches that a change is applied to.
    rarity : (B,) Tensor, optional
        From `rarities`: a patch of rarity r is changed with the probability 1 - (1 - p)^r, as if a change with the
        probability p were drawn r times.
    """

    def __init__(
        self, generator: torch.Generator, patches: int, probability: float, rarity: Tensor | None = None
    ) -> None:
        self.generator, self.patches = generator, patches
        self._probability, self._rarity = probability, rarity

    def uniform(self, low: float, high: float) -> Tensor:
        """Return a number between `low` and `high` for each patch: (B,)."""
        return torch.rand(self.patches, generator=self.generator) * (high - low) + low

    def chosen(self, probability: float | None = None) -> Tensor:
        """Return which patches are changed, (B,) bool; default: with the probability of every change."""
        chance = self._probability if probability is None else probability
        drawn = torch.rand(self.patches, generator=self.generator)
        return drawn < (chance if self._rarity is None else 1 - (1 - chance) ** self._rarity)

    def sometimes(self, low: float, high: float, neutral: float = 0.0) -> Tensor:
        """Return a number between `low` and `high` for patches that are changed, `neutral` for the others: (B,)."""
        values = self.uniform(low, high)
        return torch.where(self.chosen(), values, torch.full_like(values, neutral))

    def whole(self, number: int, count: int = 1) -> Tensor:
        """Return whole numbers from 0 to `number` - 1: (B, count)."""
        return torch.randint(0, number, (self.patches, count), generator=self.generator)

    def rand(self, *shape: int) -> Tensor:
        """Return numbers between 0 and 1: (B, shape)."""
        return torch.rand(self.patches, *shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        """Return numbers of a normal distribution: (B, shape)."""
        return torch.randn(self.patches, *shape, generator=self.generator)


def rarities(targets: Tensor, frequencies: Tensor | None = None) -> Tensor:
    """Say how rare the rarest class of each patch is.

    The rarity of class k is sqrt(f_max / f_k), at most 4, where f_k is its frequency and f_max that of the commonest
    class; a patch is as rare as the rarest class that has a pixel in it. Without a labelled pixel it is 1.

    Parameters
    ----------
    targets : (B, ...) uint8
        Classes and `IGNORE`.
    frequencies : (K,) Tensor, optional
        Of each class, as shares or as numbers of pixels; default: those in `targets`.

    Returns
    -------
    (B,) float32
        On the CPU, 1 to 4.
    """
    flat = targets.flatten(1).long()
    counts = torch.zeros(len(flat), IGNORE + 1, device=targets.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
    counts = counts[:, :IGNORE].cpu()
    known = counts.sum(dim=0)
    if frequencies is not None:
        known = torch.zeros(IGNORE).index_copy(0, torch.arange(len(frequencies)), frequencies.float().cpu())
    # A class that was never counted is the rarest.
    rarity = (known.max().clamp_min(1e-12) / known.clamp_min(1e-12)).sqrt().clamp(1, _MOST_RARITY)
    return torch.where(counts > 0, rarity, torch.ones(())).amax(dim=1)
