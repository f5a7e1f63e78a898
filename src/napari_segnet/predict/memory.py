"""How much memory a network takes for a tile, estimated before it is asked for.

A CPU gives no error when memory runs out: the system ends the process. So tiles have to fit beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_segnet.predict.tiles import round_up


def bytes_per_pixel(network: nn.Module, channels: int, strides: Sequence[int]) -> float:
    """Return the memory that a network takes for each pixel of its input, in the modes it is called in.

    It is the size of what all layers give, which is about what a U-Net needs at its peak: it drops half of it
    before the end, but the system's allocator doesn't find room for the new in each gap that the old leaves.

    Parameters
    ----------
    network : torch.nn.Module
    channels : int
        Channels of the image.
    strides : sequence of int
        What the lengths of [Z], Y and X have to be multiples of.
    """
    total = 0

    def add(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    layers = [module for module in network.modules() if next(module.children(), None) is None]
    handles = [module.register_forward_hook(add) for module in layers]
    shape = [2 * round_up(16, stride) for stride in strides]
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode():
            network(torch.zeros((1, channels, *shape), device=device))
    finally:
        for handle in handles:
            handle.remove()
    return total / math.prod(shape)
