"""How large a network is, and how much it computes, without memory for its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_segnet.models.registry import Options, build_network, network_spec, strides_of
from napari_segnet.predict.tiles import round_up

SIDES = {2: 256, 3: 64}
"""Side of the image that work is counted on, pixels, by the number of its axes."""
CHANNELS = {2: 3, 3: 1}
"""Channels of that image: colour photographs, and volumes of one channel."""


@dataclass(frozen=True)
class Size:
    """Size and work of a network.

    Attributes
    ----------
    parameters : int
        Learned numbers: weights and biases, without the running statistics of batch normalization.
    work : int
        Multiply-adds of convolutions, matrix products and attention for one image; half of what others call FLOPs.
        Normalization, activations, pooling and interpolation are not counted.
    shape : tuple of int
        Of that image, [Z], Y, X.
    channels, outputs : int
        Of the image, and of the logits.
    """

    parameters: int
    work: int
    shape: tuple[int, ...]
    channels: int
    outputs: int


def measure(
    name: str,
    *,
    channels: int | None = None,
    outputs: int = 2,
    encoder: str | None = None,
    options: Options | None = None,
    side: int | None = None,
) -> Size:
    """Count a network's parameters and its work on one image.

    Parameters
    ----------
    name : str
        A name in `NETWORKS`.
    channels, outputs : int
        Channels of the image (default: 3, of volumes 1) and of the logits.
    encoder, options
        As for `build_network`.
    side : int, optional
        Side of the image, pixels (default: 256, of volumes 64), rounded up to what the network takes.

    Raises
    ------
    ConfigError
        For an unknown name, encoder or option.
    """
    ndim = len(network_spec(name).axes)
    channels = channels or CHANNELS[ndim]
    network = on_meta(name, channels, outputs, encoder, options).eval()
    shape = tuple(round_up(side or SIDES[ndim], stride) for stride in strides_of(network, ndim))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, channels, *shape, device="meta"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    # The counter takes a multiplication and an addition for two.
    return Size(parameters, counter.get_total_flops() // 2, shape, channels, outputs)


def on_meta(
    name: str, channels: int, outputs: int, encoder: str | None = None, options: Options | None = None
) -> nn.Module:
    """Build a network whose weights take no memory; parameters as in `build_network`."""
    try:
        with torch.device("meta"):
            return build_network(name, channels=channels, outputs=outputs, encoder=encoder, options=options)
    except RuntimeError:
        # Some transformers compute with numbers of theirs while they are built.
        network = build_network(name, channels=channels, outputs=outputs, encoder=encoder, options=options)
        return network.to("meta")
