"""Losses that compare regions: overlap and correlation of each class, over the whole batch.

Sums run over all annotated pixels of the batch, not over each image: with few strokes most patches lack some classes.
Papers whose formula is for one foreground class get the mean over the classes that the batch holds.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from napari_segnet.training.losses.base import TINY, ClasswiseLoss, Comparison


class Overlap(ClasswiseLoss):
    """One minus a score of overlap between 0 and 1, class by class."""

    smooth: float = Field(
        1.0, ge=0, le=1e6, description="Pixels added above and below the fraction: small regions count less."
    )

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return one minus the score of each class."""
        return 1 - self.score(seen)

    def score(self, seen: Comparison) -> Tensor:
        """Return the score of each class, (K,)."""
        raise NotImplementedError

    def _ratio(self, shared: Tensor, whole: Tensor) -> Tensor:
        # The whole is at least a pixel for any class that counts; others may lack everything.
        return (shared + self.smooth) / (whole + self.smooth).clamp_min(TINY)


class Dice(Overlap):
    """One minus the soft Dice coefficient, 2 sum(p g) / (sum(p) + sum(g)).

    After Milletari, Navab and Ahmadi (2016), https://arxiv.org/abs/1606.04797, with plain (not squared) terms below
    and sums over the whole batch.
    """

    def score(self, seen: Comparison) -> Tensor:
        """Return the soft Dice coefficient of each class."""
        overlap = (seen.probabilities * seen.truth).sum(dim=seen.pixels)
        return self._ratio(2 * overlap, self._size(seen.probabilities).sum(dim=seen.pixels) + seen.sizes)

    def _size(self, probabilities: Tensor) -> Tensor:
        return probabilities


class SquaredDice(Dice):
    """One minus the soft Dice coefficient with squares below, 2 sum(p g) / (sum(p^2) + sum(g^2)).

    The formula of Milletari, Navab and Ahmadi (2016), https://arxiv.org/abs/1606.04797, with `smooth` added.
    """

    def _size(self, probabilities: Tensor) -> Tensor:
        return probabilities**2


class GeneralizedDice(ClasswiseLoss):
    """One minus one Dice coefficient over all classes, in which a class weighs one over its size squared.

    After Sudre et al. (2017), https://arxiv.org/abs/1707.03237. Classes that are absent from the batch, whose weight
    would be infinite, are left out; class weights come on top.
    """

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        share = seen.counted(self.background) / seen.sizes.clamp_min(1) ** 2
        # Only ratios matter. The largest becomes one: the sums below stay far from zero, and need no smoothing.
        share = share / share.max().clamp_min(torch.finfo(share.dtype).tiny)
        overlap = (seen.probabilities * seen.truth).sum(dim=seen.pixels)
        size = seen.probabilities.sum(dim=seen.pixels) + seen.sizes
        ratio = 2 * (overlap * share).sum() / (size * share).sum().clamp_min(TINY)
        return (1 - ratio) * (share > 0).any()


class Jaccard(Overlap):
    """One minus the soft Jaccard index (IoU), sum(p g) / (sum(p) + sum(g) - sum(p g)).

    After Rahman and Wang (2016), https://doi.org/10.1007/978-3-319-50835-1_22, with `smooth` added.
    """

    def score(self, seen: Comparison) -> Tensor:
        """Return the soft Jaccard index of each class."""
        overlap = (seen.probabilities * seen.truth).sum(dim=seen.pixels)
        return self._ratio(overlap, seen.probabilities.sum(dim=seen.pixels) + seen.sizes - overlap)


class Tversky(Overlap):
    """One minus the Tversky index, TP / (TP + alpha FP + beta FN): what is missed can weigh more than what is too much.

    After Salehi, Erdogmus and Gholipour (2017), https://arxiv.org/abs/1706.05721, with the values that they found
    best; alpha = beta = 1/2 is Dice, alpha = beta = 1 Jaccard. Class 0 is left out as in the paper: with two classes
    what one lacks is what the other has too much, and the two would undo each other.
    """

    background: bool = Field(
        False, description="Whether class 0 counts as the others do; false: it is background and left out."
    )
    alpha: float = Field(0.3, ge=0, le=10, description="Weight of false positives.")
    beta: float = Field(0.7, gt=0, le=10, description="Weight of false negatives.")

    def score(self, seen: Comparison) -> Tensor:
        """Return the Tversky index of each class."""
        p, g = seen.probabilities, seen.truth
        true_positive = (p * g).sum(dim=seen.pixels)
        false_positive = (p * (1 - g)).sum(dim=seen.pixels)
        false_negative = ((1 - p) * g).sum(dim=seen.pixels)
        return self._ratio(true_positive, true_positive + self.alpha * false_positive + self.beta * false_negative)


class FocalTversky(Tversky):
    """The Tversky loss to the power of 1 / gamma, class by class: classes that are nearly right still pull.

    After Abraham and Khan (2019), https://arxiv.org/abs/1810.07842, with gamma = 4/3 and weights 0.3 and 0.7 (the
    paper swaps the names alpha and beta). A hundred-millionth is added before the power, so that its slope stays finite
    at zero; classes are averaged, where the paper adds them.
    """

    gamma: float = Field(4 / 3, gt=0, le=10, description="Above 1 classes that are nearly right count more.")

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the loss of each class."""
        power = 1 / self.gamma
        result: Tensor = ((1 - self.score(seen)).clamp_min(0) + 1e-8) ** power - 1e-8**power
        return result


class MatthewsCorrelation(ClasswiseLoss):
    """One minus Matthews' correlation coefficient of each class against the rest: true negatives count too.

    After Abhishek and Hamarneh (2021), https://arxiv.org/abs/2010.13454. The coefficient is not defined for a class
    that fills all annotated pixels of the batch, or none: such classes are left out.
    """

    def value(self, seen: Comparison) -> Tensor:
        """Return the mean over the classes for which the coefficient is defined."""
        share = seen.counted(self.background) * (self._rest(seen) > 0)
        return (self.of_classes(seen) * share).sum() / share.sum().clamp_min(TINY)

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return one minus the coefficient of each class."""
        p, g = seen.probabilities, seen.truth
        tp, fp = (p * g).sum(dim=seen.pixels), (p * (1 - g)).sum(dim=seen.pixels)
        fn = ((1 - p) * g).sum(dim=seen.pixels)
        tn = ((1 - p) * (1 - g) * seen.known).sum(dim=seen.pixels)
        spread = (seen.sizes * self._rest(seen)).clamp_min(1)
        # Nothing, or everything, may be predicted: a hundred-thousandth of a pixel keeps the root's slope finite.
        return 1 - (tp * tn - fp * fn) / (((tp + fp) * (tn + fn) + 1e-5) * spread).sqrt()

    @staticmethod
    def _rest(seen: Comparison) -> Tensor:
        """Count the annotated pixels of other classes: (K,)."""
        return seen.known.sum(dim=seen.pixels) - seen.sizes
