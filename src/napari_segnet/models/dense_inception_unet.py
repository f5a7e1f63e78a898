"""Dense-Inception U-Net (DIU-Net).

After Zhang, Wu, Coleman and Kerr (2020), https://doi.org/10.1016/j.cmpb.2020.105395. On the way down and on the way up
there are three Inception-Res blocks and, at 1/8 of the resolution, one Dense-Inception block; another, with more
layers, is in the middle; blocks of the inception kind change the resolution.

The paper's text is not public. From what is written of it come the order of the blocks, the branches of an
Inception-Res block, and that every convolution but the bottlenecks is followed by batch normalization. From an
independent implementation (github.com/junnjiee16/DIU-Net) come the widths (64, 128, 256, 512, 1024), the numbers of
layers (12, 24 and 12), the branches of a dense layer (1 x 1; maximum and 1 x 1; 3 x 1 and 1 x 3) and those of the
sampling blocks. Ours are the widths of the branches: half of the outputs in an Inception-Res block, so that it has
fewer weights than the two convolutions of a U-Net, and a quarter of the inputs in the sampling blocks. So is the
`growth` of the dense blocks: each layer adds a few channels, as in DenseNet (Huang et al. 2017,
https://arxiv.org/abs/1608.06993), where the other implementation repeats the whole width in each of the 48 layers
(hundreds of millions of weights). As in a U-Net skip connections join all four levels.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest

_BOTTLENECK = 4
"""Channels that a dense layer reduces its input to, for each that it adds (DenseNet-B)."""


class Options(Frozen):
    """Options of the Dense-Inception U-Net, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(64, ge=4, le=256, description="Channels at full resolution; doubled at each level.")
    layers: int = Field(12, ge=1, le=48, description="Layers of the dense blocks; twice as many in the middle.")
    growth: int = Field(32, ge=1, le=128, description="Channels that each layer of a dense block adds.")


def convolution(inputs: int, outputs: int, size: tuple[int, int], stride: int = 1) -> nn.Sequential:
    """Make a padded convolution with batch normalization and ReLU."""
    padding = (size[0] // 2, size[1] // 2)
    conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class InceptionRes(nn.Module):
    """Convolutions that see 1, 3 and 5 pixels side by side, joined by a bottleneck, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = outputs // 2
        self.branches = nn.ModuleList(
            [
                convolution(inputs, width, (1, 1)),
                nn.Sequential(nn.Conv2d(inputs, width, 1), convolution(width, width, (3, 3))),
                nn.Sequential(
                    nn.Conv2d(inputs, width, 1), convolution(width, width, (3, 3)), convolution(width, width, (3, 3))
                ),
            ]
        )
        self.bottleneck = nn.Conv2d(3 * width, outputs, 1)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, outputs, Y, X)."""
        joined = self.bottleneck(torch.cat([branch(x) for branch in self.branches], dim=1))
        return F.relu(joined + self.shortcut(x))


class DenseLayer(nn.Module):
    """A bottleneck, and an inception whose 3 x 3 convolution is taken apart, that makes `growth` channels."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        width = _BOTTLENECK * growth
        self.reduce = convolution(inputs, width, (1, 1))
        self.branches = nn.ModuleList(
            [
                convolution(width, growth, (1, 1)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(width, growth, (1, 1))),
                nn.Sequential(
                    nn.Conv2d(width, growth, 1),
                    convolution(growth, growth, (3, 1)),
                    convolution(growth, growth, (1, 3)),
                ),
            ]
        )
        self.bottleneck = nn.Conv2d(3 * growth, growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, growth, Y, X)."""
        x = self.reduce(x)
        added: Tensor = self.bottleneck(torch.cat([branch(x) for branch in self.branches], dim=1))
        return added


class DenseInception(nn.Module):
    """Layers that each get all channels so far, and a convolution of 1 x 1 that joins what came in and was added."""

    def __init__(self, inputs: int, outputs: int, layers: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inputs + n * growth, growth) for n in range(layers))
        self.transition = convolution(inputs + layers * growth, outputs, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, outputs, Y, X)."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        joined: Tensor = self.transition(x)
        return joined


class Down(nn.Module):
    """Half the resolution by the maximum and by two strided convolutions, side by side, joined by a bottleneck."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.short = nn.Sequential(nn.Conv2d(channels, width, 1), convolution(width, width, (3, 3), stride=2))
        self.long = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            convolution(width, width, (3, 3)),
            convolution(width, width, (3, 3), stride=2),
        )
        self.bottleneck = nn.Conv2d(channels + 2 * width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, Y, X) to (B, channels, Y / 2, X / 2)."""
        halved: Tensor = self.bottleneck(torch.cat([self.pool(x), self.short(x), self.long(x)], dim=1))
        return halved


def transposed(width: int) -> nn.Sequential:
    """Make a transposed convolution of 3 x 3 that doubles the resolution, with batch normalization and ReLU."""
    conv = nn.ConvTranspose2d(width, width, 3, 2, 1, output_padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


class Up(nn.Module):
    """Twice the resolution by copying and by two transposed convolutions, then the skip connection and a block."""

    def __init__(self, inputs: int, outputs: int, block: nn.Module) -> None:
        super().__init__()
        width = inputs // 4
        self.short = nn.Sequential(nn.Conv2d(inputs, width, 1), transposed(width))
        self.long = nn.Sequential(nn.Conv2d(inputs, width, 1), convolution(width, width, (3, 3)), transposed(width))
        self.bottleneck = nn.Conv2d(inputs + 2 * width, outputs, 1)
        self.block = block

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) and (B, skip, 2Y, 2X) to what the block makes of `outputs` + skip channels."""
        copied = F.interpolate(x, scale_factor=2.0, mode="nearest")
        doubled = self.bottleneck(torch.cat([copied, self.short(x), self.long(x)], dim=1))
        joined: Tensor = self.block(torch.cat([doubled, skip], dim=1))
        return joined


class DenseInceptionUNet(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of, `stages` are the parts of the way up."""

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        self.stride, self.stages = 16, ("up.0", "up.1", "up.2")
        one, two, four, eight, sixteen = (options.width * 2**level for level in range(5))
        layers, growth = options.layers, options.growth
        self.blocks = nn.ModuleList(
            [
                InceptionRes(channels, one),
                InceptionRes(one, two),
                InceptionRes(two, four),
                DenseInception(four, eight, layers, growth),
            ]
        )
        self.down = nn.ModuleList(Down(width) for width in (one, two, four, eight))
        self.middle = DenseInception(eight, sixteen, 2 * layers, growth)
        self.up = nn.ModuleList(
            [
                Up(sixteen, eight, DenseInception(2 * eight, eight, layers, growth)),
                Up(eight, four, InceptionRes(2 * four, four)),
                Up(four, two, InceptionRes(2 * two, two)),
                Up(two, one, InceptionRes(2 * one, one)),
            ]
        )
        self.head = nn.Conv2d(one, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        skips = []
        for block, down in zip(self.blocks, self.down, strict=True):
            skips.append(block(x))
            x = down(skips[-1])
        x = self.middle(x)
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


def build(request: NetworkRequest) -> DenseInceptionUNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return DenseInceptionUNet(request.channels, request.outputs, validated(Options, dict(request.options)))
