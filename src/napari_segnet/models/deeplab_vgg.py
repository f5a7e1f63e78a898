"""DeepLab on VGG16: LargeFOV, and the atrous spatial pyramid of DeepLabv2.

Chen, Papandreou, Kokkinos, Murphy and Yuille (2015), https://arxiv.org/abs/1412.7062, and (2018),
https://arxiv.org/abs/1606.00915. VGG16 whose last two poolings keep the resolution: what comes after them is dilated
("atrous"), so features are seen at 1/8 of the resolution with weights that were learned at 1/32. ``deeplab-largefov``
classifies them by one dilated layer of rate 12; ``deeplabv2`` by four in parallel of rates 6, 12, 18 and 24, whose
scores are added up (DeepLab-ASPP-L in the paper).

Layers are those of the authors' published models: 3 x 3 pooling everywhere, an average after the last in LargeFOV,
and scores that start as Gaussian noise of 0.01. Their cells lie on pixels 0, 8, 16 ..., and are interpolated from
there. Differences:

- The authors learn scores at 1/8 of the resolution from thinned labels, and interpolate to predict. Here scores are
  interpolated in both, so thin strokes aren't lost.
- The authors cut fc6 and fc7 out of VGG16's classifier. The files of weights that are fetched here hold the
  convolutions only, so fc6 and fc7 start from random numbers (He et al.), as all layers do from scratch.
- The four scores of ``deeplabv2`` are one layer with one bias on the joined features, which is the same sum; so a
  trained model can be fine-tuned to other classes.
- Their conditional random field, which sharpens the answer afterwards, is no part of the network.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest
from napari_segnet.models.vgg import WIDTH, Vgg, build_on_vgg, he_normal

RATES: dict[str, tuple[int, ...]] = {"deeplab-largefov": (12,), "deeplabv2": (6, 12, 18, 24)}
"""Dilation of fc6 in each branch, in cells of 8 pixels."""


class Options(Frozen):
    """Options of DeepLab on VGG."""

    width: int = Field(
        WIDTH, ge=1, le=256, description="Channels of the first level; 2, 4, 8 and 8 times as many in the next."
    )
    head: int = Field(1024, ge=1, le=4096, description="Channels of fc6 and fc7, in each branch.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of values dropped after fc6 and after fc7.")


def keep_resolution(encoder: Vgg, pooling: Iterable[nn.Module]) -> None:
    """Put other poolings into a VGG network, and dilate its last level by 2; its weights still fit.

    Parameters
    ----------
    encoder : Vgg
        With all five levels; it is changed in place.
    pooling : iterable of five torch.nn.Module
        Those after each level, fine to coarse. Only the first three may halve the resolution.
    """
    layers = encoder.features
    pools = [n for n, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for n, pool in zip(pools, pooling, strict=True):
        layers[n] = pool
    for layer in list(layers)[pools[3] :]:
        if isinstance(layer, nn.Conv2d):
            layer.dilation = layer.padding = (2, 2)


def enlarge(x: Tensor) -> Tensor:
    """Interpolate cells that lie on pixels 0, 8 ... 8Y: (B, C, Y + 1, X + 1) to (B, C, 8Y, 8X)."""
    size = [8 * (length - 1) + 1 for length in x.shape[-2:]]
    return F.interpolate(x, size, mode="bilinear", align_corners=True)[..., :-1, :-1]


class DeepLab(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of."""

    stride = 8

    def __init__(self, encoder: str, channels: int, outputs: int, rates: tuple[int, ...], options: Options) -> None:
        super().__init__()
        self.encoder = Vgg(encoder, channels, options.width)
        # Rounding up gives an image of 8Y pixels Y + 1 cells: the last lies just outside, and ends the interpolation.
        pooling = [nn.MaxPool2d(3, stride, padding=1, ceil_mode=True) for stride in (2, 2, 2, 1, 1)]
        keep_resolution(self.encoder, pooling)
        self.average = nn.AvgPool2d(3, 1, padding=1) if len(rates) == 1 else nn.Identity()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(self.encoder.widths[-1], options.head, 3, padding=rate, dilation=rate),
                nn.ReLU(inplace=True),
                nn.Dropout(options.dropout),
                nn.Conv2d(options.head, options.head, 1),
                nn.ReLU(inplace=True),
                nn.Dropout(options.dropout),
            )
            for rate in rates
        )
        self.score = nn.Conv2d(len(rates) * options.head, outputs, 1)
        he_normal(self.branches)
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.zeros_(self.score.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        x = self.average(self.encoder.features(x))
        x = self.score(torch.cat([branch(x) for branch in self.branches], dim=1))
        return enlarge(x)


def build(request: NetworkRequest) -> nn.Module:
    """Build a network, with pretrained encoder weights if they are asked for.

    Raises
    ------
    ConfigError
        For an encoder or option that doesn't exist, or that don't go together.
    SegNetError
        If pretrained weights can't be fetched.
    """
    options = validated(Options, dict(request.options))
    rates = RATES[request.name]
    return build_on_vgg(
        request, options.width, lambda encoder: DeepLab(encoder, request.channels, request.outputs, rates, options)
    )
