"""Attention U-Net: gates let through the part of each skip connection that the decoder asks for.

After Oktay et al. (2018), https://arxiv.org/abs/1804.03999, in 2D. A gate compares the encoder's features with the
decoder's features of the next coarser level (additive attention), on the grid of the coarser level, and scales the
encoder's features by a number between 0 and 1 at each pixel (grid attention). The finest skip connection has no
gate. As in the authors' code (ozan-oktay/Attention-Gated-Networks): linear maps of 2 x 2 pixels with stride 2 for the
features, of 1 x 1 for the gating signal, a 1 x 1 convolution with batch normalization behind the gate, bilinear
upsampling without a convolution of its own, He initialization, and two convolutions with batch normalization a block.

Where we differ: two dimensions, and a first width of 64 as in the 2D U-Net (the paper has three dimensions, and 16 in
its code); one gate a skip connection, as in the text (the authors' code also has a version with two, whose size is the
published one). The paper's deep supervision is the business of training: see `AttentionUNet.stages`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.levels import Levels
from napari_segnet.models.registry import NetworkRequest


class Options(Frozen):
    """Options of the Attention U-Net, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(64, ge=1, le=256, description="Channels at full resolution; doubled at each level.")
    depth: int = Field(4, ge=2, le=6, description="How often the resolution is halved.")


def conv_norm_relu(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3 x 3 convolution with bias, batch normalization and ReLU; it keeps the resolution."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Return the block of the U-Net: two times `conv_norm_relu`."""
    return nn.Sequential(conv_norm_relu(inputs, outputs), conv_norm_relu(outputs, outputs))


def he_initialize(network: nn.Module) -> None:
    """Draw the weights of all convolutions anew, for ReLU (He et al. 2015, https://arxiv.org/abs/1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


class AttentionGate(nn.Module):
    """Scales features by an additive attention between them and a gating signal of half their resolution."""

    def __init__(self, features: int, gating: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(features, features, 2, stride=2, bias=False)
        self.phi = nn.Conv2d(gating, features, 1)
        self.psi = nn.Conv2d(features, 1, 1)
        self.project = nn.Sequential(nn.Conv2d(features, features, 1), nn.BatchNorm2d(features))

    def open_wide(self) -> None:
        """Let everything pass at first, as the paper does: the attention starts at about 0.95."""
        nn.init.normal_(self.psi.weight, std=0.01)
        nn.init.constant_(self.psi.bias, 3.0)  # type: ignore[arg-type]

    def attention(self, x: Tensor, gating: Tensor) -> Tensor:
        """Map (B, features, 2Y, 2X) and (B, gating, Y, X) to attention (B, 1, 2Y, 2X), between 0 and 1."""
        attention = torch.sigmoid(self.psi(F.relu(self.theta(x) + self.phi(gating))))
        return F.interpolate(attention, scale_factor=2.0, mode="bilinear")

    def forward(self, x: Tensor, gating: Tensor) -> Tensor:
        """Map (B, features, 2Y, 2X) and (B, gating, Y, X) to (B, features, 2Y, 2X)."""
        gated: Tensor = self.project(x * self.attention(x, gating))
        return gated


class Up(nn.Module):
    """Twice the resolution, joined with the encoder's features of that resolution, which pass a gate first."""

    def __init__(self, inputs: int, skip: int, gated: bool) -> None:
        super().__init__()
        self.gate = AttentionGate(skip, inputs) if gated else None
        self.block = double_conv(inputs + skip, skip)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) and (B, skip, 2Y, 2X) to (B, skip, 2Y, 2X)."""
        if self.gate is not None:
            skip = self.gate(skip, x)
        up = F.interpolate(x, scale_factor=2.0, mode="bilinear")
        joined: Tensor = self.block(torch.cat([skip, up], dim=1))
        return joined


class AttentionUNet(Levels):
    """The network."""

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        widths = [options.width * 2**level for level in range(options.depth + 1)]
        super().__init__(
            nn.ModuleList(double_conv(a, b) for a, b in pairwise([channels, *widths])),
            nn.ModuleList(Up(2 * width, width, gated=width != widths[0]) for width in widths[-2::-1]),
            nn.Conv2d(widths[0], outputs, 1),
        )
        he_initialize(self)
        for module in self.modules():
            if isinstance(module, AttentionGate):
                module.open_wide()


def build(request: NetworkRequest) -> AttentionUNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return AttentionUNet(request.channels, request.outputs, validated(Options, dict(request.options)))
