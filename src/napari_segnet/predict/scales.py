"""Tiles seen at several sizes: averaging over them steadies what depends on the size of objects.

A resized tile shows the same pixels as that part of the resized image only if its start and its sides are whole
numbers of pixels, and multiples of the network's stride, at every size. Scales are quarters, so tiles at multiples
of up to four strides do it: then there are no seams, and one tile or many give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor
from torch.nn import functional as F

_INTERPOLATED = 2
"""Pixels beside a pixel that resizing there and back looks at, at the size of the image or of the resized one."""


def all_scales(asked: Sequence[float]) -> tuple[float, ...]:
    """Return the scales to average over: the image as it is first, each once."""
    return tuple(dict.fromkeys((1.0, *asked)))


def tile_strides(strides: Sequence[int], scales: Sequence[float]) -> tuple[int, ...]:
    """Return what tiles have to be multiples of, so that they are multiples of `strides` at all scales."""
    parts = math.lcm(*(Fraction(scale).denominator for scale in scales))
    return tuple(stride * parts for stride in strides)


def wide_halo(halo: Sequence[int], scales: Sequence[float]) -> tuple[int, ...]:
    """Return the halo, in pixels of the image, that is no smaller than `halo` at any scale."""
    if len(scales) == 1:
        return tuple(halo)
    smallest = min(scales)
    return tuple(math.ceil((border + _INTERPOLATED) / smallest) + _INTERPOLATED for border in halo)


def resize(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Resize a (B, C, [Z], Y, X) tensor linearly; the tensor itself where it has that size already."""
    if tuple(x.shape[2:]) == tuple(shape):
        return x
    mode = "trilinear" if x.ndim == 5 else "bilinear"
    return F.interpolate(x, size=tuple(shape), mode=mode, align_corners=False)
