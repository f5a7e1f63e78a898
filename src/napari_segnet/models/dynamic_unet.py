"""A U-Net on any encoder that upsamples by sub-pixel convolution and sees the input's own pixels once more.

The idea is fastai's ``DynamicUnet`` (Howard and Gugger 2020, https://arxiv.org/abs/2002.04688). Instead of transposed
convolutions, a 1 x 1 convolution makes four channels of which a pixel shuffle makes 2 x 2 pixels (Shi et al. 2016,
https://arxiv.org/abs/1609.05158). Its weights start so that the four pixels are alike (ICNR, Aitken et al. 2017,
https://arxiv.org/abs/1707.02937), and a mean over 2 x 2 pixels, behind one pixel of replication padding, keeps
checkerboards away later (Sugawara et al. 2018, https://arxiv.org/abs/1806.02658). Each block joins the encoder's
features of its resolution by concatenation; so does a last residual block with the pixels of the input, for fine
detail.

Where we differ from fastai: batch normalization in the decoder (there only by an option), so that it also learns from
scratch; the smoothing is on unless it is turned off; no weight normalization of the sub-pixel convolutions, and no
spectral normalization in the self-attention (Zhang et al. 2019, https://arxiv.org/abs/1805.08318), which is scaled by
the root of its channels instead. The VGG encoders' features at full resolution are not joined: the input is.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet._torch import import_smp
from napari_segnet.config import Frozen, validated
from napari_segnet.models.encoders import build_on_encoder
from napari_segnet.models.registry import NetworkRequest


class Options(Frozen):
    """Options of the dynamic U-Net, for ``--set model.options.NAME=VALUE``."""

    depth: int = Field(5, ge=3, le=5, description="Levels of the encoder that are used.")
    blur: bool = Field(True, description="Smooth after each sub-pixel convolution, against checkerboards.")
    join_input: bool = Field(True, description="Join the pixels of the input before the last residual block.")
    self_attention: bool = Field(
        False, description="Let each place look at all others, in the third block from the end: far context, slower."
    )


def conv_norm_relu(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3 x 3 convolution without bias, batch normalization and ReLU, with weights for ReLU (He et al. 2015)."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class SubPixelUp(nn.Module):
    """Twice the resolution: four channels become 2 x 2 pixels; at first like nearest-neighbour upsampling."""

    def __init__(self, inputs: int, outputs: int, blur: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 4 * outputs, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.blur = nn.Sequential(nn.ReplicationPad2d((1, 0, 1, 0)), nn.AvgPool2d(2, stride=1)) if blur else None
        self._start_alike()

    def _start_alike(self) -> None:
        # Four filters in a row make the 2 x 2 pixels of one channel (ICNR).
        kernel = nn.init.kaiming_normal_(torch.empty_like(self.conv.weight[::4]))
        with torch.no_grad():
            self.conv.weight.copy_(kernel.repeat_interleave(4, dim=0))
            nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) to (B, outputs, 2Y, 2X)."""
        x = self.shuffle(F.relu(self.conv(x)))
        return x if self.blur is None else self.blur(x)


class SelfAttention(nn.Module):
    """Adds to each place what all places say, weighed by how well they fit; starts with nothing added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        keys = max(width // 8, 1)
        self.query, self.key = nn.Conv2d(width, keys, 1, bias=False), nn.Conv2d(width, keys, 1, bias=False)
        self.value = nn.Conv2d(width, width, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, Y, X) to the same shape."""
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        said = F.scaled_dot_product_attention(query, key, value)
        return x + self.gain * said.transpose(1, 2).reshape(x.shape)


class Block(nn.Module):
    """Twice the resolution, joined with the encoder's features of that resolution where there are any."""

    def __init__(self, inputs: int, skip: int, outputs: int, options: Options, attention: bool) -> None:
        super().__init__()
        self.up = SubPixelUp(inputs, inputs // 2, options.blur)
        self.norm = nn.BatchNorm2d(skip) if skip else None
        self.conv1 = conv_norm_relu(inputs // 2 + skip, outputs)
        self.conv2 = conv_norm_relu(outputs, outputs)
        self.attention = SelfAttention(outputs) if attention else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, Y, X) and (B, skip, 2Y, 2X) to (B, outputs, 2Y, 2X)."""
        x = self.up(x)
        if self.norm is not None:
            x = torch.cat([x, F.relu(self.norm(skip))], dim=1)
        out: Tensor = self.attention(self.conv2(self.conv1(x)))
        return out


class Residual(nn.Module):
    """Two convolutions with batch normalization and a shortcut around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv_norm_relu(width, width)
        self.conv2 = conv_norm_relu(width, width)[:2]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, Y, X) to the same shape."""
        return F.relu(x + self.conv2(self.conv1(x)))


class DynamicUNet(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of, `stages` the coarser decoder stages.

    Parameters
    ----------
    encoder : torch.nn.Module
        One of smp's: returns features of 1, 1/2, 1/4 ... of the resolution; `out_channels` says how many channels
        each has, `output_stride` how coarse the last are.
    channels, outputs : int
        Of the image, and of the logits.
    options : Options
    """

    def __init__(self, encoder: nn.Module, channels: int, outputs: int, options: Options) -> None:
        super().__init__()
        self.stride = int(encoder.output_stride)  # type: ignore[arg-type]
        self.encoder = encoder
        *skips, width = list(encoder.out_channels)[1:]  # type: ignore[arg-type]
        self.middle = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), conv_norm_relu(width, 2 * width), conv_norm_relu(2 * width, width)
        )
        blocks = []
        for left, skip in reversed(list(enumerate(skips))):
            joined = width // 2 + skip
            after = joined if left else joined // 2  # the last block is the largest image
            blocks.append(Block(width, skip, after, options, options.self_attention and left == min(2, len(skips) - 1)))
            width = after
        self.blocks = nn.ModuleList(blocks)
        self.stages = tuple(f"blocks.{number}" for number in range(len(blocks)))
        self.up = SubPixelUp(width, width, options.blur)
        self.join_input = options.join_input
        width += channels * options.join_input
        self.last = Residual(width) if options.join_input else nn.Identity()
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        *skips, deepest = self.encoder(x)[1:]
        y = self.middle(deepest)
        for block in self.blocks:
            y = block(y, skips.pop())
        y = self.up(y)
        if self.join_input:
            y = torch.cat([y, x], dim=1)
        logits: Tensor = self.head(self.last(y))
        return logits


def build(request: NetworkRequest) -> nn.Module:
    """Build the network, with pretrained encoder weights if they are asked for.

    Raises
    ------
    ConfigError
        For an encoder or option that doesn't exist, or that don't go together.
    SegNetError
        If pretrained weights can't be fetched.
    """
    options = validated(Options, dict(request.options))

    def make(name: str, weights: str | None) -> DynamicUNet:
        encoder = import_smp().encoders.get_encoder(
            name, in_channels=request.channels, depth=options.depth, weights=weights
        )
        return DynamicUNet(encoder, request.channels, request.outputs, options)

    return build_on_encoder(request, make)
