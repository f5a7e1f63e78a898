"""Layers of networks for volumes that also work where very little is left of a volume."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SteadyConv3d(nn.Conv3d):
    """A convolution that keeps to float32 on a CPU where a volume is smaller than its kernel.

    There, in bfloat16, oneDNN's gradients of the weights read memory that nobody has written, and become NaN now and
    then (seen with torch 2.13: kernel 3 on two planes, kernel 5 on four). Such volumes cost next to nothing.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        """Map (B, C, Z, Y, X) to (B, K, Z, Y, X)."""
        if not torch.is_grad_enabled() or input.device.type != "cpu":
            return super().forward(input)
        if all(side >= kernel for side, kernel in zip(input.shape[2:], self.kernel_size, strict=True)):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.to(self.weight.dtype))


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalization that also takes a single voxel, which is its own mean: a volume of one cell is legal."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        """Map (B, C, Z, Y, X) to the same shape."""
        if input.shape[2:].numel() > 1:
            return super().forward(input)
        shift = 0.0 if self.bias is None else self.bias.reshape(1, -1, 1, 1, 1)
        return input - input.detach() + shift


_MENDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv3d: SteadyConv3d, nn.InstanceNorm3d: InstanceNorm}


def mend(network: nn.Module) -> None:
    """Exchange the layers of a network, in place, for those above; weights and their names stay the same."""
    for module in network.modules():
        if type(module) in _MENDED:
            module.__class__ = _MENDED[type(module)]
