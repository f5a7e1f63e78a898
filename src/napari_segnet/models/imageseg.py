"""The two networks of the R package imageseg, of which the first is also the one of the R package platypus.

``imageseg-unet`` is ``u_net()``: a U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) with padded
convolutions, batch normalization before each ReLU, few filters and elementwise dropout behind pooling and joining.
The defaults are those of platypus 0.1 (https://github.com/maju116/platypus), whose summary of 2,164,627 parameters
stands in its tutorials. imageseg (Niedballa et al. 2022, https://doi.org/10.1111/2041-210X.13984) has no dropout
unless asked for, upsamples with a kernel of 2 (0.5.0 and later) or by copying pixels (0.4.0), and can put three
convolutions into a block: options `dropout`, `up` and `layers_per_block`.

``imageseg-unetplusplus`` is ``u_net_plusplus()`` of imageseg 0.5.0: a U-Net++ (Zhou et al. 2018,
https://arxiv.org/abs/1807.10165) without deep supervision, normalized after each ReLU. There a node's convolution is
made but not used: what leaves a node is what went into it, joined. That is what its trained models hold, so it is
the default; `convolve` gives the nodes of the paper.

We differ in the last layer: it gives logits, at least two of them, where the packages end with softmax or sigmoid.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.keras_parts import Initializer, UpConvolution, initialize, normalization
from napari_segnet.models.registry import NetworkRequest

Up = Literal["transpose3", "transpose2", "copy"]


class _Options(Frozen):
    filters: int = Field(16, ge=1, le=512, description="Channels at full resolution; doubled at each level.")
    initializer: Initializer = Field("he_normal", description="How the weights of convolutions start.")


class UNetOptions(_Options):
    """Options of ``u_net()``."""

    blocks: int = Field(4, ge=1, le=7, description="How often the resolution is halved.")
    layers_per_block: int = Field(2, ge=1, le=4, description="Convolutions at each level, down and up.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of values dropped after pooling and after joining.")
    batch_norm: bool = Field(True, description="Normalize before each ReLU.")
    up: Up = Field(
        "transpose3",
        description="Upsampling: transposed convolutions of 3 (platypus) or 2 pixels (imageseg), or copies.",
    )


class UNetPlusPlusOptions(_Options):
    """Options of ``u_net_plusplus()``."""

    blocks: int = Field(4, ge=1, le=4, description="How often the resolution is halved.")
    convolve: bool = Field(False, description="Convolve what a node joins: as in the paper, not as in imageseg.")


OPTIONS: dict[str, type[_Options]] = {"imageseg-unet": UNetOptions, "imageseg-unetplusplus": UNetPlusPlusOptions}


class Block(nn.Sequential):
    """Convolutions of 3 x 3 pixels, each with batch normalization (or none) and ReLU."""

    def __init__(self, inputs: int, outputs: int, options: UNetOptions) -> None:
        layers: list[nn.Module] = []
        for n in range(options.layers_per_block):
            layers.append(nn.Conv2d(outputs if n else inputs, outputs, 3, padding=1))
            if options.batch_norm:
                layers.append(normalization(outputs))
            layers.append(nn.ReLU())
        super().__init__(*layers)


class ImagesegUNet(nn.Module):
    """The network of ``u_net()``; `stride` is what the input's sides have to be multiples of."""

    def __init__(self, channels: int, outputs: int, options: UNetOptions) -> None:
        super().__init__()
        widths = [options.filters * 2**level for level in range(options.blocks + 1)]
        self.stride = 2**options.blocks
        self.stages = tuple(f"decoder.{n}" for n in range(options.blocks - 1))
        self.encoder = nn.ModuleList(
            Block(inputs, width, options) for inputs, width in zip([channels, *widths], widths, strict=False)
        )
        self.dropout = nn.Dropout(options.dropout)
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_upsampling(below, width, options.up) for below, width in upwards)
        # Copied pixels keep their channels.
        self.decoder = nn.ModuleList(
            Block(below + width if options.up == "copy" else 2 * width, width, options) for below, width in upwards
        )
        self.head = nn.Conv2d(widths[0], outputs, 1)
        initialize(self, options.initializer)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        skips: list[Tensor] = []
        for block in self.encoder:
            if skips:
                x = self.dropout(F.max_pool2d(x, 2))
            x = block(x)
            skips.append(x)
        x = skips.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(self.dropout(torch.cat([up(x), skips.pop()], dim=1)))
        logits: Tensor = self.head(x)
        return logits


def _upsampling(below: int, width: int, up: Up) -> nn.Module:
    if up == "copy":
        return nn.UpsamplingNearest2d(scale_factor=2)
    return UpConvolution(below, width, int(up[-1]))


class NormalizedConvolution(nn.Sequential):
    """A convolution of 3 x 3 pixels with ReLU, and batch normalization after it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), normalization(outputs))


class Node(nn.Module):
    """What lies below, upsampled, joined with all nodes to the left at the same resolution."""

    def __init__(self, below: int, left: int, width: int, convolve: bool) -> None:
        super().__init__()
        self.up = nn.Sequential(UpConvolution(below, width, 3), nn.ReLU(), normalization(width))
        self.convolve = NormalizedConvolution(width + left, width) if convolve else nn.Identity()

    def forward(self, below: Tensor, left: list[Tensor]) -> Tensor:
        """Map (B, below, Y, X) and (B, c, 2Y, 2X) tensors, the nearest last, to one (B, c, 2Y, 2X) tensor."""
        joined: Tensor = self.convolve(torch.cat([self.up(below), *reversed(left)], dim=1))
        return joined


class ImagesegUNetPlusPlus(nn.Module):
    """The network of ``u_net_plusplus()``; node ``nodes.I_J`` is the J-th at level I, as the paper counts them."""

    def __init__(self, channels: int, outputs: int, options: UNetPlusPlusOptions) -> None:
        super().__init__()
        blocks = self.blocks = options.blocks
        widths = [options.filters * 2**level for level in range(blocks + 1)]
        self.stride = 2**blocks
        self.stages = tuple(f"nodes.0_{n}" for n in range(1, blocks))
        self.backbone = nn.ModuleList(
            nn.Sequential(NormalizedConvolution(inputs, width), NormalizedConvolution(width, width))
            for inputs, width in zip([channels, *widths], widths, strict=False)
        )
        made = [[width] for width in widths]
        self.nodes = nn.ModuleDict()
        for n in range(1, blocks + 1):
            for level in range(blocks + 1 - n):
                left, width = sum(made[level]), widths[level]
                self.nodes[f"{level}_{n}"] = Node(made[level + 1][n - 1], left, width, options.convolve)
                made[level].append(width if options.convolve else width + left)
        self.head = nn.Conv2d(made[0][-1], outputs, 1)
        initialize(self, options.initializer)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        made: list[list[Tensor]] = []
        for level, block in enumerate(self.backbone):
            made.append([block(F.max_pool2d(made[-1][0], 2) if level else x)])
        for n in range(1, self.blocks + 1):
            for level in range(self.blocks + 1 - n):
                made[level].append(self.nodes[f"{level}_{n}"](made[level + 1][n - 1], made[level]))
        logits: Tensor = self.head(made[0][-1])
        return logits


def build(request: NetworkRequest) -> nn.Module:
    """Build one of the networks; raises `ConfigError` for an option that it doesn't have."""
    options = validated(OPTIONS[request.name], dict(request.options))
    if isinstance(options, UNetOptions):
        return ImagesegUNet(request.channels, request.outputs, options)
    assert isinstance(options, UNetPlusPlusOptions)
    return ImagesegUNetPlusPlus(request.channels, request.outputs, options)
