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
    logits : (B, 3, Y, X)

    Returns
    -------
    (B, 2, Y, X) float32
        The softmax of it has the background's probability, and the sum of the other two.
    """
    background, interior, boundary = logits.float().unbind(1)
    return torch.stack([background, torch.logaddexp(interior, boundary)], dim=1)


def class_index(logits: Tensor) -> Tensor:
    """Return the number of the largest of K <= 256 logits; of equal ones the first.

    Parameters
    ----------
    logits : (B, K, Y, X)

    Returns
    -------
    (B, Y, X) uint8
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
    log_probabilities : (B, K, Y, X) float32

    Returns
    -------
    (B, Y, X) float32
        0: one class is certain. 1: all classes are equally likely.
    """
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    return entropy.div_(math.log(log_probabilities.shape[1])).clamp_(0.0, 1.0)


def symmetries() -> Sequence[tuple[int, bool]]:
    """Return the eight symmetries of a square as (quarter turns, mirrored)."""
    return [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def transform(x: Tensor, symmetry: tuple[int, bool]) -> Tensor:
    """Turn, then mirror, a (B, C, Y, X) tensor."""
    turns, mirrored = symmetry
    x = torch.rot90(x, turns, dims=(2, 3))
    return x.flip(3) if mirrored else x


def transform_back(x: Tensor, symmetry: tuple[int, bool]) -> Tensor:
    """Undo `transform`."""
    turns, mirrored = symmetry
    return torch.rot90(x.flip(3) if mirrored else x, -turns, dims=(2, 3))
