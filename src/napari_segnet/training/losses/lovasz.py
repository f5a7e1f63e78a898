"""Losses whose value at hard predictions is one minus the IoU: the Lovász extension of the Jaccard loss.

After Berman, Triki and Blaschko (2018), https://arxiv.org/abs/1705.08790. Over the whole batch, averaged over the
classes that it holds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.training.losses.base import ClasswiseLoss, Comparison


class LovaszSoftmax(ClasswiseLoss):
    """Lovász extension of the Jaccard loss, at the errors |g - p| of softmax (multilabel: sigmoid) probabilities."""

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the loss of each class."""
        return _extension(seen, (seen.truth - seen.probabilities).abs())


class LovaszHinge(ClasswiseLoss):
    """Lovász extension of the Jaccard loss, at the hinge losses of the log-odds of a class against the others.

    Of two classes the log-odds are the difference of the logits, for multilabel they are the logits: the paper's
    binary loss, but for both classes of two (``background=False`` leaves the paper's one). More than two classes,
    each against all others, are our extension.
    """

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the loss of each class."""
        return _extension(seen, F.relu(1 - seen.log_odds * (2 * seen.truth - 1)))


def _extension(seen: Comparison, errors: Tensor) -> Tensor:
    """Return the Lovász extension of each class's Jaccard loss at errors (B, K, [Z], Y, X): (K,)."""
    # At given errors the extension is linear in them: the slopes need no gradient, and only the annotated pixels.
    sizes, truth, known = (t.detach().movedim(1, 0).flatten(1) for t in (errors, seen.truth, seen.known))
    places = [row.nonzero()[:, 0] for row in known]
    slopes = torch.zeros_like(sizes)
    for index in seen.present.nonzero()[:, 0].tolist():
        where = places[index if seen.multilabel else 0]
        where = where[_largest_first(sizes[index, where])]
        slopes[index, where] = jaccard_slopes(truth[index, where])
    shape = (seen.classes, errors.shape[0], *errors.shape[2:])
    return (errors * slopes.view(shape).movedim(0, 1)).sum(dim=seen.pixels)


def _largest_first(errors: Tensor) -> Tensor:
    if errors.device.type == "cpu":
        # numpy sorts a dozen times faster than torch does there.
        return torch.from_numpy(np.argsort(-errors.numpy()))
    return errors.argsort(descending=True)


def jaccard_slopes(truth: Tensor) -> Tensor:
    """Return how much each further error adds to the Jaccard loss.

    Parameters
    ----------
    truth : (P,) float
        0 or 1 of each pixel, the largest error first; at least one is 1.

    Returns
    -------
    (P,) Tensor
        Adds up to at most 1.

    Notes
    -----
    The paper's algorithm 1 subtracts neighbours of the series of losses, which in float32 leaves noise where there
    are millions of pixels. A pixel of the class takes one away from the intersection, any other adds one to the
    union: the differences are known exactly.
    """
    total = truth.sum()
    intersection = total - truth.cumsum(0)
    union = total + (1 - truth).cumsum(0)
    return torch.where(truth > 0, 1 / union, intersection / (union * (union - 1)).clamp_min(1))
