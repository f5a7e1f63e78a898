"""A plain U-Net that learns quickly from scratch on a CPU.

After Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597, with these differences: padded
convolutions (the output has the input's size), batch normalization (Ioffe and Szegedy 2015), residual blocks (He
et al. 2016), nearest-neighbour upsampling instead of transposed convolutions, and a decoder of half the
encoder's weight.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest


class Options(Frozen):
    """Options of the plain U-Net, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(16, ge=1, le=512, description="Channels at full resolution; doubled at each level.")
    depth: int = Field(4, ge=1, le=7, description="How often the resolution is halved.")
    max_width: int = Field(256, ge=1, le=4096, description="Most channels at any level.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of channels dropped at the lowest level.")


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalization and ReLU, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, outputs, Y, X)."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Up(nn.Module):
    """Twice the resolution, joined with the encoder's features of that resolution."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.conv = nn.Conv2d(outputs + skip, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) and (B, skip, 2Y, 2X) to (B, outputs, 2Y, 2X)."""
        # Fewer channels first: a 1 x 1 convolution commutes with upsampling by copying, at a quarter of the work.
        x = F.interpolate(self.reduce(x), scale_factor=2.0, mode="nearest")
        return F.relu(self.norm(self.conv(torch.cat([x, skip], dim=1))))


class PlainUNet(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of."""

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        widths = [min(options.width * 2**level, options.max_width) for level in range(options.depth + 1)]
        self.stride = 2**options.depth
        self.stem = Block(channels, widths[0])
        self.down = nn.ModuleList(Block(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout2d(options.dropout)
        self.up = nn.ModuleList(
            Up(below, skip, skip) for below, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.stages = tuple(f"up.{number}" for number in range(options.depth - 1))
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        x = self.stem(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        x = self.dropout(x)
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


def build(request: NetworkRequest) -> PlainUNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return PlainUNet(request.channels, request.outputs, validated(Options, dict(request.options)))
