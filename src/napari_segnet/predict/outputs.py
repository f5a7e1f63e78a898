"""From logits to what is wanted of them: labels, probabilities, uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Up to so many classes comparing them one by one beats torch.argmax, which makes eight bytes a pixel.
_FEW_CLASSES = 12


def join_object(logits: Tensor) -> Tensor:
    """Reduce logits of background, interior and boundary to those of background and object.

    Parameters
    ----------
    logits : (B, 3, [Z], Y, X)

    Returns
    -------
    (B, 2, [Z], Y, X) float32
        The softmax of it has the background's probability, and the sum of the other two.
    """
    background, interior, boundary = logits.float().unbind(1)
    return torch.stack([background, torch.logaddexp(interior, boundary)], dim=1)


def class_index(logits: Tensor) -> Tensor:
    """Return the number of the largest of K <= 256 logits; of equal ones the first.

    Parameters
    ----------
    logits : (B, K, [Z], Y, X)

    Returns
    -------
    (B, [Z], Y, X) uint8
    """
    count = logits.shape[1]
    if count > _FEW_CLASSES:
        return logits.argmax(dim=1).to(torch.uint8)
    if count == 2:
        return (logits[:, 1] > logits[:, 0]).to(torch.uint8)
    best = logits[:, 0].clone()
    index = torch.zeros_like(best, dtype=torch.uint8)
    for k in range(1, count):
        index.masked_fill_(logits[:, k] > best, k)
        best = torch.maximum(best, logits[:, k])
    return index


def uncertainty(log_probabilities: Tensor) -> Tensor:
    """Return the entropy of the classes, as a share of the largest there can be.

    Parameters
    ----------
    log_probabilities : (B, K, [Z], Y, X) float32

    Returns
    -------
    (B, [Z], Y, X) float32
        0: one class is certain. 1: all classes are equally likely.
    """
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    return entropy.div_(math.log(log_probabilities.shape[1])).clamp_(0.0, 1.0)


Symmetry = tuple[int, bool, bool]
"""Quarter turns in the plane, whether X is mirrored, and whether Z is."""
AS_IT_IS: Symmetry = (0, False, False)


def symmetries(ndim: int) -> Sequence[Symmetry]:
    """Return the eight symmetries of a square; for volumes (`ndim` 3) also with Z mirrored."""
    depths = (False, True) if ndim == 3 else (False,)
    return [(turns, x, z) for z in depths for turns in range(4) for x in (False, True)]


def transform(x: Tensor, symmetry: Symmetry) -> Tensor:
    """Turn, then mirror, a (B, C, [Z], Y, X) tensor."""
    turns, mirrored, upside_down = symmetry
    x = torch.rot90(x, turns, dims=(-2, -1))
    x = x.flip(-1) if mirrored else x
    return x.flip(2) if upside_down else x


def transform_back(x: Tensor, symmetry: Symmetry) -> Tensor:
    """Undo `transform`."""
    turns, mirrored, upside_down = symmetry
    x = x.flip(2) if upside_down else x
    return torch.rot90(x.flip(-1) if mirrored else x, -turns, dims=(-2, -1))
