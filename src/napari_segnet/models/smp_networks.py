"""The networks of segmentation-models-pytorch, each with any encoder that it can use.

A network is one class of options here, with the name of smp's class, and one line in the registry. Defaults are
smp's, which are the papers' where the papers say them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from napari_segnet._torch import import_smp
from napari_segnet.config import Frozen, validated
from napari_segnet.models.encoders import build_on_encoder
from napari_segnet.models.normalization_layers import PooledBatchNorm
from napari_segnet.models.registry import NetworkRequest


class _Smp(Frozen):
    """Options of one of smp's networks; `kind` is its class there.

    `halvings` says how often the decoder halves the resolution of the encoder's last features.
    """

    kind: ClassVar[str]
    halvings: ClassVar[int] = 0

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        raise NotImplementedError

    def stages(self) -> tuple[str, ...]:
        """Return the names of the decoder's stages that deep supervision may judge, coarse to fine."""
        return ()


class UNetOptions(_Smp):
    """Options of networks with a U-Net's decoder."""

    kind: ClassVar[str] = "Unet"
    depth: int = Field(5, ge=3, le=5, description="Levels of the encoder that are used.")
    decoder_width: int = Field(256, ge=16, le=1024, description="Channels of the decoder's first block.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        widths = [max(self.decoder_width // 2**level, 16) for level in range(self.depth)]
        return {"encoder_depth": self.depth, "decoder_channels": widths}

    def stages(self) -> tuple[str, ...]:
        """Return all blocks but the last."""
        return tuple(f"decoder.blocks.{number}" for number in range(self.depth - 1))


class UNetPlusPlusOptions(UNetOptions):
    """Options of U-Net++."""

    kind: ClassVar[str] = "UnetPlusPlus"

    def stages(self) -> tuple[str, ...]:
        """Return the nodes of the finest row, as its paper judges them, from the shallowest U-Net to the deepest."""
        row = self.depth - 2
        return tuple(f"decoder.blocks.x_{node}_{row}" for node in range(row, -1, -1))


class MANetOptions(UNetOptions):
    """Options of MA-Net."""

    kind: ClassVar[str] = "MAnet"
    attention_width: int = Field(64, ge=8, le=512, description="Channels of the position-wise attention.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {**super().keywords(), "decoder_pab_channels": self.attention_width}


class LinkNetOptions(_Smp):
    """Options of LinkNet, whose decoder has the encoder's widths."""

    kind: ClassVar[str] = "Linknet"
    depth: int = Field(5, ge=3, le=5, description="Levels of the encoder that are used.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {"encoder_depth": self.depth}

    def stages(self) -> tuple[str, ...]:
        """Return all blocks but the last."""
        return tuple(f"decoder.blocks.{number}" for number in range(self.depth - 1))


class FPNOptions(_Smp):
    """Options of the feature pyramid network."""

    kind: ClassVar[str] = "FPN"
    decoder_width: int = Field(
        256, ge=64, le=1024, multiple_of=64, description="Channels of the pyramid; half of them after it."
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of channels dropped before the last layer.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {
            "decoder_pyramid_channels": self.decoder_width,
            "decoder_segmentation_channels": self.decoder_width // 2,
            "decoder_dropout": self.dropout,
        }


class PSPNetOptions(_Smp):
    """Options of the pyramid scene parsing network; it sees an eighth of the resolution."""

    kind: ClassVar[str] = "PSPNet"
    decoder_width: int = Field(512, ge=16, le=1024, description="Channels after pyramid pooling.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of channels dropped before the last layer.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {"encoder_depth": 3, "psp_out_channels": self.decoder_width, "psp_dropout": self.dropout}


class PANOptions(_Smp):
    """Options of the pyramid attention network."""

    kind: ClassVar[str] = "PAN"
    halvings: ClassVar[int] = 3
    decoder_width: int = Field(32, ge=8, le=512, description="Channels of the decoder.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {"decoder_channels": self.decoder_width}


class DeepLabV3Options(_Smp):
    """Options of DeepLabv3."""

    kind: ClassVar[str] = "DeepLabV3"
    decoder_width: int = Field(256, ge=16, le=1024, description="Channels of the atrous spatial pyramid.")
    output_stride: int = Field(8, ge=8, le=16, multiple_of=8, description="Resolution of the features, 1/8 or 1/16.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of values dropped after the pyramid.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {
            "decoder_channels": self.decoder_width,
            "encoder_output_stride": self.output_stride,
            "decoder_aspp_dropout": self.dropout,
        }


class DeepLabV3PlusOptions(DeepLabV3Options):
    """Options of DeepLabv3+."""

    kind: ClassVar[str] = "DeepLabV3Plus"
    output_stride: int = Field(16, ge=8, le=16, multiple_of=8, description="Resolution of the features, 1/8 or 1/16.")


class UPerNetOptions(_Smp):
    """Options of UPerNet."""

    kind: ClassVar[str] = "UPerNet"
    decoder_width: int = Field(256, ge=16, le=1024, description="Channels of the decoder.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {"decoder_channels": self.decoder_width}


class SegFormerOptions(_Smp):
    """Options of SegFormer's decoder."""

    kind: ClassVar[str] = "Segformer"
    decoder_width: int = Field(256, ge=16, le=1024, description="Channels of the decoder.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {"decoder_segmentation_channels": self.decoder_width}


class DPTOptions(_Smp):
    """Options of the dense prediction transformer; its encoder is one of timm's plain vision transformers."""

    kind: ClassVar[str] = "DPT"
    halvings: ClassVar[int] = 1
    decoder_width: int = Field(256, ge=16, le=1024, description="Channels of the fusion blocks.")

    def keywords(self) -> dict[str, Any]:
        """Return the arguments for smp's class."""
        return {
            "decoder_fusion_channels": self.decoder_width,
            "decoder_intermediate_channels": [self.decoder_width * factor for factor in (1, 2, 4, 4)],
            # Images of any size: positions are interpolated.
            "dynamic_img_size": True,
        }


OPTIONS: dict[str, type[_Smp]] = {
    "unet": UNetOptions,
    "unetplusplus": UNetPlusPlusOptions,
    "manet": MANetOptions,
    "linknet": LinkNetOptions,
    "fpn": FPNOptions,
    "pspnet": PSPNetOptions,
    "pan": PANOptions,
    "deeplabv3": DeepLabV3Options,
    "deeplabv3plus": DeepLabV3PlusOptions,
    "upernet": UPerNetOptions,
    "segformer": SegFormerOptions,
    "dpt": DPTOptions,
}


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

    def make(encoder: str, weights: str | None) -> nn.Module:
        made: nn.Module = getattr(import_smp(), options.kind)(
            encoder,
            encoder_weights=weights,
            in_channels=request.channels,
            classes=request.outputs,
            **options.keywords(),
        )
        return made

    network = build_on_encoder(request, make)
    _accept_single_images(network)
    network.stride = network.encoder.output_stride * 2**options.halvings  # type: ignore[union-attr]
    if stages := options.stages():
        network.stages = stages  # type: ignore[assignment]
    return network


def _accept_single_images(network: nn.Module) -> None:
    """Let a batch of one image pass where a decoder pools it to a single value a channel."""
    parents = [m for m in network.modules() if isinstance(m, nn.Sequential) and len(m) > 1]
    pooling = [m for m in parents if isinstance(m[0], nn.AdaptiveAvgPool2d) and m[0].output_size in (1, (1, 1))]
    # PAN's attention pools small patches to a single pixel, too.
    attention = [m for name, m in network.named_modules() if name == "decoder.fpa"]
    for norm in {norm for m in (*pooling, *attention) for norm in m.modules() if type(norm) is nn.BatchNorm2d}:
        norm.__class__ = PooledBatchNorm
