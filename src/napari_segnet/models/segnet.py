"""SegNet and its relatives: decoders that mirror the encoder, without copying its features.

Badrinarayanan, Kendall and Cipolla (2017), https://arxiv.org/abs/1511.00561. SegNet's pooling keeps where each
maximum was; its decoder puts values back to these places (all others are zero) and fills the gaps by convolutions.
So outlines come back at the cost of an index a value, where U-Net keeps whole maps.

Three networks:

- ``segnet``: all convolutions of VGG16 with batch normalization, and their mirror image. As in the authors' models
  for Caffe, the last convolution gives the logits.
- ``segnet-basic``: the small one of the paper's comparisons (section 3.1): four levels, 64 features everywhere, 7 x 7
  convolutions without biases, no ReLU in the decoder. The authors' Caffe model has biases; we follow the paper. Both
  of them first normalize the local contrast of the image, which is left out: images come here normalized.
- ``vgg-segnet``: of Gupta's Keras package (https://github.com/divamgupta/image-segmentation-keras) and the courses
  built on it: VGG16 without batch normalization up to the fourth pooling, and a light decoder that copies each pixel
  to 2 x 2, without indices and without ReLU. The package answers at half the resolution, and compares with halved
  labels: here the logits are interpolated to the image's size.

Weights are drawn as He et al. say, as in SegNet's paper (the Keras package draws those of its decoder as Glorot and
Bengio say). ``segnet`` and ``vgg-segnet`` take any VGG network as encoder, with its ImageNet weights where wanted.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest
from napari_segnet.models.vgg import WIDTH, Vgg, build_on_vgg, he_normal


class SegNetOptions(Frozen):
    """Options of SegNet, and of the one on plain VGG."""

    width: int = Field(
        WIDTH, ge=1, le=256, description="Channels of the first level; 2, 4, 8 and 8 times as many in the next."
    )


class SegNetBasicOptions(Frozen):
    """Options of SegNet-Basic."""

    width: int = Field(64, ge=1, le=512, description="Channels of every layer.")


OPTIONS: dict[str, type[Frozen]] = {
    "segnet": SegNetOptions,
    "segnet-basic": SegNetBasicOptions,
    "vgg-segnet": SegNetOptions,
}


def unpool(x: Tensor, index: Tensor) -> Tensor:
    """Undo 2 x 2 pooling: each value goes to the place where it was the largest, all other places are zero.

    The same as `torch.nn.functional.max_unpool2d`, which can't be exported to ONNX, and not run on Apple's GPUs by the
    older versions of torch that we allow.

    Parameters
    ----------
    x : (B, C, Y, X) Tensor
    index : (B, C, Y, X) int64 Tensor
        Places in the flattened plane of 2Y x 2X pixels, from ``max_pool2d(..., return_indices=True)``.

    Returns
    -------
    (B, C, 2Y, 2X) Tensor
    """
    batch, channels, height, width = x.shape
    flat = x.new_zeros(batch, channels, 4 * height * width)
    return flat.scatter(2, index.flatten(2), x.flatten(2)).view(batch, channels, 2 * height, 2 * width)


class Unpooling(nn.Module):
    """Twice the resolution by the indices of pooling, and convolutions that fill the gaps."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """Map (B, C, Y, X) and the places of its values to (B, D, 2Y, 2X)."""
        y: Tensor = self.layers(unpool(x, index))
        return y


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class SegNet(nn.Module):
    """The network of the paper; `stride` is what the input's sides have to be multiples of."""

    stride = 32
    stages = ("decoder.0", "decoder.1", "decoder.2", "decoder.3")

    def __init__(self, encoder: str, channels: int, outputs: int, width: int) -> None:
        super().__init__()
        self.encoder = Vgg(encoder, channels, width, indices=True)
        # A level's first convolution widens in the encoder, so its mirror image narrows, and comes last.
        self.decoder = nn.ModuleList()
        for level in reversed(range(1, 5)):
            inside, above = self.encoder.widths[level], self.encoder.widths[level - 1]
            self.decoder.append(_mirror([inside] * self.encoder.convolutions[level] + [above]))
        # At the top the last one is the head.
        self.decoder.append(_mirror([width] * self.encoder.convolutions[0]))
        self.head = nn.Conv2d(width, outputs, 3, padding=1)
        he_normal(self.decoder)
        he_normal(self.head)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        pooled, places = self.encoder(x)
        x = pooled[-1]
        for stage in self.decoder:
            x = stage(x, places.pop())
        logits: Tensor = self.head(x)
        return logits


def _mirror(widths: list[int]) -> Unpooling:
    return Unpooling(nn.Sequential(*[layer for a, b in pairwise(widths) for layer in _convolution(a, b)]))


class SegNetBasic(nn.Module):
    """The small network of the paper; `stride` is what the input's sides have to be multiples of."""

    stride = 16
    stages = ("decoder.0", "decoder.1", "decoder.2")

    def __init__(self, channels: int, outputs: int, width: int) -> None:
        super().__init__()
        convolution = partial(nn.Conv2d, kernel_size=7, padding=3, bias=False)
        self.down = nn.ModuleList(
            nn.Sequential(convolution(inputs, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
            for inputs in (channels, width, width, width)
        )
        self.decoder = nn.ModuleList(
            Unpooling(nn.Sequential(convolution(width, width), nn.BatchNorm2d(width))) for _ in self.down
        )
        self.head = nn.Conv2d(width, outputs, 1)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        places = []
        for down in self.down:
            x, index = F.max_pool2d(down(x), 2, return_indices=True)
            places.append(index)
        for stage in self.decoder:
            x = stage(x, places.pop())
        logits: Tensor = self.head(x)
        return logits


class VggSegNet(nn.Module):
    """The network of the Keras package; `stride` is what the input's sides have to be multiples of."""

    stride = 16
    stages = ("decoder.0", "decoder.1", "decoder.2")

    def __init__(self, encoder: str, channels: int, outputs: int, width: int) -> None:
        super().__init__()
        self.encoder = Vgg(encoder, channels, width, levels=4)
        widths = self.encoder.widths[::-1]
        self.decoder = nn.ModuleList([nn.Sequential(*_convolution(widths[0], widths[0])[:2])])
        for below, above in pairwise(widths):
            self.decoder.append(nn.Sequential(nn.Upsample(scale_factor=2), *_convolution(below, above)[:2]))
        self.head = nn.Conv2d(width, outputs, 3, padding=1)
        he_normal(self.decoder)
        he_normal(self.head)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        x = self.encoder(x)[0][-1]
        for stage in self.decoder:
            x = stage(x)
        return F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear", align_corners=False)


def build(request: NetworkRequest) -> nn.Module:
    """Build a network, with pretrained encoder weights if they are asked for.

    Raises
    ------
    ConfigError
        For an encoder or option that doesn't exist, or that don't go together.
    SegNetError
        If pretrained weights can't be fetched.
    """
    options: Any = validated(OPTIONS[request.name], dict(request.options))
    if request.name == "segnet-basic":
        return SegNetBasic(request.channels, request.outputs, options.width)
    kind = SegNet if request.name == "segnet" else VggSegNet
    return build_on_vgg(
        request, options.width, lambda encoder: kind(encoder, request.channels, request.outputs, options.width)
    )
