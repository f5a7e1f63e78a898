"""FC-DenseNet, the "One Hundred Layers Tiramisu".

After Jegou, Drozdzal, Vazquez, Romero and Bengio (2017), https://arxiv.org/abs/1611.09326. Every layer sees what all
layers before it in its block made, and adds a few channels. On the way up only the channels that the last block
added are upsampled: the older ones come over the skip connection.

Layers, widths, dropout and He-uniform weights are the paper's. The difference: the authors normalize with the
statistics of the batch in testing, too; here running statistics are used, so that an answer doesn't depend on what
else is predicted with it.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest

LAYERS: dict[str, tuple[int, ...]] = {
    "fc-densenet56": (4,) * 11,
    "fc-densenet67": (5,) * 11,
    "fc-densenet103": (4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4),
}
"""Layers of each dense block, from the image down to the bottleneck and up again."""


class Options(Frozen):
    """Options of FC-DenseNet, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(48, ge=1, le=512, description="Channels of the first convolution.")
    growth: int = Field(16, ge=1, le=128, description="Channels that each layer of a dense block adds.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of values dropped after each convolution.")


class Options56(Options):
    """Options of FC-DenseNet56, whose layers are narrower."""

    growth: int = Field(12, ge=1, le=128, description="Channels that each layer of a dense block adds.")


OPTIONS: dict[str, type[Options]] = {
    "fc-densenet56": Options56,
    "fc-densenet67": Options,
    "fc-densenet103": Options,
}


def layer(inputs: int, outputs: int, size: int, dropout: float) -> nn.Sequential:
    """Make batch normalization, ReLU, a padded convolution of `size` x `size`, and dropout, in this order."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, size, padding=size // 2),
        nn.Dropout(dropout),
    )


class DenseBlock(nn.Module):
    """Layers that each get all channels so far, and add `growth` more; `outputs` is how many there are at the end."""

    def __init__(self, inputs: int, layers: int, options: Options) -> None:
        super().__init__()
        growth = options.growth
        self.outputs = inputs + layers * growth
        self.layers = nn.ModuleList(layer(n, growth, 3, options.dropout) for n in range(inputs, self.outputs, growth))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, outputs, Y, X): the inputs, then what was added."""
        for one in self.layers:
            x = torch.cat([x, one(x)], dim=1)
        return x


class Up(nn.Module):
    """Twice the resolution for the `added` channels of the block below, the skip connection, and a dense block."""

    def __init__(self, added: int, skip: int, layers: int, options: Options) -> None:
        super().__init__()
        self.added = added
        self.upsample = nn.ConvTranspose2d(added, added, 3, stride=2)
        self.block = DenseBlock(added + skip, layers, options)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, at least `added`, Y, X) and (B, skip, 2Y, 2X) to (B, block.outputs, 2Y, 2X)."""
        # The transposed convolution makes 2Y + 1 rows; the authors crop the last, too.
        x = self.upsample(x[:, -self.added :])[..., :-1, :-1]
        y: Tensor = self.block(torch.cat([x, skip], dim=1))
        return y


class FCDenseNet(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of.

    `stages` are the parts of the way up, coarse to fine, without the last.
    """

    def __init__(self, channels: int, outputs: int, layers: tuple[int, ...], options: Options) -> None:
        super().__init__()
        depth = len(layers) // 2
        self.stride = 2**depth
        self.stages = tuple(f"up.{n}" for n in range(depth - 1))
        self.stem = nn.Conv2d(channels, options.width, 3, padding=1)
        width = options.width
        self.blocks, self.down = nn.ModuleList(), nn.ModuleList()
        skips = []
        for count in layers[:depth]:
            self.blocks.append(DenseBlock(width, count, options))
            width += count * options.growth
            skips.append(width)
            self.down.append(nn.Sequential(layer(width, width, 1, options.dropout), nn.MaxPool2d(2)))
        self.bottleneck = DenseBlock(width, layers[depth], options)
        self.up = nn.ModuleList(
            Up(below * options.growth, skip, count, options)
            for below, skip, count in zip(layers[depth:], reversed(skips), layers[depth + 1 :], strict=False)
        )
        width = skips[0] + (layers[-2] + layers[-1]) * options.growth
        self.head = nn.Conv2d(width, outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        x = self.stem(x)
        skips = []
        for block, down in zip(self.blocks, self.down, strict=True):
            skips.append(block(x))
            x = down(skips[-1])
        x = self.bottleneck(x)
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


def build(request: NetworkRequest) -> FCDenseNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    options = validated(OPTIONS[request.name], dict(request.options))
    return FCDenseNet(request.channels, request.outputs, LAYERS[request.name], options)
