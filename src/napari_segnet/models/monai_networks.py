"""Networks for volumes, from MONAI.

A network is one class of options here and one line in the registry. All of them map (B, C, Z, Y, X) to logits of the
same size. Where the planes of a volume lie further apart than their pixels, `flat_levels` keeps the first levels of a
network from pooling along Z, until pixels have about the same size in all directions (Isensee et al. 2021, nnU-Net,
https://doi.org/10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from monai.networks import nets
from pydantic import Field
from torch import Tensor, nn

from napari_segnet.config import Frozen, validated
from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import NetworkRequest
from napari_segnet.models.volume_layers import mend

_MOST_WIDTH = 320


class UNet3DOptions(Frozen):
    """Options of the 3D U-Net."""

    width: int = Field(32, ge=4, le=256, description="Channels at full resolution; eight times as many at 1/16.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped after each convolution.")


class VNetOptions(Frozen):
    """Options of V-Net, whose widths are fixed."""

    dropout: float = Field(0.5, ge=0, lt=1, description="Share of channels dropped at the lower levels.")


class AttentionUNet3DOptions(Frozen):
    """Options of the 3D attention U-Net."""

    width: int = Field(16, ge=4, le=256, description="Channels at full resolution; doubled at each level.")
    depth: int = Field(4, ge=1, le=6, description="How often the resolution is halved.")
    flat_levels: int = Field(0, ge=0, le=6, description="First halvings that leave Z as it is, for thick planes.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped after each convolution.")


class SegResNetOptions(Frozen):
    """Options of SegResNet."""

    width: int = Field(
        16, ge=8, le=128, multiple_of=8, description="Channels at full resolution, doubled at each level."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped after the first convolution.")


class DynUNetOptions(Frozen):
    """Options of nnU-Net's network."""

    width: int = Field(32, ge=4, le=256, description="Channels at full resolution; doubled at each level, 320 at most.")
    depth: int = Field(4, ge=2, le=7, description="How often the resolution is halved.")
    flat_levels: int = Field(
        0, ge=0, le=7, description="First levels that neither pool nor convolve along Z, for thick planes."
    )
    residual: bool = Field(False, description="Residual blocks instead of plain ones.")


class SwinUNETROptions(Frozen):
    """Options of SwinUNETR."""

    width: int = Field(24, ge=12, le=96, multiple_of=12, description="Channels of the transformer's first level.")
    window: int = Field(7, ge=2, le=16, description="Side of the windows within which positions attend to each other.")


OPTIONS: dict[str, type[Frozen]] = {
    "unet3d": UNet3DOptions,
    "vnet": VNetOptions,
    "attention-unet3d": AttentionUNet3DOptions,
    "segresnet": SegResNetOptions,
    "dynunet": DynUNetOptions,
    "swinunetr": SwinUNETROptions,
}


class DynUNet(nets.DynUNet):  # type: ignore[misc]
    """nnU-Net's network, run level by level.

    MONAI chains the levels in nested modules that hold every weight a second time; a model file holds it once.
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        del self.skip_layers

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, Z, Y, X) to logits (B, K, Z, Y, X)."""
        skips = [self.input_block(x)]
        for down in self.downsamples:
            skips.append(down(skips[-1]))
        x = self.bottleneck(skips[-1])
        for up in self.upsamples:
            x = up(x, skips.pop())
        logits: Tensor = self.output_block(x)
        return logits


@dataclass(frozen=True)
class Made:
    """A network, what the lengths of its input have to be multiples of, and the stages of its decoder."""

    network: nn.Module
    stride: int | tuple[int, int, int]
    stages: tuple[str, ...] = ()


def build(request: NetworkRequest) -> nn.Module:
    """Build a network for volumes.

    Raises
    ------
    ConfigError
        For an option that doesn't exist, or channels that the network can't take.
    """
    options = validated(OPTIONS[request.name], dict(request.options))
    made: Made = _MAKERS[request.name](request, options)
    network: Any = made.network
    mend(network)
    network.stride = made.stride
    if made.stages:
        network.stages = made.stages
    return made.network


def _unet3d(request: NetworkRequest, options: UNet3DOptions) -> Made:
    factors = (1, 1, 2, 4, 8, 1)
    network = nets.BasicUNet(
        in_channels=request.channels,
        out_channels=request.outputs,
        features=[options.width * factor for factor in factors],
        dropout=options.dropout,
    )
    return Made(network, 16, ("upcat_4", "upcat_3", "upcat_2"))


def _vnet(request: NetworkRequest, options: VNetOptions) -> Made:
    if 16 % request.channels:
        raise ConfigError(
            f"V-Net repeats the image's channels to make 16, which {request.channels} channels don't allow.",
            "Use images with 1, 2, 4, 8 or 16 channels, or another network for volumes, such as dynunet.",
        )
    network = nets.VNet(
        in_channels=request.channels,
        out_channels=request.outputs,
        dropout_prob_down=options.dropout or None,
        dropout_prob_up=(options.dropout or None, options.dropout),
    )
    return Made(network, 16, ("up_tr256", "up_tr128", "up_tr64"))


def _attention_unet(request: NetworkRequest, options: AttentionUNet3DOptions) -> Made:
    strides = _strides(options.depth, options.flat_levels)
    network = nets.AttentionUnet(
        spatial_dims=3,
        in_channels=request.channels,
        out_channels=request.outputs,
        channels=[options.width * 2**level for level in range(options.depth + 1)],
        strides=strides,
        dropout=options.dropout,
    )
    return Made(network, _product(strides))


def _segresnet(request: NetworkRequest, options: SegResNetOptions) -> Made:
    network = nets.SegResNet(
        init_filters=options.width,
        in_channels=request.channels,
        out_channels=request.outputs,
        dropout_prob=options.dropout or None,
    )
    return Made(network, 8, ("up_layers.0", "up_layers.1"))


def _dynunet(request: NetworkRequest, options: DynUNetOptions) -> Made:
    strides = _strides(options.depth, options.flat_levels)
    # A level convolves along Z from where on its pixels have about the same size in all directions.
    kernels = [(1, 3, 3) if level < options.flat_levels else (3, 3, 3) for level in range(options.depth + 1)]
    network = DynUNet(
        spatial_dims=3,
        in_channels=request.channels,
        out_channels=request.outputs,
        kernel_size=kernels,
        strides=[(1, 1, 1), *strides],
        upsample_kernel_size=strides,
        filters=[min(options.width * 2**level, _MOST_WIDTH) for level in range(options.depth + 1)],
        res_block=options.residual,
    )
    return Made(network, _product(strides), tuple(f"upsamples.{level}" for level in range(options.depth - 1)))


def _swinunetr(request: NetworkRequest, options: SwinUNETROptions) -> Made:
    network = nets.SwinUNETR(
        in_channels=request.channels,
        out_channels=request.outputs,
        feature_size=options.width,
        window_size=options.window,
    )
    return Made(network, 32, ("decoder5", "decoder4", "decoder3", "decoder2"))


_MAKERS: dict[str, Any] = {
    "unet3d": _unet3d,
    "vnet": _vnet,
    "attention-unet3d": _attention_unet,
    "segresnet": _segresnet,
    "dynunet": _dynunet,
    "swinunetr": _swinunetr,
}


def _strides(depth: int, flat_levels: int) -> list[tuple[int, int, int]]:
    if flat_levels > depth:
        raise ConfigError(
            f"Only {depth} levels can't have {flat_levels} of them flat.", "Lower model.options.flat_levels."
        )
    return [(1, 2, 2) if level < flat_levels else (2, 2, 2) for level in range(depth)]


def _product(strides: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    z, y, x = (math.prod(along) for along in zip(*strides, strict=True))
    return z, y, x
