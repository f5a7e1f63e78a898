"""How far a network looks: the halo with which tiles give exactly the whole image's answer."""

from __future__ import annotations

import copy

import torch
from torch import nn

from napari_segnet.predict.tiles import round_up


def receptive_field(network: nn.Module, channels: int, stride: int, limit: int = 2048) -> int | None:
    """Return how many pixels away an input can change an output, rounded up to the stride.

    One cell of stride x stride pixels is made NaN in an otherwise random strip: whatever it reaches becomes
    NaN, however small the weights are. Convolutions, pooling and upsampling keep it near; what looks at the
    whole image (squeeze-and-excitation, attention, group normalization, pyramid pooling) spreads it over all.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (B, C, Y, X) to (B, K, Y, X); it is not changed.
    channels : int
        Channels of the image.
    stride : int
        What the sides of an image have to be multiples of.
    limit : int
        Beyond it the answer is None.

    Returns
    -------
    int or None
        None: unbounded, or beyond `limit`.
    """
    # On a CPU: GPU libraries may convolve by Fourier transform, which spreads a NaN further than it belongs.
    network = copy.deepcopy(network).cpu().float().eval()
    reaches = [_reach(network, channels, stride, round_up(limit, stride), axis) for axis in (2, 3)]
    found = [reach for reach in reaches if reach is not None and reach <= limit]
    return max(found) if len(found) == len(reaches) else None


def _reach(network: nn.Module, channels: int, stride: int, room: int, axis: int) -> int | None:
    """Return the reach along one axis in a strip with `room` on both sides; None if it leaves the strip.

    A shorter strip would be quicker, but dilated convolutions can reach beyond it without touching its end.
    """
    # One more cell at each end: a NaN there says that there was not room enough.
    shape = [1, channels, 2 * stride, 2 * stride]
    shape[axis] = 2 * room + 3 * stride
    strip = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    cell = slice(room + stride, room + 2 * stride)
    strip.narrow(axis, cell.start, stride)[:, :, :stride, :stride] = torch.nan
    with torch.inference_mode():
        logits = network(strip)
    reached = torch.isnan(logits).any(dim=1).any(dim=4 - axis)[0].nonzero().flatten()
    if not len(reached):
        return 0
    first, last = int(reached.min()), int(reached.max())
    if first < stride or last >= shape[axis] - stride:
        return None
    return round_up(max(cell.start - first, last + 1 - cell.stop), stride)
