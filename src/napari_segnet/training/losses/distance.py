"""Losses that know how far from the outline a pixel is.

Distances are Euclidean, in pixels, computed by scipy on the CPU for each batch (augmentation changes the outlines), so
they cost time on large volumes. An outline runs only between pixels that are annotated: the distance of a pixel is
that to the nearest one annotated otherwise. Pixels without annotation have no distance and no say; a class that is
absent from an image, or fills all that is annotated, has no outline there, and distances of zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from torch import Tensor

from napari_segnet.training.losses.base import TINY, ClasswiseLoss, Comparison
from napari_segnet.training.losses.pixel import CrossEntropy
from napari_segnet.training.losses.region import Dice, GeneralizedDice


def distance_to_others(
    members: NDArray[np.bool_], known: NDArray[np.bool_], spacing: Sequence[float]
) -> NDArray[np.float32]:
    """Return the distance of each annotated pixel to the nearest one on the other side of the outline.

    Parameters
    ----------
    members, known : ([Z], Y, X) bool
        The pixels inside, and those that are annotated; members are known.
    spacing : sequence of float
        Distance of neighbours along each axis.

    Returns
    -------
    ([Z], Y, X) float32
        Zero where nothing is annotated, and everywhere where there are no two sides.
    """
    others = known & ~members
    if not members.any() or not others.any():
        return np.zeros(members.shape, np.float32)
    inwards = ndimage.distance_transform_edt(~members, spacing)
    outwards = ndimage.distance_transform_edt(~others, spacing)
    # One of the two is zero on any annotated pixel.
    return np.where(known, inwards + outwards, 0).astype(np.float32)


class _Distance(ClasswiseLoss):
    """A loss with distances; `z_spacing` is for volumes whose planes are farther apart than their pixels."""

    z_spacing: float = Field(1.0, gt=0, le=1000, description="Distance of two planes of a volume, in pixels.")

    def _distances(self, seen: Comparison, members: Tensor) -> Tensor:
        """Return `distance_to_others` of each class in each image: (B, K, [Z], Y, X), without gradient."""
        spacing = (self.z_spacing, 1.0, 1.0)[-(members.ndim - 2) :]
        inside = members.cpu().numpy()
        known = seen.known.expand_as(members).cpu().numpy()
        found = np.zeros(inside.shape, np.float32)
        wanted = (seen.counted(self.background) > 0).nonzero()[:, 0].tolist()
        for image in range(len(inside)):
            for index in wanted:
                found[image, index] = distance_to_others(inside[image, index], known[image, index], spacing)
        return torch.from_numpy(found).to(seen.logits)

    @staticmethod
    def _mean_of_pixels(seen: Comparison, values: Tensor) -> Tensor:
        """Return the mean over annotated pixels, class by class: (K,)."""
        known = seen.known.expand_as(values)
        return (values * known).sum(dim=seen.pixels) / known.sum(dim=seen.pixels).clamp_min(1)


class Boundary(_Distance):
    """A region loss plus `weight` times the distance between the outlines of prediction and truth.

    After Kervadec et al. (2019), https://arxiv.org/abs/1812.07032: the mean of phi (p - g), where phi is the signed
    distance map of the truth (negative inside, zero on its last pixels). The term phi g, which the paper leaves out
    because it is constant, makes it zero for the truth. The paper raises `weight` by 0.01 each epoch; a loss knows no
    epochs, so here it stays what it is.
    """

    weight: float = Field(0.01, ge=0, le=1000, description="Weight of the distance beside the region loss.")
    region: Literal["generalized-dice", "dice", "ce", "none"] = Field(
        "generalized-dice", description="The region loss beside it; alone, the distance has a poor start."
    )

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        return self._region(seen) + self.weight * super().value(seen)

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the distance of the outlines of each class."""
        distance = self._distances(seen, seen.is_true)
        signed = torch.where(seen.is_true, (1 - distance).clamp_max(0), distance)
        return self._mean_of_pixels(seen, signed * (seen.probabilities - seen.truth))

    def _region(self, seen: Comparison) -> Tensor:
        if self.region == "ce":
            return CrossEntropy().value(seen)
        if self.region == "dice":
            return Dice(background=self.background).value(seen)
        if self.region == "generalized-dice":
            return GeneralizedDice(background=self.background).value(seen)
        return (seen.logits * 0).sum()


class Hausdorff(_Distance):
    """Dice loss plus the mean of (p - g)^2 (d_p^alpha + d_g^alpha): errors far from an outline weigh most.

    The distance-transform version of Karimi and Salcudean (2019), https://arxiv.org/abs/1904.10030; d_p and d_g are
    distances to the outlines of the prediction (where p > 1/2) and of the truth. The paper balances the two terms
    anew each epoch; here that is done batch by batch, unless `weight` is given.
    """

    alpha: float = Field(2.0, gt=0, le=10, description="Power of the distances; larger ones look at the worst errors.")
    weight: float | None = Field(
        None, ge=0, le=1e6, description="Weight of the distance term beside Dice; None: as large as Dice in each batch."
    )

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch."""
        dice = Dice(background=self.background).value(seen)
        far = super().value(seen)
        weight = self.weight if self.weight is not None else (dice / far.clamp_min(TINY)).detach()
        return dice + weight * far

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the distance term of each class."""
        of_prediction = self._distances(seen, seen.probabilities.detach() > 0.5)
        of_truth = self._distances(seen, seen.is_true)
        errors = (seen.probabilities - seen.truth) ** 2
        return self._mean_of_pixels(seen, errors * (of_prediction**self.alpha + of_truth**self.alpha))
