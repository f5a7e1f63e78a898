"""Losses on annotated pixels only, by name.

A new loss is one function ``loss(logits, target, weights) -> scalar`` and one entry in `LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.data.labels import IGNORE
from napari_segnet.errors import unknown_name

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossSpec:
    """A loss that can be chosen by name."""

    name: str
    idea: str
    paper: str
    compute: Loss


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy over annotated pixels.

    Parameters
    ----------
    logits : (B, K, Y, X) float32
    target : (B, Y, X) int64
        Class indices; `IGNORE` takes no part.
    weights : (K,) float32
        Weight of each class.

    Returns
    -------
    scalar Tensor
        Zero, with a gradient, where nothing is annotated.
    """
    total = F.cross_entropy(logits, target, weights, ignore_index=IGNORE, reduction="sum")
    known = target != IGNORE
    mass = weights[target.masked_fill(~known, 0)].mul(known).sum()
    return total / mass.clamp_min(1e-6)


def soft_dice(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, averaged over the classes that the batch holds.

    Shapes as in `cross_entropy`. After Milletari, Navab and Ahmadi (2016), https://arxiv.org/abs/1606.04797, with
    the sums taken over the whole batch and plain (not squared) terms in the denominator. Classes that are absent
    from the batch are left out of the mean: with few strokes most batches lack some.
    """
    known = (target != IGNORE)[:, None]
    classes = logits.shape[1]
    one_hot = F.one_hot(target.masked_fill(~known[:, 0], 0), classes).permute(0, 3, 1, 2) * known
    probabilities = logits.softmax(dim=1) * known
    overlap = (probabilities * one_hot).sum(dim=(0, 2, 3))
    size = probabilities.sum(dim=(0, 2, 3)) + one_hot.sum(dim=(0, 2, 3))
    present = one_hot.sum(dim=(0, 2, 3)) > 0
    share = weights * present
    dice = 1 - (2 * overlap + 1) / (size + 1)
    return (dice * share).sum() / share.sum().clamp_min(1e-6)


def dice_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Sum of `cross_entropy` and `soft_dice`; shapes as there.

    After Isensee et al. 2021 (nnU-Net), https://doi.org/10.1038/s41592-020-01008-z.
    """
    return cross_entropy(logits, target, weights) + soft_dice(logits, target, weights)


LOSSES: dict[str, LossSpec] = {
    spec.name: spec
    for spec in (
        LossSpec("dice+ce", "Soft Dice plus cross-entropy: steady, and good for uneven classes.",
                 "Isensee et al. 2021, doi:10.1038/s41592-020-01008-z", dice_cross_entropy),
        LossSpec("ce", "Cross-entropy: calibrated probabilities.", "-", cross_entropy),
        LossSpec("dice", "Soft Dice: optimizes the overlap itself.",
                 "Milletari, Navab, Ahmadi 2016, arXiv:1606.04797", soft_dice),
    )
}  # fmt: skip


def loss_function(name: str) -> Loss:
    """Return the loss called `name`; raises `ConfigError` with near names."""
    try:
        return LOSSES[name.lower()].compute
    except KeyError:
        raise unknown_name("loss", name, LOSSES) from None


def soft_cross_entropy(logits: Tensor, guide: Tensor, where: Tensor) -> Tensor:
    """Mean cross-entropy against soft targets.

    Parameters
    ----------
    logits, guide : (B, K, Y, X) float32
        The sum of the guide over the classes is the weight of a pixel; zero where there is nothing to say.
    where : (B, Y, X) bool
        The pixels of which the mean is taken.
    """
    losses = -(guide * torch.log_softmax(logits, dim=1)).sum(dim=1)
    return (losses * where).sum() / where.sum().clamp_min(1)
