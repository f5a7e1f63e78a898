"""Networks by name, built on request.

A new network is one file with a function ``build(request) -> torch.nn.Module`` and one entry in `catalogue`; the
command line, the viewer and the docs list the entries. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_segnet.axes import per_axis
from napari_segnet.config import NormName
from napari_segnet.errors import ConfigError, unknown_name
from napari_segnet.models.catalogue import NETWORKS, NetworkSpec

if TYPE_CHECKING:
    from torch import nn

Options = Mapping[str, int | float | bool | str]


@dataclass(frozen=True)
class NetworkRequest:
    """What a factory is asked for: input channels, output channels, and the network's own options.

    `weights` is ``"imagenet"``, ``"none"``, or a file of encoder weights (safetensors).
    """

    name: str
    channels: int
    outputs: int
    encoder: str | None = None
    weights: str = "none"
    options: Options = field(default_factory=dict)


def strides_of(network: nn.Module, ndim: int) -> tuple[int, ...]:
    """Return what the lengths of [Z], Y and X have to be multiples of, from a network's attribute ``stride``."""
    stride: Any = network.stride
    return per_axis(stride, ndim)


def network_spec(name: str) -> NetworkSpec:
    """Return the entry called `name` (capitals don't matter); raises `ConfigError` with near names."""
    try:
        return NETWORKS[name.lower()]
    except KeyError:
        raise unknown_name("network", name, NETWORKS) from None


def build_network(
    name: str,
    *,
    channels: int,
    outputs: int,
    encoder: str | None = None,
    weights: str = "none",
    options: Options | None = None,
    norm: NormName | None = None,
) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    name : str
        A name in `NETWORKS`.
    channels, outputs : int
        Channels of the image, and of the logits.
    encoder : str, optional
        Only for networks whose encoder can be chosen.
    weights : str
        ``"imagenet"``, ``"none"``, or a safetensors file of encoder weights.
    options : mapping, optional
        The network's own options.
    norm : {"batch", "group", "instance"}, optional
        Normalization layers instead of the network's own.

    Returns
    -------
    torch.nn.Module
        Maps (B, channels, [Z], Y, X) to logits (B, outputs, [Z], Y, X). The lengths have to be multiples of its
        ``stride`` attribute: one for all axes, or one for each.

    Raises
    ------
    ConfigError
        For an unknown name, encoder or option, or a combination that can't be.
    """
    spec = network_spec(name)
    if encoder and not spec.encoders:
        raise ConfigError(
            f"The network {spec.name!r} has no encoder to choose, but {encoder!r} was asked for.",
            "Use --network unet, or leave --encoder out.",
        )
    if weights != "none" and not spec.encoders:
        raise ConfigError(
            f"{weights!r} is no model that can be fine-tuned, and the network {spec.name!r} has no encoder for it.",
            "Name a model file of napari-segnet, or use --network unet.",
        )
    request = NetworkRequest(spec.name, channels, outputs, encoder, weights, dict(options or {}))
    network: nn.Module = spec.load().build(request)
    if norm is not None:
        from napari_segnet.models.normalization_layers import replace_norms

        replace_norms(network, norm)
    return network
