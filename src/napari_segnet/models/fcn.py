"""Fully convolutional networks: VGG16 whose classifier slides over the image, and scores that are upsampled.

Long, Shelhamer and Darrell (2015), https://arxiv.org/abs/1411.4038, and Shelhamer, Long and Darrell (2017),
https://arxiv.org/abs/1605.06211. The fully connected layers fc6 and fc7 become convolutions. FCN-32s scores their
features at 1/32 of the resolution; FCN-16s adds scores of the fourth pooling, and FCN-8s of the third, too.

As in the papers: scores start at zero, dropout follows fc6 and fc7, upsampling between the scores starts as bilinear
and is learned, the last upsampling stays bilinear. Differences:

- The authors pad the image by 100 pixels, so that fc6 fits images of any size, and crop the scores. Here fc6 pads its
  own input by 3 cells, so the scores of any multiple of 32 pixels lie where their pixels are, without a crop.
- One upsampling kernel for all classes, not a kernel for each pair (the authors' published models don't learn them at
  all, and they report no difference); and one bias for all scores, for theirs are added up. So a trained model can
  be fine-tuned to other classes.
- All scores are learned at once, and not first FCN-32s, then FCN-16s, then FCN-8s; nor are the finer maps scaled
  down, as where the later paper learns them at once.
- With ImageNet weights fc6 and fc7 still start from random numbers (He et al., as all layers without weights): only
  those of the convolutions are fetched.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from napari_segnet.config import Frozen, validated
from napari_segnet.models.registry import NetworkRequest
from napari_segnet.models.vgg import WIDTH, Vgg, build_on_vgg, he_normal

_SKIPS = {"fcn-32s": 0, "fcn-16s": 1, "fcn-8s": 2}
"""How many finer maps are scored beside the classifier's."""


class Options(Frozen):
    """Options of fully convolutional networks."""

    width: int = Field(
        WIDTH, ge=1, le=256, description="Channels of the first level; 2, 4, 8 and 8 times as many in the next."
    )
    head: int = Field(4096, ge=1, le=16384, description="Channels of fc6 and fc7.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of values dropped after fc6 and after fc7.")


class Upsampling(nn.Module):
    """Twice the resolution by a transposed convolution of each channel, whose kernel starts as bilinear."""

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.75, 0.75, 0.25])
        self.kernel = nn.Parameter((line[:, None] * line)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, Y, X) to (B, C, 2Y, 2X)."""
        channels = x.shape[1]
        # Without a border of copies the scores would fade to zero along the image's edges.
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        kernel = self.kernel.expand(channels, 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=3, groups=channels)


class FCN(nn.Module):
    """The network; `stride` is what the input's sides have to be multiples of."""

    stride = 32

    def __init__(self, encoder: str, channels: int, outputs: int, skips: int, options: Options) -> None:
        super().__init__()
        self.skips = skips
        self.encoder = Vgg(encoder, channels, options.width)
        self.fc6 = nn.Conv2d(self.encoder.widths[-1], options.head, 7, padding=3)
        self.fc7 = nn.Conv2d(options.head, options.head, 1)
        self.dropout = nn.Dropout(options.dropout)
        self.up = nn.ModuleList(Upsampling() for _ in range(skips))
        # One layer scores the maps of all resolutions, each with its part of the input channels.
        self.scored = [options.head, *self.encoder.widths[-2 : -2 - skips : -1]]
        self.score = nn.Conv2d(sum(self.scored), outputs, 1)
        he_normal(self.fc6)
        he_normal(self.fc7)
        for parameter in self.score.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image (B, channels, Y, X) to logits (B, outputs, Y, X)."""
        pooled, _ = self.encoder(x)
        x = self.dropout(F.relu(self.fc6(pooled.pop())))
        x = self.dropout(F.relu(self.fc7(x)))
        coarsest, *finer = torch.split(self.score.weight, self.scored, dim=1)
        scores = F.conv2d(x, coarsest)
        for up, weight in zip(self.up, finer, strict=True):
            scores = up(scores) + F.conv2d(pooled.pop(), weight)
        scores = scores + self.score.bias[:, None, None]  # type: ignore[index]
        return F.interpolate(scores, scale_factor=self.stride / 2.0**self.skips, mode="bilinear", align_corners=False)


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
    skips = _SKIPS[request.name]
    return build_on_vgg(
        request, options.width, lambda encoder: FCN(encoder, request.channels, request.outputs, skips, options)
    )
