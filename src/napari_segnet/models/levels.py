"""The way through a U-Net, whatever its levels are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Levels(nn.Module):
    """Down by pooling, up by joining the features of the same resolution.

    Parameters
    ----------
    down : torch.nn.ModuleList
        A block for each resolution, the finest first; the resolution is halved between them.
    up : torch.nn.ModuleList
        A block for each resolution but the lowest, the coarsest first; called with what lies below and the features
        of its own resolution.
    head : torch.nn.Module
        From the finest features to logits.

    Attributes
    ----------
    stride : int
        What the input's sides have to be multiples of.
    stages : tuple of str
        The coarser decoder stages.
    """

    def __init__(self, down: nn.ModuleList, up: nn.ModuleList, head: nn.Module) -> None:
        super().__init__()
        self.stride = 2 ** len(up)
        self.stages = tuple(f"up.{number}" for number in range(len(up) - 1))
        self.down, self.up, self.head = down, up, head

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        x = self.down[0](x)
        skips = []
        for down in list(self.down)[1:]:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits
