"""U-Nets on classification networks, as the lecture "Segmentation Models" (Abdul Qayyum, Burgundy) draws them.

The encoders are those of segmentation-models-pytorch, any that halves the resolution five times; the decoders are
here. The lecture lists the layers of one decoder and draws the others, so:

- ``resnet50-unet`` is the lecture's table: upsample, join, one convolution. The table takes its skip connections from
  inside ResNet's blocks (Keras' activations 50, 59, 61, 76 and 93: after the stem, block 2c, the 3 x 3 convolution of
  3a, that of 4b, and the first 1 x 1 convolution of 5b), so they have the bottlenecks' widths, 64, 256, 128, 256 and
  512. Here the stages' outputs are brought to these widths by a 1 x 1 convolution with batch normalization and ReLU,
  which is what the block behind a stage begins with: all of the encoder is used, other encoders fit, and every
  tensor of the table keeps its size. The table doesn't say the size of the kernels (3 x 3 here), the activation (ReLU)
  or the kind of upsampling (nearest neighbour, Keras' default). It has no normalization in the decoder.
- ``se-resnet-unet`` adds squeeze-and-excitation (Hu et al. 2018, https://arxiv.org/abs/1709.01507) to the encoder's
  blocks (with its default encoder) and, as drawn, to the decoder's four stages and the segmentation stage.
- ``densenet-unet`` is only drawn. Its decoder is that of the public DenseNet121 U-Net of the winners of the Data
  Science Bowl 2018 (github.com/selimsef/dsb2018_topcoders, victor/models.py): two convolutions a stage.
- ``xception-resunet`` and ``efficientnet-resunet`` are drawn with a "ResNet based decoder". It is that of the public
  UXception of Kaggle's competitions: transposed convolutions, and two residual blocks a stage. It begins with the
  encoder's features of 1/32, where UXception pools those of 1/16 once more; the public UEfficientNet has further
  links between the stages, which the lecture doesn't speak of.

Convolutions of the decoders start from He's normal distribution (He et al. 2015, https://arxiv.org/abs/1502.01852),
as in the two public networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet._torch import import_smp
from napari_segnet.config import Frozen, validated
from napari_segnet.models.encoders import build_on_encoder
from napari_segnet.models.registry import NetworkRequest

_SLOPE = 0.1
"""Of the leaky ReLU in the residual decoder."""


class ResNetOptions(Frozen):
    """Options of the ResNet50 U-Net."""

    width: int = Field(32, ge=1, le=512, description="Channels of the decoder's last stage; doubled at coarser ones.")


class SEResNetOptions(ResNetOptions):
    """Options of the SE-ResNet U-Net."""

    reduction: int = Field(
        16, ge=1, le=64, description="Divides the channels inside of the decoder's squeeze-and-excitation."
    )


class DenseNetOptions(Frozen):
    """Options of the DenseNet U-Net."""

    width: int = Field(64, ge=2, le=512, description="Channels of the decoder's last stage; 1.5 to 5 times at others.")


class ResidualOptions(Frozen):
    """Options of the U-Nets with a residual decoder."""

    width: int = Field(16, ge=1, le=256, description="Channels of the decoder's last stage; doubled at coarser ones.")
    blocks: int = Field(2, ge=1, le=8, description="Residual blocks of each stage.")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of values dropped where a stage begins; half at the end."
    )


OPTIONS: dict[str, type[Frozen]] = {
    "resnet50-unet": ResNetOptions,
    "se-resnet-unet": SEResNetOptions,
    "densenet-unet": DenseNetOptions,
    "xception-resunet": ResidualOptions,
    "efficientnet-resunet": ResidualOptions,
}


class EncoderDecoder(nn.Module):
    """An encoder of smp, and a decoder that takes its features from 1/32 to 1/2 of the resolution.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (B, C, Y, X) to six maps of features, from the full resolution to 1/32.
    lateral : list of Module
        What each of the five coarser maps goes through first, coarse to fine.
    up : list of Module
        Stages that map (B, c, Y, X), and the features of twice the resolution where there are any, to
        (B, d, 2Y, 2X), coarse to fine. `stages` are all but the last.
    head : torch.nn.Module
        Makes the logits.
    """

    def __init__(
        self, encoder: nn.Module, lateral: Sequence[nn.Module], up: Sequence[nn.Module], head: nn.Module
    ) -> None:
        super().__init__()
        self.stride = 32
        self.stages = tuple(f"up.{n}" for n in range(len(up) - 1))
        self.encoder = encoder
        self.lateral = nn.ModuleList(lateral)
        self.up = nn.ModuleList(up)
        self.head = head
        for part in (self.lateral, self.up, self.head):
            _initialize(part)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        features = [side(one) for side, one in zip(self.lateral, self.encoder(x)[:0:-1], strict=True)]
        x = features[0]
        for index, up in enumerate(self.up, start=1):
            x = up(x, features[index] if index < len(features) else None)
        logits: Tensor = self.head(x)
        return logits


def _initialize(decoder: nn.Module) -> None:
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _join(x: Tensor, skip: Tensor | None) -> Tensor:
    return x if skip is None else torch.cat([x, skip], dim=1)


def convolution(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """Make a padded convolution of `size` x `size` with batch normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class SqueezeExcite(nn.Module):
    """Weigh each channel by what the means of all channels say."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, Y, X) to the same shape."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(means))))


class PlainUp(nn.Module):
    """Upsample, join, and one convolution of 3 x 3 with ReLU; squeeze-and-excitation behind it if asked for."""

    def __init__(self, inputs: int, skip: int, outputs: int, reduction: int | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs + skip, outputs, 3, padding=1)
        self.excite = nn.Identity() if reduction is None else SqueezeExcite(outputs, reduction)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map (B, inputs, Y, X) and (B, skip, 2Y, 2X) to (B, outputs, 2Y, 2X)."""
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        excited: Tensor = self.excite(F.relu(self.conv(_join(x, skip))))
        return excited


class DoubleUp(nn.Module):
    """Upsample, a convolution, join, another convolution, both of 3 x 3 with batch normalization and ReLU."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3)
        self.conv2 = convolution(outputs + skip, outputs, 3)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map (B, inputs, Y, X) and (B, skip, 2Y, 2X) to (B, outputs, 2Y, 2X)."""
        x = self.conv1(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        joined: Tensor = self.conv2(_join(x, skip))
        return joined


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalization around what comes in, which is normalized, too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shortcut = nn.BatchNorm2d(channels)
        self.body = nn.Sequential(
            nn.LeakyReLU(_SLOPE),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, Y, X) to the same shape."""
        added: Tensor = self.body(x) + self.shortcut(x)
        return added


def residual_stage(inputs: int, outputs: int, options: ResidualOptions) -> nn.Sequential:
    """Make a convolution of 3 x 3, residual blocks, and a leaky ReLU."""
    blocks = [ResidualBlock(outputs) for _ in range(options.blocks)]
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), *blocks, nn.LeakyReLU(_SLOPE))


class ResidualUp(nn.Module):
    """A transposed convolution of 3 x 3, join, dropout, and a residual stage."""

    def __init__(self, inputs: int, skip: int, outputs: int, options: ResidualOptions) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
        self.dropout = nn.Dropout(options.dropout)
        self.stage = residual_stage(outputs + skip, outputs, options)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map (B, inputs, Y, X) and (B, skip, 2Y, 2X) to (B, outputs, 2Y, 2X)."""
        joined: Tensor = self.stage(self.dropout(_join(self.upsample(x), skip)))
        return joined


def _resnet(encoder: nn.Module, outputs: int, options: ResNetOptions) -> EncoderDecoder:
    width = options.width
    reduction = options.reduction if isinstance(options, SEResNetOptions) else None
    skips = [16 * width, 8 * width, 4 * width, 8 * width, 2 * width]
    lateral = [
        nn.Identity() if has in (0, skip) else convolution(has, skip, 1)
        for has, skip in zip(_widths(encoder), skips, strict=True)
    ]
    # A transformer has no features of 1/2: a map without channels, which stays as it is.
    skips = [skip if has else 0 for has, skip in zip(_widths(encoder), skips, strict=True)]
    widths = [skips[0], 8 * width, 4 * width, 2 * width, width]
    up = [PlainUp(below, skip, own, reduction) for (below, own), skip in zip(pairwise(widths), skips[1:], strict=True)]
    excite = [] if reduction is None else [SqueezeExcite(width, reduction)]
    head = nn.Sequential(nn.Upsample(scale_factor=2.0), *excite, nn.Conv2d(width, outputs, 3, padding=1))
    return EncoderDecoder(encoder, lateral, up, head)


def _densenet(encoder: nn.Module, outputs: int, options: DenseNetOptions) -> EncoderDecoder:
    width, has = options.width, _widths(encoder)
    widths = [has[0], 5 * width, 4 * width, 2 * width, width * 3 // 2, width]
    up = [DoubleUp(below, skip, own) for (below, own), skip in zip(pairwise(widths), [*has[1:], 0], strict=True)]
    return EncoderDecoder(encoder, [nn.Identity()] * 5, up, nn.Conv2d(width, outputs, 1))


def _residual(encoder: nn.Module, outputs: int, options: ResidualOptions) -> EncoderDecoder:
    width, has = options.width, _widths(encoder)
    middle = nn.Sequential(nn.Dropout(options.dropout), residual_stage(has[0], 32 * width, options))
    widths = [width * 2**level for level in range(5, -1, -1)]
    up = [
        ResidualUp(below, skip, own, options)
        for (below, own), skip in zip(pairwise(widths), [*has[1:], 0], strict=True)
    ]
    head = nn.Sequential(nn.Dropout(options.dropout / 2), nn.Conv2d(width, outputs, 1))
    return EncoderDecoder(encoder, [middle, *[nn.Identity()] * 4], up, head)


def _widths(encoder: nn.Module) -> list[int]:
    """Return the channels of the encoder's features from 1/32 to 1/2."""
    return list(encoder.out_channels[:0:-1])  # type: ignore[index]


def build(request: NetworkRequest) -> nn.Module:
    """Build one of the networks, with pretrained encoder weights if they are asked for.

    Raises
    ------
    ConfigError
        For an option or encoder that doesn't exist, or an encoder that doesn't halve the resolution five times.
    SegNetError
        If pretrained weights can't be fetched.
    """
    options = validated(OPTIONS[request.name], dict(request.options))

    def make(name: str, weights: str | None) -> nn.Module:
        encoder = import_smp().encoders.get_encoder(name, in_channels=request.channels, depth=5, weights=weights)
        if len(encoder.out_channels) != 6 or encoder.output_stride != 32:
            raise ValueError("it doesn't halve the resolution five times")
        if isinstance(options, ResNetOptions):
            return _resnet(encoder, request.outputs, options)
        if isinstance(options, DenseNetOptions):
            return _densenet(encoder, request.outputs, options)
        assert isinstance(options, ResidualOptions)
        return _residual(encoder, request.outputs, options)

    return build_on_encoder(request, make)
