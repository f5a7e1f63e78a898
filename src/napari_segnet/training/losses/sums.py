"""Sums of losses, under the names that people give them. Pixel weights go to the terms that have a place for them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.training.losses.base import Comparison
from napari_segnet.training.losses.lovasz import LovaszSoftmax
from napari_segnet.training.losses.pixel import BinaryCrossEntropy, CrossEntropy, Focal
from napari_segnet.training.losses.region import Dice


class DiceCrossEntropy(Dice):
    """Sum of `Dice` and `CrossEntropy`.

    After Isensee et al. 2021 (nnU-Net), https://doi.org/10.1038/s41592-020-01008-z.
    """

    weighs_pixels: ClassVar[bool] = True
    smoothing: float = Field(0.0, ge=0, lt=1, description="Label smoothing of the cross-entropy.")
    dice_weight: float = Field(1.0, ge=0, le=1000, description="Weight of Dice beside 1 for the cross-entropy.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        return CrossEntropy(smoothing=self.smoothing).value(seen) + self.dice_weight * super().value(seen)


class BinaryCrossEntropyDice(Dice):
    """Sum of `BinaryCrossEntropy` and `Dice`; 1 + BCE - Dice coefficient is the same.

    Of two classes it is `DiceCrossEntropy`.
    """

    weighs_pixels: ClassVar[bool] = True
    dice_weight: float = Field(1.0, ge=0, le=1000, description="Weight of Dice beside 1 for the cross-entropy.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        return BinaryCrossEntropy().value(seen) + self.dice_weight * super().value(seen)


class BinaryCrossEntropyLogDice(Dice):
    """Binary cross-entropy minus the logarithm of the Dice coefficient, averaged over the classes.

    Usual in courses with Keras, where Dice is that of the foreground alone and not smoothed: ``background=False`` and
    ``smooth=0`` give it. The logarithm is taken of Dice plus 1e-7, as there.
    """

    weighs_pixels: ClassVar[bool] = True

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        return BinaryCrossEntropy().value(seen) + super().value(seen)

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return minus the logarithm of the Dice coefficient of each class."""
        return -(self.score(seen) + 1e-7).log()


class Combo(Dice):
    """Cross-entropy whose positives weigh `beta` and negatives 1 - `beta`, times `alpha`, plus 1 - `alpha` times Dice.

    After Taghanaki et al. (2019), https://arxiv.org/abs/1805.02798, where the Dice coefficients are added up and
    taken away; here the mean over the classes of one minus Dice is added, so that the loss is zero for the truth.
    Class 0 is left out of both terms, as in the paper: of two classes the positives of one are the negatives of the
    other, and `beta` would do nothing.
    """

    weighs_pixels: ClassVar[bool] = True
    background: bool = Field(
        False, description="Whether class 0 counts as the others do; false: it is background and left out."
    )
    alpha: float = Field(0.5, ge=0, le=1, description="Weight of the cross-entropy; the rest is that of Dice.")
    beta: float = Field(0.5, gt=0, lt=1, description="Weight of positives: above 1/2 what is missed weighs more.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        losses = F.binary_cross_entropy_with_logits(seen.log_odds, seen.truth, reduction="none")
        losses = losses * (self.beta * seen.truth + (1 - self.beta) * (1 - seen.truth))
        if not seen.multilabel:
            losses = losses[:, 0 if self.background else 1 :].mean(dim=1)
        return self.alpha * seen.mean(losses) + (1 - self.alpha) * super().value(seen)


class FocalLovasz(LovaszSoftmax):
    """Sum of `Focal` and `LovaszSoftmax`: pixels first, then the IoU itself."""

    weighs_pixels: ClassVar[bool] = True
    gamma: float = Field(2.0, ge=0, le=10, description="How much the focal loss holds easy pixels down.")
    lovasz_weight: float = Field(1.0, ge=0, le=1000, description="Weight of the Lovász loss beside 1 for the focal.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        return Focal(gamma=self.gamma).value(seen) + self.lovasz_weight * super().value(seen)


class BinaryCrossEntropyDiceFocal(BinaryCrossEntropyDice):
    """Sum of `BinaryCrossEntropy`, `Dice` and `Focal`, as in many winning entries of competitions."""

    gamma: float = Field(2.0, ge=0, le=10, description="How much the focal loss holds easy pixels down.")
    focal_weight: float = Field(1.0, ge=0, le=1000, description="Weight of the focal loss beside 1 for the others.")

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        return super().value(seen) + self.focal_weight * Focal(gamma=self.gamma).value(seen)
