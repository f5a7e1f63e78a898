"""The simple U-Net of many courses and workshops, in Keras.

A U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) of 16 to 256 filters with padded convolutions,
elementwise dropout between the two convolutions of each level, more of it the lower the level, and no
normalization. It goes back to a kernel of the 2018 Data Science Bowl (K. Amdal-Saevik), where it has 1,941,105
parameters with three channels and one output. We differ in the last layer: it gives logits, at least two of them,
where that one ends with a sigmoid.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.keras_parts import Initializer, UpConvolution, initialize
from napari_segnet.models.registry import NetworkRequest

_SHARES = (1 / 3, 1 / 3, 2 / 3, 2 / 3, 1)
"""Dropout of each level as a share of that at the lowest: 0.1, 0.1, 0.2, 0.2 and 0.3 there."""


class Options(Frozen):
    """Options of the workshop's U-Net."""

    width: int = Field(16, ge=1, le=512, description="Channels at full resolution; doubled at each level.")
    dropout: float = Field(
        0.3, ge=0, lt=1, description="Share of values dropped at the lowest level; 2/3 and 1/3 of it further up."
    )
    initializer: Initializer = Field("he_uniform", description="How the weights of convolutions start.")


class Block(nn.Sequential):
    """Two convolutions of 3 x 3 pixels with ReLU, and dropout between them."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(),
        )


class WorkshopUNet(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of."""

    stride = 16
    stages = ("decoder.0", "decoder.1", "decoder.2")

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        widths = [options.width * 2**level for level in range(len(_SHARES))]
        rates = [options.dropout * share for share in _SHARES]
        self.encoder = nn.ModuleList(
            Block(inputs, width, rate)
            for inputs, width, rate in zip([channels, *widths[:-1]], widths, rates, strict=True)
        )
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(UpConvolution(below, width, 2) for below, width in upwards)
        self.decoder = nn.ModuleList(
            Block(2 * width, width, rate) for (_, width), rate in zip(upwards, rates[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], outputs, 1)
        initialize(self, options.initializer)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        x = skips.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([up(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(request: NetworkRequest) -> WorkshopUNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return WorkshopUNet(request.channels, request.outputs, validated(Options, dict(request.options)))
