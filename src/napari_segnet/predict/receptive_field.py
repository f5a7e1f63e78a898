"""How far a network looks: the halo with which tiles give exactly the whole image's answer."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from napari_segnet.predict.tiles import round_up


def receptive_field(
    network: nn.Module, channels: int, strides: Sequence[int], limit: int = 2048
) -> int | tuple[int, ...] | None:
    """Return how many pixels away an input can change an output, rounded up to the stride.

    One cell of a stride's size is made NaN in an otherwise random strip: whatever it reaches becomes
    NaN, however small the weights are. Convolutions, pooling and upsampling keep it near; what looks at the
    whole image (squeeze-and-excitation, attention, group normalization, pyramid pooling) spreads it over all.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (B, C, [Z], Y, X) to (B, K, [Z], Y, X); it is not changed.
    channels : int
        Channels of the image.
    strides : sequence of int
        What the lengths of an image along [Z], Y and X have to be multiples of.
    limit : int
        Beyond it the answer is None.

    Returns
    -------
    int, tuple of int, or None
        For planes the larger of both axes; for volumes a number for each of Z, Y and X. None: unbounded, or beyond
        `limit`.
    """
    # On a CPU: GPU libraries may convolve by Fourier transform, which spreads a NaN further than it belongs.
    network = copy.deepcopy(network).cpu().float().eval()
    found = []
    for axis, stride in enumerate(strides):
        reach = _reach(network, channels, strides, round_up(limit, stride), axis)
        if reach is None or reach > limit:
            return None
        found.append(reach)
    return max(found) if len(found) == 2 else tuple(found)


def _reach(network: nn.Module, channels: int, strides: Sequence[int], room: int, axis: int) -> int | None:
    """Return the reach along one axis in a strip with `room` on both sides; None if it leaves the strip.

    A shorter strip would be quicker, but dilated convolutions can reach beyond it without touching its end.
    """
    stride = strides[axis]
    # One more cell at each end: a NaN there says that there was not room enough.
    shape = [2 * step for step in strides]
    shape[axis] = 2 * room + 3 * stride
    strip = torch.randn([1, channels, *shape], generator=torch.Generator().manual_seed(0))
    cell = [slice(0, step) for step in strides]
    cell[axis] = slice(room + stride, room + 2 * stride)
    strip[(slice(None), slice(None), *cell)] = torch.nan
    with torch.inference_mode():
        logits = network(strip)
    others = tuple(other for other in range(1, logits.ndim) if other != axis + 2)
    reached = torch.isnan(logits).amax(dim=others)[0].nonzero()
    if not len(reached):
        return 0
    first, last = int(reached.min()), int(reached.max())
    if first < stride or last >= shape[axis] - stride:
        return None
    return round_up(max(cell[axis].start - first, last + 1 - cell[axis].stop), stride)
