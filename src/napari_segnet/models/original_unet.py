"""The U-Net as it was published: valid convolutions, so that no answer rests on invented pixels inside the network.

After Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597: 3 x 3 convolutions without padding,
2 x 2 up-convolutions that halve the channels, skip connections cropped to the size they meet, no normalization, dropout
at the end of the contracting path, and weights from a normal distribution of variance 2 / N, N being the values that
one neuron sees. `OriginalUNet.valid` is that network: 572 x 572 pixels in, 388 x 388 out. The paper doesn't say how
much is dropped: the authors' published network drops half of the values of the two lowest levels, and so do we.

An image comes back at its own size: `forward` mirrors the image at its border (the paper's extrapolation) by what the
network cuts off. Tiles that overlap and whose borders are thrown away are the paper's overlap-tile strategy, and that
is how images are predicted here. The valid network gives sides of 16 n - 60 pixels, never a multiple of 16, so
four lines too many are asked for at the end and cut off; then the grid of the pooling lies the same way in all tiles
that begin at multiples of 16, and tiles agree with the whole image.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.errors import DataError
from napari_segnet.models.registry import NetworkRequest


class Options(Frozen):
    """Options of the original U-Net."""

    width: int = Field(64, ge=1, le=512, description="Channels at full resolution; doubled at each level.")
    depth: int = Field(4, ge=1, le=6, description="How often the resolution is halved.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of values dropped at the two lowest levels.")


class Block(nn.Sequential):
    """Two valid convolutions of 3 x 3 pixels with ReLU: four lines and columns less."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.Conv2d(outputs, outputs, 3), nn.ReLU())


class OriginalUNet(nn.Module):
    """The network.

    Attributes
    ----------
    stride : int
        What the input's sides have to be multiples of.
    border : int
        Pixels that the valid network cuts off each side: 92 in the paper.
    spare : int
        Lines and columns that have to be asked for in addition, to get a multiple of `stride`: 4 in the paper.
    """

    def __init__(self, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        widths = [options.width * 2**level for level in range(options.depth + 1)]
        self.stride = 2**options.depth
        self.border = 6 * self.stride - 4
        self.spare = 4 % self.stride
        self.encoder = nn.ModuleList(
            Block(inputs, width) for inputs, width in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.dropout = nn.Dropout(options.dropout)
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for below, width in upwards)
        self.decoder = nn.ModuleList(Block(2 * width, width) for _, width in upwards)
        self.head = nn.Conv2d(widths[0], outputs, 1)
        _initialize(self)

    def valid(self, x: Tensor) -> Tensor:
        """Apply the network of the paper.

        Parameters
        ----------
        x : (B, channels, Y, X) Tensor
            With the paper's depth of 4, Y and X are 16 n + 124, n > 4: 188, 204, ... 572 ...

        Returns
        -------
        (B, outputs, Y - 184, X - 184) Tensor
            Logits of the middle of the image.

        Raises
        ------
        DataError
            For sizes that would be halved at an odd number: the pooling would drop lines unseen.
        """
        if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            self._check(*x.shape[-2:])
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if skips else x)
            if level >= len(self.encoder) - 2:
                x = self.dropout(x)
            skips.append(x)
        x = skips.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = up(x)
            x = block(torch.cat([_middle(skips.pop(), x), x], dim=1))
        logits: Tensor = self.head(x)
        return logits

    def _check(self, *sides: int) -> None:
        if any(side <= 2 * self.border or (side + 4) % self.stride for side in sides):
            first = next(n for n in range(2 * self.border + 1, 3 * self.border + 9) if (n + 4) % self.stride == 0)
            fitting = ", ".join(str(first + n * self.stride) for n in range(3))
            raise DataError(
                f"An image of {sides[0]} x {sides[1]} pixels can't be halved {len(self.up)} times without padding.",
                f"Valid sides are {fitting} and so on.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X): mirror its border, apply `valid`, cut."""
        # At least two pixels: sides are multiples of the stride.
        rows, columns = (_mirrored(length, self.border, self.border + self.spare, x.device) for length in x.shape[-2:])
        logits = self.valid(x.index_select(2, rows).index_select(3, columns))
        return logits[..., : x.shape[-2], : x.shape[-1]]


def _middle(x: Tensor, like: Tensor) -> Tensor:
    """Cut x (B, C, Y, X) to the size of a smaller tensor, as much at each side."""
    top, left = (x.shape[-2] - like.shape[-2]) // 2, (x.shape[-1] - like.shape[-1]) // 2
    return x[..., top : top + like.shape[-2], left : left + like.shape[-1]]


def _mirrored(length: int, before: int, after: int, device: torch.device) -> Tensor:
    """Return which pixels stand for positions ``-before .. length + after``; the border itself is not repeated.

    Unlike torch's reflection it goes to and fro as often as needed, so that a border may be wider than the image.
    """
    last = length - 1
    position = torch.arange(-before, length + after, device=device).remainder(2 * last)
    return last - (position - last).abs()


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # Each pixel behind an up-convolution sees one pixel before it.
            seen = module.in_channels * (math.prod(module.kernel_size) if isinstance(module, nn.Conv2d) else 1)
            nn.init.normal_(module.weight, std=math.sqrt(2 / seen))
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def build(request: NetworkRequest) -> OriginalUNet:
    """Build the network; raises `ConfigError` for an option that it doesn't have."""
    return OriginalUNet(request.channels, request.outputs, validated(Options, dict(request.options)))
