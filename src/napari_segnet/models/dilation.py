"""The dilated networks of Yu and Koltun: a simplified VGG16, and a module that gathers context around each cell.

Yu and Koltun (2016), https://arxiv.org/abs/1511.07122. The front end is VGG16 without its last two poolings, whose
convolutions after them are dilated by 2 and then 4, so it scores cells of 8 x 8 pixels. The context module sees these
scores through eight layers with dilations 1, 1, 2, 4, 8, 16, 1 and 1, which see 67 x 67 cells without losing
resolution; the basic one has as many channels everywhere, the large one up to 32 times as many (their table 1). Both
start as the identity (their equations 4 and 5), and learn from there. Differences:

- The authors don't pad: they reflect the image by 186 pixels on each side, and convolutions eat that up. Here every
  convolution is padded by zeros, as in VGG: a patch of 256 pixels would become 628, six times the work, and images
  under 187 pixels can't be reflected. Further from the edges than 186 pixels the front ends are the same.
- The context module works on 21 maps, as many as Pascal VOC has classes, however many classes there are: the authors
  take one map a class, and with the two or three classes of most microscopy that would be hardly a network. So a
  trained model can be fine-tuned to other classes, too. Class k starts as map k.
- All of it is learned at once. The authors first learn the front end, then the context module on its scores, and in
  some experiments both together.
- Scores are interpolated to the size of the image in learning, too (the authors' code does so on request), and not
  from zero at the edges. With ImageNet weights fc6 and fc7 still start from random numbers (He et al., as all layers
  from scratch): the files that are fetched hold the convolutions only.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.deeplab_vgg import keep_resolution
from napari_segnet.models.registry import NetworkRequest
from napari_segnet.models.vgg import WIDTH, Vgg, build_on_vgg, he_normal

LAYERS = ((3, 1), (3, 1), (3, 2), (3, 4), (3, 8), (3, 16), (3, 1), (1, 1))
"""Kernel size and dilation of each layer of the context module."""

WIDTHS: dict[str, tuple[int, ...]] = {
    "dilation-frontend": (),
    "dilation-basic": (1, 1, 1, 1, 1, 1, 1),
    "dilation-large": (2, 2, 4, 8, 16, 32, 32),
}
"""Channels of the layers of the context module but the last, in multiples of its maps."""


class FrontEndOptions(Frozen):
    """Options of the front end."""

    width: int = Field(
        WIDTH, ge=1, le=256, description="Channels of the first level; 2, 4, 8 and 8 times as many in the next."
    )
    head: int = Field(4096, ge=1, le=16384, description="Channels of fc6 and fc7.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of values dropped after fc6 and after fc7.")


class Options(FrontEndOptions):
    """Options of the front end with a context module."""

    maps: int = Field(21, ge=1, le=256, description="Score maps that the context module works on.")


OPTIONS: dict[str, type[FrontEndOptions]] = {
    "dilation-frontend": FrontEndOptions,
    "dilation-basic": Options,
    "dilation-large": Options,
}


class FrontEnd(nn.Module):
    """VGG without its last two poolings, and its classifier as dilated convolutions."""

    def __init__(self, encoder: Vgg, outputs: int, options: FrontEndOptions) -> None:
        super().__init__()
        self.fc6 = nn.Conv2d(encoder.widths[-1], options.head, 7, padding=12, dilation=4)
        self.fc7 = nn.Conv2d(options.head, options.head, 1)
        self.dropout = nn.Dropout(options.dropout)
        self.score = nn.Conv2d(options.head, outputs, 1)
        he_normal(self)
        nn.init.normal_(self.score.weight, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, C, Y, X) to scores (B, outputs, Y, X)."""
        x = self.dropout(F.relu(self.fc6(x)))
        x = self.dropout(F.relu(self.fc7(x)))
        scores: Tensor = self.score(x)
        return scores


def context_module(maps: int, outputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Make a context module that starts by passing its input on.

    Parameters
    ----------
    maps : int
        Channels of its input.
    outputs : int
        Channels of its output; where there are more than `maps`, nothing is passed on to the others.
    widths : tuple of int
        Channels of the layers between, in multiples of `maps`.
    """
    channels = [maps, *(width * maps for width in widths), outputs]
    layers: list[nn.Module] = []
    for (inside, outside), (size, dilation), copies in zip(pairwise(channels), LAYERS, (*widths, 1), strict=True):
        layer = nn.Conv2d(inside, outside, size, padding=size // 2 * dilation, dilation=dilation)
        pass_on(layer, maps, copies)
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def pass_on(layer: nn.Conv2d, maps: int, copies: int) -> None:
    """Let a convolution start as the identity on `maps`: equations 4 and 5 of the paper.

    Its inputs stand for the maps in equal groups, its outputs in groups of `copies`. Where a group has several
    channels, the other weights are noise, by which these come to differ: a thousand times smaller than what is
    passed on. Elsewhere they are zero.
    """
    outside, inside, size, _ = layer.weight.shape
    same = torch.arange(outside)[:, None] // copies == torch.arange(inside) * maps // inside
    noise = 0.0 if inside == maps and copies == 1 else 0.001 / copies
    with torch.no_grad():
        nn.init.normal_(layer.weight, std=noise)
        middle = layer.weight[:, :, size // 2, size // 2]
        middle.copy_(torch.where(same, 1 / copies, middle))
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class DilatedNetwork(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of."""

    stride = 8

    def __init__(
        self, encoder: str, channels: int, outputs: int, widths: tuple[int, ...], options: FrontEndOptions
    ) -> None:
        super().__init__()
        self.encoder = Vgg(encoder, channels, options.width)
        keep_resolution(self.encoder, [nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Identity(), nn.Identity()])
        if isinstance(options, Options):
            self.frontend = FrontEnd(self.encoder, options.maps, options)
            self.context: nn.Module = context_module(options.maps, outputs, widths)
            self.stages = ("frontend",)
        else:
            self.frontend = FrontEnd(self.encoder, outputs, options)
            self.context = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        scores = self.context(self.frontend(self.encoder.features(x)))
        return F.interpolate(scores, scale_factor=8.0, mode="bilinear", align_corners=False)


def build(request: NetworkRequest) -> nn.Module:
    """Build a network, with pretrained encoder weights if they are asked for.

    Raises
    ------
    ConfigError
        For an encoder or option that doesn't exist, or that don't go together.
    SegNetError
        If pretrained weights can't be fetched.
    """
    options = validated(OPTIONS[request.name], dict(request.options))
    widths = WIDTHS[request.name]
    return build_on_vgg(
        request,
        options.width,
        lambda encoder: DilatedNetwork(encoder, request.channels, request.outputs, widths, options),
    )
