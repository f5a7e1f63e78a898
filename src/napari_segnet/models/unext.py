"""UNeXt: a light U-Net whose coarse levels mix neighbours by shifting channels instead of convolving.

After Valanarasu and Patel (2022), https://arxiv.org/abs/2203.04967. Three levels of one convolution each, and two
levels of tokenized MLPs: the channels are cut into five groups that are moved by -2 .. 2 tokens along one axis, mixed
by a linear map, given their places by a depthwise convolution, moved along the other axis and mixed again. The decoder
adds the encoder's features instead of joining them. Widths, initialization, normalization and the order of the layers
are those of the authors' code (jeya-maria-jose/UNeXt-pytorch), which reproduces the published number of parameters;
the text names twice as many channels in the first two levels.

On a CPU it predicts two to four times as fast as `plain-unet` and learns as much in the first seconds; after a minute
it ends a percent of Dice below it on small objects. Its shifts make it look far: up to 384 pixels.

Where we differ: the groups are cut as evenly as possible (26, 26, 26, 25, 25 of 128 channels, not 26, 26, 26, 26, 24),
so that there are five at any width.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest

_FACTORS = (1, 2, 8, 10, 16)
"""Channels of the five levels, in units of the first one's."""


class Options(Frozen):
    """Options of UNeXt, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(16, ge=2, le=256, description="Channels of the first level; 2, 8, 10 and 16 times after it.")
    shift: int = Field(2, ge=0, le=7, description="Furthest shift, tokens; 2 shift + 1 groups of channels.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped in the tokenized MLPs.")


def shift_groups(x: Tensor, reach: int, axis: int) -> Tensor:
    """Move groups of channels by -reach .. reach along an axis; what comes in from outside is zero.

    Parameters
    ----------
    x : (B, C, Y, X) Tensor
    reach : int
        Furthest shift, pixels of x.
    axis : int
        2 for Y, 3 for X.

    Returns
    -------
    (B, C, Y, X) Tensor
    """
    room = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    count = 2 * reach + 1
    sizes = [x.shape[1] // count + (number < x.shape[1] % count) for number in range(count)]
    groups: tuple[Tensor, ...] = torch.split(F.pad(x, room), sizes, dim=1)
    moved = [group.narrow(axis, 2 * reach - number, x.shape[axis]) for number, group in enumerate(groups)]
    return torch.cat(moved, dim=1)


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of each pixel."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        """Map (B, C, Y, X) to the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ShiftedMLP(nn.Module):
    """The tokenized MLP block: shift along Y, mix, convolve depthwise, shift along X, mix; with a shortcut."""

    def __init__(self, width: int, options: Options) -> None:
        super().__init__()
        self.reach = options.shift
        self.norm = ChannelNorm(width)
        # Linear maps of each token, written as convolutions: tokens stay pixels.
        self.mix1 = nn.Conv2d(width, width, 1)
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mix2 = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(options.dropout)
        self.norm_out = ChannelNorm(width)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, Y, X) to the same shape."""
        y = self.mix1(shift_groups(self.norm(x), self.reach, axis=2))
        y = self.dropout(F.gelu(self.place(y)))
        y = self.dropout(self.mix2(shift_groups(y, self.reach, axis=3)))
        out: Tensor = self.norm_out(x + y)
        return out


class ConvDown(nn.Module):
    """A convolution with batch normalization, and half the resolution by max pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, 2Y, 2X) to (B, outputs, Y, X)."""
        return F.relu(F.max_pool2d(self.norm(self.conv(x)), 2))


class TokenDown(nn.Module):
    """Half the resolution by a convolution of overlapping patches, and a tokenized MLP."""

    def __init__(self, inputs: int, outputs: int, options: Options) -> None:
        super().__init__()
        self.embed = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = ChannelNorm(outputs)
        self.mlp = ShiftedMLP(outputs, options)
        _initialize(self.embed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, 2Y, 2X) to (B, outputs, Y, X)."""
        tokens: Tensor = self.mlp(self.norm(self.embed(x)))
        return tokens


class Up(nn.Module):
    """A convolution, twice the resolution, the encoder's features added; and a tokenized MLP at coarse levels."""

    def __init__(self, inputs: int, outputs: int, options: Options | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.mlp = nn.Identity() if options is None else ShiftedMLP(outputs, options)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) and (B, outputs, 2Y, 2X) to (B, outputs, 2Y, 2X)."""
        up = F.relu(F.interpolate(self.norm(self.conv(x)), scale_factor=2.0, mode="bilinear"))
        out: Tensor = self.mlp(up + skip)
        return out


class UNeXt(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of, `stages` the coarser decoder stages."""

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        w1, w2, w3, w4, w5 = (factor * options.width for factor in _FACTORS)
        self.stride = 32
        self.stages = ("up.0", "up.1", "up.2", "up.3")
        self.down = nn.ModuleList(
            (
                ConvDown(channels, w1),
                ConvDown(w1, w2),
                ConvDown(w2, w3),
                TokenDown(w3, w4, options),
                TokenDown(w4, w5, options),
            )
        )
        self.up = nn.ModuleList((Up(w5, w4, options), Up(w4, w3, options), Up(w3, w2, None), Up(w2, w1, None)))
        self.last = nn.Conv2d(w1, w1, 3, padding=1)
        self.head = nn.Conv2d(w1, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        features = []
        for down in self.down:
            x = down(x)
            features.append(x)
        skips = features[:-1]
        for up in self.up:
            x = up(x, skips.pop())
        x = F.relu(F.interpolate(self.last(x), scale_factor=2.0, mode="bilinear"))
        logits: Tensor = self.head(x)
        return logits


def _initialize(module: nn.Module) -> None:
    """Draw the weights of a tokenized stage as the authors' code does."""
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        if layer.kernel_size == (1, 1):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        else:
            fan_out = 9 * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def build(request: NetworkRequest) -> UNeXt:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return UNeXt(request.channels, request.outputs, validated(Options, dict(request.options)))
