"""A copy of a network whose batch normalizations are folded into the convolutions before them.

In evaluation mode a batch normalization is a multiplication and an addition a channel, which a convolution
can do for nothing; run by itself it is one more pass over the largest tensors of the network. Which
convolution feeds which normalization is watched while a small image runs through, and the result is compared
with the original network: where a network does something unforeseen, it is used as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_segnet.models.volume_layers import SteadyConv3d
from napari_segnet.predict.tiles import round_up

_TOLERANCE = 1e-3
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, SteadyConv3d)
_NORMALIZATIONS = (nn.BatchNorm2d, nn.BatchNorm3d)


def fold_normalization(network: nn.Module, channels: int, strides: Sequence[int]) -> nn.Module:
    """Return a copy of a network with folded batch normalizations, or the network itself.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; it is not changed.
    channels : int
        Channels of the image.
    strides : sequence of int
        What the lengths of [Z], Y and X have to be multiples of.

    Returns
    -------
    torch.nn.Module
        Its logits differ from the network's by rounding only.
    """
    pairs = _convolutions_before_normalizations(network, channels, strides)
    if not pairs:
        return network
    folded = copy.deepcopy(network)
    for convolution, normalization in pairs:
        first, second = folded.get_submodule(convolution), folded.get_submodule(normalization)
        assert isinstance(first, _CONVOLUTIONS)
        assert isinstance(second, _NORMALIZATIONS)
        _replace(folded, convolution, fuse_conv_bn_eval(first, second))
        _replace(folded, normalization, nn.Identity())
    sample = _sample(network, channels, strides)
    with torch.inference_mode():
        expected, found = network(sample), folded(sample)
    error = (expected - found).abs().max()
    return folded if error <= _TOLERANCE * expected.abs().max().clamp_min(1) else network


def _convolutions_before_normalizations(
    network: nn.Module, channels: int, strides: Sequence[int]
) -> list[tuple[str, str]]:
    made: dict[int, str] = {}
    runs: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []
    # Tensors stay alive while we watch: a freed one's number would be used again for another.
    alive: list[Any] = []

    def watch(name: str, module: nn.Module) -> Any:
        def after(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs[name] = runs.get(name, 0) + 1
            alive.append((inputs, output))
            if isinstance(module, _CONVOLUTIONS):
                made[id(output)] = name
            elif inputs and id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])], name))

        return module.register_forward_hook(after)

    kinds = (*_CONVOLUTIONS, *_NORMALIZATIONS)
    watched = {name: module for name, module in network.named_modules() if type(module) in kinds}
    if not any(isinstance(module, _NORMALIZATIONS) for module in watched.values()):
        return []
    handles = [watch(name, module) for name, module in watched.items()]
    try:
        with torch.inference_mode():
            network(_sample(network, channels, strides))
    finally:
        for handle in handles:
            handle.remove()
    # A shared layer has several places, and a normalization without statistics looks at the image.
    return [
        pair for pair in pairs if all(runs[name] == 1 for name in pair) and watched[pair[1]].running_mean is not None
    ]


def _sample(network: nn.Module, channels: int, strides: Sequence[int]) -> Tensor:
    device = next(network.parameters()).device
    shape = [2 * round_up(16, stride) for stride in strides]
    generator = torch.Generator().manual_seed(0)
    return torch.randn((1, channels, *shape), generator=generator).to(device)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
