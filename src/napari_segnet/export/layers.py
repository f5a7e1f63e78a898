"""Layers of our networks in forms that exporters can write down for images of any size."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from napari_segnet.models.volume_layers import InstanceNorm, SteadyConv3d

_ALIKE: dict[type[nn.Module], type[nn.Module]] = {InstanceNorm: nn.InstanceNorm3d, SteadyConv3d: nn.Conv3d}
"""Layers that differ from torch's own only where a volume is smaller than any that an exported network is shown."""


class Cells(nn.Module):
    """Means over a grid of so many cells, as `torch.nn.AdaptiveAvgPool2d` computes them, by two matrix products.

    Cell n of K over L pixels goes from floor(n L / K) to ceil((n + 1) L / K). Written as matrices that follow from
    the size of the image, it is the same graph for all sizes.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, Y, X) to (B, C, rows, columns)."""
        rows, columns = _weights(self.rows, x.shape[-2], x), _weights(self.columns, x.shape[-1], x)
        return torch.matmul(torch.matmul(rows, x), columns.T)


def _weights(cells: int, length: int, like: Tensor) -> Tensor:
    """Return a (cells, length) matrix whose rows are means over a cell each."""
    number = torch.arange(cells, device=like.device)[:, None]
    place = torch.arange(length, device=like.device)
    first = torch.div(number * length, cells, rounding_mode="floor")
    last = torch.div((number + 1) * length + cells - 1, cells, rounding_mode="floor")
    inside = ((place >= first) & (place < last)).to(like.dtype)
    return inside / (last - first).to(like.dtype)


def exportable_layers(network: nn.Module) -> nn.Module:
    """Return a copy of a network, in evaluation mode on the CPU, whose layers can be written down for any size."""
    network = copy.deepcopy(network).cpu().float().eval()
    for module in list(network.modules()):
        if type(module) in _ALIKE:
            module.__class__ = _ALIKE[type(module)]
        for name, child in list(module.named_children()):
            if isinstance(child, nn.AdaptiveAvgPool2d):
                grid = _grid(child.output_size)
                if grid is not None and max(grid) > 1:
                    setattr(module, name, Cells(*grid))
    return network


def _grid(size: object) -> tuple[int, int] | None:
    """Return the rows and columns of an adaptive pooling; None where one of them follows the image."""
    both = size if isinstance(size, tuple) else (size, size)
    return (both[0], both[1]) if all(isinstance(n, int) for n in both) else None
