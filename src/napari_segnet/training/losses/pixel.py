"""Losses that are a mean over pixels."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.data.labels import IGNORE
from napari_segnet.training.losses.base import TINY, Comparison, SegmentationLoss, cross_entropy_by_pixel


class CrossEntropy(SegmentationLoss):
    """Mean cross-entropy over annotated pixels, weighted with the weights of their classes.

    For multilabel it is the binary cross-entropy of each channel, weighted with the channel's weight. With
    `smoothing` e the target is 1 - e for the right class plus e / K for each (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567); for multilabel it is moved by e / 2 towards 1/2.
    """

    weighs_pixels: ClassVar[bool] = True
    smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that is spread over all classes.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        if self.smoothing or seen.multilabel or seen.pixel_weights is not None:
            return seen.mean(cross_entropy_by_pixel(seen, self.smoothing))
        # The same in one go.
        total = F.cross_entropy(seen.logits, seen.target, seen.weights, ignore_index=IGNORE, reduction="sum")
        return total / seen.mass.sum().clamp_min(TINY)


class LabelSmoothing(CrossEntropy):
    """Cross-entropy with smoothed labels, as in `CrossEntropy`; 0.1 as in Szegedy et al. 2016."""

    smoothing: float = Field(0.1, ge=0, lt=1, description="Share of the target that is spread over all classes.")


class BalancedCrossEntropy(CrossEntropy):
    """Cross-entropy in which each class of the batch has the same say, however many pixels it has.

    After Xie and Tu (2015), https://arxiv.org/abs/1504.06375, whose two classes become any number: a pixel weighs
    one over the pixels of its class in the batch. Class weights come on top. For multilabel the pixels that have the
    class and those that don't balance each other, channel by channel.
    """

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        losses = cross_entropy_by_pixel(seen, self.smoothing)
        if not seen.multilabel:
            mass = seen.weigh(seen.weights / seen.sizes.clamp_min(1))
        else:
            without = seen.known.sum(dim=seen.pixels) - seen.sizes
            sizes = torch.stack([without, seen.sizes]).clamp_min(1).view(2, -1, *(1,) * (seen.logits.ndim - 2))
            mass = seen.mass / torch.where(seen.is_true, sizes[1], sizes[0])
        return (losses * mass).sum() / mass.sum().clamp_min(TINY)


class BinaryCrossEntropy(SegmentationLoss):
    """Binary cross-entropy of each class against all others, averaged over the classes.

    Of two classes it is the cross-entropy, for multilabel that of each channel's sigmoid; of more classes it is what
    Keras' ``binary_crossentropy`` says of softmax probabilities. A pixel weighs what its class weighs.
    """

    weighs_pixels: ClassVar[bool] = True

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        losses = F.binary_cross_entropy_with_logits(seen.log_odds, seen.truth, reduction="none")
        return seen.mean(losses if seen.multilabel else losses.mean(dim=1))


class Focal(SegmentationLoss):
    """Cross-entropy times (1 - p)^gamma, where p is the probability of what is right: easy pixels count less.

    After Lin et al. (2017), https://arxiv.org/abs/1708.02002. Differences: softmax probabilities unless the target
    is multilabel; the sum is divided by the weight of the annotated pixels, not by the number of boxes; the paper's
    alpha is off, because the classes have weights (it pays where they can't help, between the pixels of a multilabel
    channel that have the class and those that don't).
    """

    weighs_pixels: ClassVar[bool] = True
    gamma: float = Field(2.0, ge=0, le=10, description="How much easy pixels are held down; 0 is cross-entropy.")
    alpha: float | None = Field(
        None, gt=0, lt=1, description="Factor for the class (multiclass: all but class 0); 1 - alpha for the rest."
    )

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        wrong = -seen.true_log_odds
        # The power of 1 - p by its logarithm: the slope of a power at zero is infinite where gamma is below one.
        losses = F.softplus(wrong) * (self.gamma * F.logsigmoid(wrong)).exp()
        if self.alpha is not None:
            positive = seen.is_true if seen.multilabel else seen.safe_target > 0
            losses = losses * torch.where(positive, self.alpha, 1 - self.alpha)
        return seen.mean(losses)


class TopK(SegmentationLoss):
    """Cross-entropy of the share of annotated pixels on which it is largest, class weights included.

    After Wu, Shen and van den Hengel (2016), https://arxiv.org/abs/1605.06885; a tenth as in nnU-Net's loss of that
    name (Isensee et al. 2021). The hardest pixels are looked for in the whole batch.
    """

    weighs_pixels: ClassVar[bool] = True
    share: float = Field(0.1, gt=0, le=1, description="Share of the annotated pixels that counts; 1 is cross-entropy.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        losses, mass = _annotated(seen)
        return _mean_of(losses, mass, _hardest(losses * mass, self.share))


class OnlineHardPixels(SegmentationLoss):
    """Cross-entropy of the pixels whose right class has a low probability, and of a least share in any case.

    After Shrivastava, Gupta and Girshick (2016), https://arxiv.org/abs/1604.03540, who mined boxes; for pixels with
    the threshold of 0.7 that is usual in segmentation. The least share is a sixteenth of the annotated pixels.
    """

    weighs_pixels: ClassVar[bool] = True
    threshold: float = Field(0.7, gt=0, lt=1, description="Pixels count where the right class is less likely.")
    share: float = Field(1 / 16, gt=0, le=1, description="Least share of the annotated pixels that counts.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        losses, mass = _annotated(seen)
        hard = (losses > -math.log(self.threshold)).nonzero()[:, 0]
        least = _hardest(losses * mass, self.share)
        return _mean_of(losses, mass, hard if len(hard) >= len(least) else least)


def _annotated(seen: Comparison) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and weight of the annotated pixels (channels of pixels for multilabel): (P,) each."""
    known = seen.known if seen.multilabel else seen.known[:, 0]
    return cross_entropy_by_pixel(seen)[known], seen.mass[known]


def _hardest(losses: Tensor, share: float) -> Tensor:
    """Return the indices of the largest losses, rounded up to whole pixels."""
    return losses.detach().topk(math.ceil(share * len(losses))).indices


def _mean_of(losses: Tensor, mass: Tensor, chosen: Tensor) -> Tensor:
    return (losses * mass)[chosen].sum() / mass[chosen].sum().clamp_min(TINY)


def soft_cross_entropy(logits: Tensor, guide: Tensor, where: Tensor) -> Tensor:
    """Mean cross-entropy against soft targets.

    Parameters
    ----------
    logits, guide : (B, K, [Z], Y, X) float32
        The sum of the guide over the classes is the weight of a pixel; zero where there is nothing to say.
    where : (B, [Z], Y, X) bool
        The pixels of which the mean is taken.
    """
    losses = -(guide * torch.log_softmax(logits, dim=1)).sum(dim=1)
    return (losses * where).sum() / where.sum().clamp_min(1)
