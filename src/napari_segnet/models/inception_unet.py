"""Inception U-Net.

After Punn and Agarwal (2020), https://doi.org/10.1145/3376922: each block looks at three scales at once (convolutions
of 1 x 1, 3 x 3 and 5 x 5) and at what pooling makes of its input; a convolution of 1 x 1 joins them. Pooling is a
hybrid of the maximum and Hartley spectral pooling (Zhang and Ma 2018, https://arxiv.org/abs/1810.04028), which keeps
the low frequencies. The image is put through switch normalization first, and pooled to 1/16 it joins the lowest level.

Layers, widths and dropout are the paper's table 1, weights start as in the authors' code
(github.com/nspunn1993/Inception-U-Net-model; He et al. 2015). Where we differ, or the paper leaves a choice:

- The table gives hybrid pooling as many channels as it gets, and no weights. So we take the mean of its two halves.
  The authors' code joins them by a convolution of 1 x 1, whose weights are random and never learned in its first
  version, and learned in its second: `learned_pooling`.
- Spectral pooling divides by the size of its input, so that it keeps the mean; the authors' divides by the size of
  its output, and makes everything 4 times as large a level. It drops the frequency that is exactly the highest.
  As in their code ReLU follows.
- Spectral pooling sees the whole tile, and what it sees at the left border it also sees at the right. Without
  `spectral_pooling` the mean of the window takes its place.
- With the stride of 1 that pooling has in the blocks, no frequency is too high: spectral pooling changes nothing.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest
from napari_segnet.models.switch_norm import SwitchNorm

_DEPTH = 4


class Options(Frozen):
    """Options of the Inception U-Net, for ``--set model.options.NAME=VALUE``."""

    width: int = Field(16, ge=1, le=256, description="Filters of each convolution in the first block; then doubled.")
    dropout: float = Field(
        0.1, ge=0, lt=0.5, description="Share of values dropped at the two finer levels; twice that at the others."
    )
    spectral_pooling: bool = Field(
        True, description="Pool by low frequencies beside the maximum, which sees whole tiles; else by the mean."
    )
    learned_pooling: bool = Field(
        False, description="Join the two halves of pooling by a learned convolution instead of their mean."
    )


def low_pass(size: int, kept: int, device: torch.device) -> Tensor:
    """Make the matrix that takes a periodic line of `size` values to `kept` ones with the lower frequencies only.

    It is the Hartley transform, without all frequencies of kept / 2 and more, transformed back. As a matrix it can be
    exported, which transforms can't everywhere.

    Returns
    -------
    (kept, size) Tensor
        The rows' sums are 1.
    """
    places = torch.arange(size, device=device)
    # The cosine is periodic: taken modulo the size, large phases stay exact.
    phases = torch.outer(torch.arange(1, (kept - 1) // 2 + 1, device=device), places) % size
    kernel = (1 + 2 * torch.cos(phases * (2 * math.pi / size)).sum(dim=0)) / size
    shifts = torch.arange(kept, device=device)[:, None] * (size // kept) - places
    return kernel[shifts % size]


def spectral_pool(x: Tensor, factor: int) -> Tensor:
    """Map (B, C, Y, X) to (B, C, Y / factor, X / factor) with the frequencies that fit there."""
    height, width = x.shape[-2:]
    rows = low_pass(height, height // factor, x.device).to(x.dtype)
    columns = low_pass(width, width // factor, x.device).to(x.dtype)
    return torch.matmul(torch.matmul(rows, x), columns.T)


class HybridPool(nn.Module):
    """The maximum and the low frequencies, both at 1 / `factor` of the resolution.

    A factor of 1 means windows of 2 x 2 pixels around every pixel.
    """

    def __init__(self, channels: int, factor: int, options: Options) -> None:
        super().__init__()
        self.factor, self.spectral = factor, options.spectral_pooling
        self.join = nn.Conv2d(2 * channels, channels, 1) if options.learned_pooling else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, Y, X) to (B, C, Y / factor, X / factor)."""
        # Repeating the last row and column changes no maximum.
        padded, window = (F.pad(x, (0, 1, 0, 1), mode="replicate"), 2) if self.factor == 1 else (x, self.factor)
        maximum = F.max_pool2d(padded, window, self.factor)
        if not self.spectral:
            smooth = F.avg_pool2d(padded, window, self.factor)
        else:
            smooth = F.relu(x if self.factor == 1 else spectral_pool(x, self.factor))
        if self.join is None:
            return (maximum + smooth) / 2
        joined: Tensor = self.join(torch.cat([maximum, smooth], dim=1))
        return joined


class Inception(nn.Module):
    """Three convolutions and pooling side by side; `outputs` is the number of their channels together."""

    def __init__(self, inputs: int, width: int, options: Options) -> None:
        super().__init__()
        self.outputs = 3 * width + inputs
        self.convs = nn.ModuleList(nn.Conv2d(inputs, width, size, padding=size // 2) for size in (1, 3, 5))
        self.pool = HybridPool(inputs, 1, options)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, outputs, Y, X)."""
        return torch.cat([*(F.relu(conv(x)) for conv in self.convs), self.pool(x)], dim=1)


class Block(nn.Module):
    """An inception, a convolution of 1 x 1 that joins it, and dropout."""

    def __init__(self, inputs: int, width: int, options: Options, dropout: float) -> None:
        super().__init__()
        self.inception = Inception(inputs, width, options)
        self.join = nn.Conv2d(self.inception.outputs, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, width, Y, X)."""
        dropped: Tensor = self.dropout(F.relu(self.join(self.inception(x))))
        return dropped


class Up(nn.Module):
    """A transposed convolution of 2 x 2, the encoder's features of that resolution, and a block."""

    def __init__(self, inputs: int, width: int, options: Options, dropout: float) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(inputs, width, 2, stride=2)
        self.block = Block(2 * width, width, options, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) and (B, width, 2Y, 2X) to (B, width, 2Y, 2X)."""
        joined: Tensor = self.block(torch.cat([self.upsample(x), skip], dim=1))
        return joined


class InceptionUNet(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of, `stages` are the parts of the way up."""

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        self.stride = 2**_DEPTH
        self.stages = tuple(f"up.{n}" for n in range(_DEPTH - 1))
        widths = [options.width * 2**level for level in range(_DEPTH)]
        lowest = options.width * 2**_DEPTH
        dropouts = [options.dropout, options.dropout, 2 * options.dropout, 2 * options.dropout]
        self.norm = SwitchNorm(channels)
        self.thumbnail = HybridPool(channels, self.stride, options)
        self.down, self.pool = nn.ModuleList(), nn.ModuleList()
        inputs = channels
        for width, dropout in zip(widths, dropouts, strict=True):
            self.down.append(Block(inputs, width, options, dropout))
            self.pool.append(HybridPool(width, 2, options))
            inputs = width
        self.bottom = Inception(inputs, lowest, options)
        self.bottom_join = nn.Conv2d(self.bottom.outputs + channels, lowest, 1)
        # The table drops nothing in the last block.
        self.up = nn.ModuleList(
            Up(2 * width, width, options, dropout)
            for width, dropout in zip(widths[::-1], [*dropouts[:0:-1], 0.0], strict=True)
        )
        self.head = nn.Conv2d(options.width, outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        x = self.norm(x)
        thumbnail = self.thumbnail(x)
        skips = []
        for down, pool in zip(self.down, self.pool, strict=True):
            skips.append(down(x))
            x = pool(skips[-1])
        x = F.relu(self.bottom_join(torch.cat([self.bottom(x), thumbnail], dim=1)))
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


def build(request: NetworkRequest) -> InceptionUNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return InceptionUNet(request.channels, request.outputs, validated(Options, dict(request.options)))
