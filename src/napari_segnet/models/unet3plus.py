"""UNet 3+: each decoder stage sees all scales at once.

After Huang et al. (2020), https://arxiv.org/abs/2004.08790. A stage of the decoder joins five maps of 64 channels:
the finer ones of the encoder (max pooled), the encoder's of its own resolution, and the coarser ones of the decoder
(bilinearly upsampled), each after a 3 x 3 convolution; one more fuses the 320 channels. Encoder of the U-Net
(64 .. 1024 channels), biases, batch normalization, a last 3 x 3 convolution and He initialization are those of the
authors' code (ZJUGiveLab/UNet-Version).

Where we differ: the classification-guided module is left out. It learns from a label for each image which classes
occur in it, by a loss of its own, and blanks the logits of the others; here a loss sees pixels only, and a tile is not
the image. The deep supervision (all stages, the encoder's last included) is the business of training: see
`UNet3Plus.stages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.attention_unet import conv_norm_relu, double_conv, he_initialize
from napari_segnet.models.registry import NetworkRequest


class Options(Frozen):
    """Options of UNet 3+, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(
        64, ge=1, le=256, description="Channels at full resolution, doubled at each level; and of each skip connection."
    )
    depth: int = Field(4, ge=2, le=5, description="How often the resolution is halved.")


class Join(nn.Module):
    """A stage of the decoder: features of all levels, brought to its own resolution and fused."""

    def __init__(self, level: int, inputs: Sequence[int], width: int) -> None:
        super().__init__()
        self.level = level
        self.branches = nn.ModuleList(conv_norm_relu(channels, width) for channels in inputs)
        fused = width * len(inputs)
        self.fuse = conv_norm_relu(fused, fused)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Fuse one tensor a level, from fine to coarse.

        Parameters
        ----------
        features : sequence of (B, c, Y / 2**level, X / 2**level) Tensor
            The encoder's for this level and finer ones; the decoder's for coarser ones.

        Returns
        -------
        (B, width * levels, y, x) Tensor
            At the resolution of this stage's level.
        """
        resized = [self._resize(x, level) for level, x in enumerate(features)]
        joined = [branch(x) for branch, x in zip(self.branches, resized, strict=True)]
        fused: Tensor = self.fuse(torch.cat(joined, dim=1))
        return fused

    def _resize(self, x: Tensor, level: int) -> Tensor:
        if level < self.level:
            return F.max_pool2d(x, 2 ** (self.level - level))
        if level > self.level:
            return F.interpolate(x, scale_factor=2.0 ** (level - self.level), mode="bilinear")
        return x


class UNet3Plus(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of.

    `stages` are the encoder's last block and the coarser decoder stages: those that the paper supervises beside the
    last one.
    """

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        width, depth = options.width, options.depth
        widths = [width * 2**level for level in range(depth + 1)]
        fused = width * (depth + 1)
        self.stride = 2**depth
        self.stages = (f"down.{depth}", *(f"join.{number}" for number in range(depth - 1)))
        self.down = nn.ModuleList(double_conv(a, b) for a, b in pairwise([channels, *widths]))
        self.join = nn.ModuleList(
            Join(level, [*widths[: level + 1], *[fused] * (depth - level - 1), widths[-1]], width)
            for level in reversed(range(depth))
        )
        self.head = nn.Conv2d(fused, outputs, 3, padding=1)
        he_initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        features = [self.down[0](x)]
        for down in list(self.down)[1:]:
            features.append(down(F.max_pool2d(features[-1], 2)))
        # From coarse to fine, each stage takes the place of the encoder's features of its level.
        for level, join in zip(reversed(range(len(features) - 1)), self.join, strict=True):
            features[level] = join(features)
        logits: Tensor = self.head(features[0])
        return logits


def build(request: NetworkRequest) -> UNet3Plus:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return UNet3Plus(request.channels, request.outputs, validated(Options, dict(request.options)))
