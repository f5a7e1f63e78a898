"""What all losses share: a loss is a frozen set of options that can be called on a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.config import Frozen
from napari_segnet.data.labels import IGNORE
from napari_segnet.errors import ConfigError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes logits, target and the weights of the classes, and gives a scalar; see `SegmentationLoss`."""

TINY = 1e-6
"""Least weight that a mean is divided by: where nothing is annotated it is zero, not a division by zero."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Logits and target of a batch side by side; what several terms of a loss need is computed once.

    Shapes: batch B, classes K, and the axes of an image or a volume, [Z], Y, X. Two kinds of target are told apart
    by their number of axes:

    - *multiclass*, (B, [Z], Y, X) int64: a pixel has one class; probabilities are the softmax of the logits;
    - *multilabel*, (B, K, [Z], Y, X) of 0 and 1: a pixel has any number of classes; each channel has its own
      sigmoid, and may be unannotated on its own.

    Raises
    ------
    ConfigError
        If the shapes don't fit.
    """

    logits: Tensor
    target: Tensor
    weights: Tensor
    pixel_weights: Tensor | None = None

    def __post_init__(self) -> None:
        shape, target, axes = tuple(self.logits.shape), tuple(self.target.shape), tuple(self.logits.shape[2:])
        if target not in (shape, (shape[0], *axes)):
            raise ConfigError(
                f"A target of shape {target} doesn't fit logits of shape {shape}.",
                "It has no class axis where a pixel has one class, and the classes' axis where it may have several.",
            )
        if not self.multilabel and shape[1] < 2:
            raise ConfigError("One output can't tell two classes apart.", "Give a target with a class axis: 0 and 1.")
        if self.pixel_weights is not None and tuple(self.pixel_weights.shape) != (shape[0], *axes):
            raise ConfigError(
                f"Pixel weights of shape {tuple(self.pixel_weights.shape)} don't fit logits of shape {shape}.",
                "They have the shape of the logits without the class axis.",
            )

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return self.logits.shape[1]

    @property
    def multilabel(self) -> bool:
        """Whether a pixel may have several classes."""
        return self.target.ndim == self.logits.ndim

    @property
    def pixels(self) -> tuple[int, ...]:
        """The axes that a sum over all pixels of the batch runs over: all but the classes'."""
        return (0, *range(2, self.logits.ndim))

    @cached_property
    def known(self) -> Tensor:
        """Where there is annotation: (B, 1, [Z], Y, X) bool, or (B, K, [Z], Y, X) for multilabel."""
        known = self.target != IGNORE
        return known if self.multilabel else known[:, None]

    @cached_property
    def is_true(self) -> Tensor:
        """Where a class is annotated: (B, K, [Z], Y, X) bool."""
        if self.multilabel:
            return self.target == 1
        each = torch.arange(self.classes, device=self.target.device).view(-1, *(1,) * (self.logits.ndim - 2))
        return self.target[:, None] == each

    @cached_property
    def truth(self) -> Tensor:
        """One where a class is annotated, zero elsewhere: (B, K, [Z], Y, X), the logits' type."""
        return self.is_true.to(self.logits.dtype)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities of the classes, (B, K, [Z], Y, X); zero where nothing is annotated."""
        return (self.logits.sigmoid() if self.multilabel else self.logits.softmax(dim=1)) * self.known

    @cached_property
    def log_odds(self) -> Tensor:
        """Return log(p / (1 - p)) of each class against all others: (B, K, [Z], Y, X).

        It is the logit for multilabel, and z1 - z0 for the second of two classes.
        """
        if self.multilabel:
            return self.logits
        z = self.logits.contiguous()  # sums over a few neighbours in memory are slow
        if self.classes == 2:
            return z - z.flip(1)
        # log(1 - p) loses all digits where p is near one. At most one class is likelier than 0.6: there the others
        # are added up without it.
        total = z.logsumexp(dim=1, keepdim=True)
        likely = z - total > math.log(0.6)
        others = z.masked_fill(likely, -torch.inf).logsumexp(dim=1, keepdim=True)
        small = (z - total).exp().masked_fill(likely, 0)
        return z - torch.where(likely, others, total + torch.log1p(-small))

    @cached_property
    def true_log_odds(self) -> Tensor:
        """Log-odds of what is annotated: (B, [Z], Y, X), or of each channel, (B, K, [Z], Y, X), for multilabel."""
        if self.multilabel:
            return self.logits * (2 * self.truth - 1)
        z = self.logits.contiguous()
        others = z.masked_fill(self.is_true, -torch.inf).logsumexp(dim=1)
        return z.gather(1, self.safe_target[:, None])[:, 0] - others

    @cached_property
    def safe_target(self) -> Tensor:
        """The target with class 0 where nothing is annotated: something to index with."""
        return self.target.masked_fill(self.target == IGNORE, 0)

    @cached_property
    def sizes(self) -> Tensor:
        """Annotated pixels of each class in the batch: (K,)."""
        return self.truth.sum(dim=self.pixels)

    @cached_property
    def present(self) -> Tensor:
        """Which classes the batch holds: (K,) bool."""
        return self.sizes > 0

    @cached_property
    def mass(self) -> Tensor:
        """Weight of each pixel, (B, [Z], Y, X), or of each channel of it, (B, K, [Z], Y, X), for multilabel."""
        return self.weigh(self.weights)

    def weigh(self, weights: Tensor) -> Tensor:
        """Return `mass` with other class weights, (K,)."""
        if self.multilabel:
            mass = weights.view(-1, *(1,) * (self.logits.ndim - 2)) * self.known
            return mass if self.pixel_weights is None else mass * self.pixel_weights[:, None]
        mass = weights[self.safe_target].mul(self.known[:, 0])
        return mass if self.pixel_weights is None else mass * self.pixel_weights

    def mean(self, losses: Tensor) -> Tensor:
        """Return the mean of losses by pixel, weighted with `mass` and shaped as it is."""
        return (losses * self.mass).sum() / self.mass.sum().clamp_min(TINY)

    def counted(self, background: bool) -> Tensor:
        """Weight in a mean over the classes, (K,): zero for those absent, and for an unwanted background."""
        share = self.weights * self.present
        if not background and not self.multilabel:
            share = share * (torch.arange(self.classes, device=share.device) > 0)
        return share


class SegmentationLoss(Frozen):
    """A loss: its fields are its options, and calling it gives the loss of a batch."""

    weighs_pixels: ClassVar[bool] = False
    """Whether it has a mean over pixels in it, where pixels can have weights of their own."""

    def __call__(
        self, logits: Tensor, target: Tensor, weights: Tensor, *, pixel_weights: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        logits : (B, K, [Z], Y, X) float32
        target : (B, [Z], Y, X) int64, or (B, K, [Z], Y, X) of 0 and 1
            Class indices, or (multilabel) whether a pixel has a class. `IGNORE` takes no part.
        weights : (K,) float32
            Weight of each class.
        pixel_weights : (B, [Z], Y, X) float32, optional
            Weight of each pixel beside that of its class, such as `weights.border_weights`.

        Returns
        -------
        scalar Tensor
            Zero, with a gradient of zero, where nothing is annotated.

        Raises
        ------
        ConfigError
            If the shapes don't fit, or the loss has no place for pixel weights.
        """
        if pixel_weights is not None and not self.weighs_pixels:
            raise ConfigError(
                f"{type(self).__name__} compares whole regions, and can't weigh single pixels.",
                "Choose a loss with a mean over pixels, such as ce, focal or dice+ce.",
            )
        return self.value(Comparison(logits, target, weights, pixel_weights))

    def value(self, seen: Comparison) -> Tensor:
        """Return the loss of a batch that is laid out already."""
        raise NotImplementedError


class ClasswiseLoss(SegmentationLoss):
    """A loss that is a mean over classes. Classes that are absent from the batch are left out of it."""

    background: bool = Field(
        True, description="Whether class 0 counts as the others do; false: it is background and left out."
    )

    def value(self, seen: Comparison) -> Tensor:
        """Return the mean of the classes' losses, weighted with the classes' weights."""
        share = seen.counted(self.background)
        return (self.of_classes(seen) * share).sum() / share.sum().clamp_min(TINY)

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the loss of each class, (K,); finite, whether the class is there or not."""
        raise NotImplementedError


def cross_entropy_by_pixel(seen: Comparison, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each pixel, (B, [Z], Y, X), or for multilabel of each channel of it.

    Nothing is weighed; what stands where nothing is annotated is finite and means nothing. `smoothing` is the share
    of the target that is spread over all classes (for multilabel: over yes and no).
    """
    if seen.multilabel:
        target = seen.truth * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(seen.logits, target, reduction="none")
    losses = F.cross_entropy(seen.logits, seen.target, ignore_index=IGNORE, reduction="none")
    if smoothing:
        losses = (1 - smoothing) * losses - smoothing * seen.logits.log_softmax(dim=1).mean(dim=1)
    return losses
