"""Batches that tests of losses share."""

from dataclasses import dataclass

import torch

from napari_segnet.data.labels import IGNORE
from napari_segnet.training.losses import LOSSES, loss_function

NAMES = sorted(LOSSES)
STEADY = {"hausdorff": {"weight": 0.1}}
"""Options without which a loss has a factor that is taken to be constant though it is not."""
IN_PLACE = ("boundary", "hausdorff", "active-contour", "cldice")
"""Losses for which it matters where a pixel is."""


@dataclass
class Case:
    """A random batch; each class is there, and some pixels are not annotated."""

    logits: torch.Tensor
    target: torch.Tensor
    weights: torch.Tensor

    def loss(self, name, options=None, **changes):
        parts = {"logits": self.logits, "target": self.target, "weights": self.weights, **changes}
        return loss_function(name, options)(**parts)

    def certain(self, sure=30.0):
        """Return the logits of a perfect prediction."""
        if self.target.ndim == self.logits.ndim:
            return sure * ((self.target == 1).float() * 2 - 1)
        return sure * (one_hot(self.target.masked_fill(self.target == IGNORE, 0), len(self.weights)).float() * 2 - 1)


def make(kind, size=6, batch=2, seed=0, ignored=0.0, dtype=torch.float32):
    """Make a batch of "binary", "multiclass", "volume" or "multilabel" pixels."""
    generator = torch.Generator().manual_seed(seed)
    axes = (3, size, size + 1) if kind == "volume" else (size, size + 1)
    classes = 2 if kind == "binary" else 3
    logits = torch.randn(batch, classes, *axes, generator=generator, dtype=dtype)
    shape = (batch, classes, *axes) if kind == "multilabel" else (batch, *axes)
    target = torch.randint(0, 2 if kind == "multilabel" else classes, shape, generator=generator)
    target[torch.rand(shape, generator=generator) < ignored] = IGNORE
    return Case(logits, target, torch.ones(classes, dtype=dtype))


KINDS = ("binary", "multiclass", "volume", "multilabel")


def one_hot(target, classes=3):
    return torch.nn.functional.one_hot(target, classes).movedim(-1, 1)
