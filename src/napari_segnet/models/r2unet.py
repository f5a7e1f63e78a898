"""R2U-Net: a U-Net of recurrent residual convolutions.

After Alom et al. (2018), https://arxiv.org/abs/1802.06955. A recurrent convolution is applied several times to the
sum of its input and its own last answer, with the same weights each time: a deeper network and a larger receptive
field without more weights. A unit is two of them with a shortcut around both (Liang and Hu 2015; He et al. 2016).
As in the implementation that most people use (LeeJunHyun/Image_Segmentation): one set of weights for the input and for
the last answer (the paper's equation allows two), a 1 x 1 convolution that brings the unit's input to its width, and
nearest-neighbour upsampling with a 3 x 3 convolution.

Where we differ: each time has a batch normalization of its own, since the answers of each time are distributed
differently (Cooijmans et al. 2016, https://arxiv.org/abs/1603.09025). With a shared one, the statistics that are used
after training fit none of the times: two images learned by heart, with a loss of 0.01, had one of 0.8 to 2.4 then.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.attention_unet import conv_norm_relu
from napari_segnet.models.levels import Levels
from napari_segnet.models.registry import NetworkRequest


class Options(Frozen):
    """Options of the R2U-Net, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(64, ge=1, le=256, description="Channels at full resolution; doubled at each level.")
    depth: int = Field(4, ge=1, le=6, description="How often the resolution is halved.")
    recurrences: int = Field(2, ge=1, le=6, description="How often a convolution sees its own answer again; t.")


class RecurrentConv(nn.Module):
    """A 3 x 3 convolution with ReLU, applied once to its input, and then `recurrences` times to input plus answer."""

    def __init__(self, width: int, recurrences: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(recurrences + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, Y, X) to the same shape."""
        first, *later = self.norms
        answer = F.relu(first(self.conv(x)))
        for norm in later:
            answer = F.relu(norm(self.conv(x + answer)))
        return answer


class Unit(nn.Module):
    """The recurrent residual unit: two recurrent convolutions with a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, recurrences: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(inputs, outputs, 1)
        self.recurrent = nn.Sequential(RecurrentConv(outputs, recurrences), RecurrentConv(outputs, recurrences))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, outputs, Y, X)."""
        x = self.widen(x)
        answer: Tensor = x + self.recurrent(x)
        return answer


class Up(nn.Module):
    """Twice the resolution, joined with the encoder's features of that resolution."""

    def __init__(self, width: int, recurrences: int) -> None:
        super().__init__()
        self.reduce = conv_norm_relu(2 * width, width)
        self.unit = Unit(2 * width, width, recurrences)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, 2 width, Y, X) and (B, width, 2Y, 2X) to (B, width, 2Y, 2X)."""
        up = self.reduce(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        joined: Tensor = self.unit(torch.cat([skip, up], dim=1))
        return joined


class R2UNet(Levels):
    """The network."""

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        widths = [options.width * 2**level for level in range(options.depth + 1)]
        super().__init__(
            nn.ModuleList(Unit(a, b, options.recurrences) for a, b in pairwise([channels, *widths])),
            nn.ModuleList(Up(width, options.recurrences) for width in widths[-2::-1]),
            nn.Conv2d(widths[0], outputs, 1),
        )


def build(request: NetworkRequest) -> R2UNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return R2UNet(request.channels, request.outputs, validated(Options, dict(request.options)))
