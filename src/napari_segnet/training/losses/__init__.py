"""Losses on annotated pixels only, by name, for images and volumes.

A new loss is one class here (its fields are its options) and one entry in `training.loss_catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from napari_segnet.config import validated
from napari_segnet.errors import ConfigError
from napari_segnet.training.loss_catalogue import LOSSES, LossSpec, loss_spec
from napari_segnet.training.losses.base import Loss, SegmentationLoss
from napari_segnet.training.losses.pixel import CrossEntropy, soft_cross_entropy
from napari_segnet.training.losses.region import Dice
from napari_segnet.training.losses.sums import DiceCrossEntropy

__all__ = [
    "LOSSES",
    "Loss",
    "LossSpec",
    "SegmentationLoss",
    "cross_entropy",
    "dice_cross_entropy",
    "loss_function",
    "soft_cross_entropy",
    "soft_dice",
]


def loss_function(name: str, options: Mapping[str, object] | None = None) -> SegmentationLoss:
    """Return the loss called `name`, to be called with logits, target and the weights of the classes.

    Parameters
    ----------
    name : str
        A name in `LOSSES`, or one of its aliases.
    options : mapping, optional
        The loss's own options, as in ``train.loss_options``.

    Raises
    ------
    ConfigError
        For a name or an option that doesn't exist, or a value that it can't take.
    """
    spec = loss_spec(name)
    loss, given = spec.load(), dict(options or {})
    unknown = [key for key in given if key not in loss.model_fields]
    if unknown:
        valid = ", ".join(sorted(loss.model_fields)) or "none"
        raise ConfigError(f"The loss {spec.name!r} has no option {unknown[0]!r}.", f"Its options: {valid}.")
    return validated(loss, given)


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean cross-entropy: `CrossEntropy` without options."""
    return CrossEntropy()(logits, target, weights)


def soft_dice(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return one minus the soft Dice coefficient: `Dice` without options."""
    return Dice()(logits, target, weights)


def dice_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of `soft_dice` and `cross_entropy`: `DiceCrossEntropy` without options."""
    return DiceCrossEntropy()(logits, target, weights)
