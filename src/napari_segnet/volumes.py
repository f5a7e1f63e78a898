"""What the presets choose for volumes: a patch, a network and its levels, from size and spacing. Imports no torch.

In the spirit of nnU-Net (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z): a patch covers about the
same length in all directions and is no larger than the volumes; a level pools an axis only when its voxels are about
as fine as those of the others; levels end when few voxels are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

_FEWEST_CELLS = 4
"""Voxels along each axis at the lowest level, at least."""
_FEWEST_LEVELS, _MOST_LEVELS = 2, 5
_FEWEST_PLANES = 8
_LONG_ON_CPU = 10.0
"""Minutes from which on volumes are ahead of planes on a CPU; measured on MRI crops (docs/benchmarks.md)."""
_THICKEST = 3.0
"""Distance of planes, relative to the size of a pixel, from which on planes say little of each other."""


@dataclass(frozen=True)
class StackPrint:
    """What is looked at to decide whether an image is learned as a volume.

    `planes` is the length of its Z axis, 0 without one; `ratio` the distance of planes by the size of a pixel, None
    where the file doesn't tell it.
    """

    planes: int
    ratio: float | None


def axes_for(images: Sequence[StackPrint], gpu: bool, minutes: float | None = None) -> tuple[Literal["YX", "ZYX"], str]:
    """Choose whether images are learned as planes or as volumes, and say why.

    Parameters
    ----------
    images : sequence of StackPrint
    gpu : bool
    minutes : float, optional
        Of learning, where that is limited.

    Returns
    -------
    axes : {"YX", "ZYX"}
    words : str
        Empty where there is nothing to choose: images without a Z axis.
    """
    planes = sorted(image.planes for image in images)
    if planes[-1] < 2:
        return "YX", ""
    if planes[0] < _FEWEST_PLANES:
        return "YX", f"plane by plane: {planes[0]} planes are too few for a network for volumes."
    ratios = [image.ratio for image in images if image.ratio is not None]
    if ratios and max(ratios) > _THICKEST:
        return "YX", f"plane by plane: planes are {max(ratios):.1f} times as far apart as pixels."
    if not gpu and (minutes is None or minutes < _LONG_ON_CPU):
        return "YX", "plane by plane, which learns quickest on a CPU (--network dynunet learns volumes)."
    return "ZYX", "as volumes: there are planes enough, and voxels are about cubes."


def flat_levels(spacing: Sequence[float]) -> int:
    """Return how often a plane has to be halved until its pixels are about as long as planes are apart.

    Parameters
    ----------
    spacing : (sz, sy, sx)
        Any unit.
    """
    ratio = spacing[0] / max(spacing[1], spacing[2])
    return max(0, round(math.log2(ratio))) if ratio > 1 else 0


def patch_shape(shape: Sequence[int], spacing: Sequence[float], voxels: int) -> tuple[int, ...]:
    """Return a patch of about `voxels` voxels, as long in all directions as the volume allows.

    Parameters
    ----------
    shape : (Z, Y, X)
        Of a typical volume, voxels.
    spacing : (sz, sy, sx)
        Any unit.
    voxels : int
    """
    limited: dict[int, int] = {}
    while True:
        free = [axis for axis in range(3) if axis not in limited]
        if not free:
            break
        # Cubes of one physical length along the axes that are long enough, the others whole.
        left = voxels / math.prod(limited.values())
        length = (left * math.prod(spacing[axis] for axis in free)) ** (1 / len(free))
        short = [axis for axis in free if shape[axis] <= length / spacing[axis]]
        if not short:
            limited |= {axis: max(1, round(length / spacing[axis])) for axis in free}
            break
        limited |= {axis: shape[axis] for axis in short}
    return tuple(limited[axis] for axis in range(3))


def levels(patch: Sequence[int], spacing: Sequence[float]) -> tuple[int, int]:
    """Return how often a network halves the resolution, and in how many of the first levels it leaves Z alone."""
    planar = int(math.log2(max(2, min(patch[1:]) / _FEWEST_CELLS)))
    flat = min(flat_levels(spacing), planar)
    deep = int(math.log2(max(1, patch[0] / _FEWEST_CELLS)))
    return max(_FEWEST_LEVELS, min(planar, flat + deep, _MOST_LEVELS)), flat


def rounded(patch: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Round a patch to the nearest lengths that a network takes, at least one stride each."""
    return tuple(max(1, round(side / stride)) * stride for side, stride in zip(patch, strides, strict=True))


def choose_network(patch: Sequence[int], spacing: Sequence[float], width: int) -> dict[str, Any]:
    """Return nnU-Net's network for a patch, as the section ``model`` of a configuration."""
    depth, flat = levels(patch, spacing)
    return {"network": "dynunet", "options": {"width": width, "depth": depth, "flat_levels": min(flat, depth)}}
