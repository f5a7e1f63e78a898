"""Where the pixels of augmented patches come from: every geometric change composed into one resampling a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.config import AugmentConfig, Flip
from napari_segnet.training.draws import Draws

_ROOM = 1.3
"""Side of a window by that of its patch, where patches are turned or bent."""
_FLAT = 3.0
"""Volumes that are flatter than this are changed in their planes only, as nnU-Net does."""
_CELLS = 4
"""Cells of the grid of displacements, along the longest side of a patch."""
_FOLDS = 0.4
"""Share of a cell by which its corners may move: at half a cell two of them could meet."""


@overload
def window_size(patch: int, config: AugmentConfig) -> int: ...


@overload
def window_size(
    patch: tuple[int, ...], config: AugmentConfig, spacing: Sequence[float] | None = None
) -> tuple[int, ...]: ...


@overload
def window_size(
    patch: int | tuple[int, ...], config: AugmentConfig, spacing: Sequence[float] | None = None
) -> int | tuple[int, ...]: ...


def window_size(
    patch: int | tuple[int, ...], config: AugmentConfig, spacing: Sequence[float] | None = None
) -> int | tuple[int, ...]:
    """Return the size of the window to read, so that a changed patch finds most of its pixels inside.

    Parameters
    ----------
    patch : int or tuple of int
        Side of a square patch, or the sides ([Z], Y, X), pixels.
    config : AugmentConfig
    spacing : sequence of float, optional
        Distance of pixels along each axis, in any unit; default: the same along all.

    Returns
    -------
    int or tuple of int
        As `patch`; a side is longer than the patch's by an even number, so that the middle stays the middle.
    """
    if isinstance(patch, int):
        return window_size((patch, patch), config)[0]
    steps = relative_spacing(spacing, len(patch))
    if is_planar(patch, steps):
        return (patch[0], *window_size(patch[1:], config, steps[1:]))
    changes = (config.rotation, config.scale, config.shear, config.elastic, config.perspective, config.piecewise)
    if not any(changes):
        return patch
    turned = math.sin(math.radians(min(config.rotation, 90.0)))
    window = []
    for axis, (side, step) in enumerate(zip(patch, steps, strict=True)):
        others = [i for plane in _planes(steps) if axis in plane for i in plane]
        longest = max((patch[i] * steps[i] for i in others), default=side * step)
        # What is turned towards a short side has to be read there too.
        needed = side * _ROOM + turned * max(0.0, longest / step - side)
        window.append(side + 2 * math.ceil((needed - side) / 2))
    return tuple(window)


def relative_spacing(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...]:
    """Return the spacing of each axis by the finest one's; 1 everywhere where it isn't known."""
    if spacing is None:
        return (1.0,) * axes
    if len(spacing) != axes or min(spacing) <= 0:
        raise ValueError(f"spacing {tuple(spacing)} doesn't fit patches with {axes} axes")
    finest = min(spacing)
    return tuple(float(step / finest) for step in spacing)


def is_planar(patch: Sequence[int], spacing: Sequence[float]) -> bool:
    """Say whether patches of a volume are changed in their planes only.

    So it is where planes are more than three times as far apart as pixels, or where patches have less than a third
    as many planes as rows or columns: turned out of its plane, such a patch would consist of what isn't there.
    nnU-Net (Isensee et al. 2021) decides by the patch alone, whose sides follow the spacing there.
    """
    if len(patch) < 3:
        return False
    return spacing[0] > _FLAT * min(spacing[1:]) or max(patch[1:]) > _FLAT * patch[0]


def resample(
    values: Tensor,
    targets: Tensor,
    patch: tuple[int, ...],
    spacing: Sequence[float],
    config: AugmentConfig,
    draws: Draws,
) -> tuple[Tensor, Tensor]:
    """Cut patches out of windows, each moved in its own way.

    Parameters
    ----------
    values : (B, V, [Z], Y, X) float32
        Windows of what is interpolated linearly.
    targets : (B, [Z], Y, X) uint8
        Windows of what is taken from the nearest pixel.
    patch : tuple of int
        Sides of the patches, pixels, at most those of the windows.
    spacing : sequence of float
        From `relative_spacing`. Rotation, shear and bends act in physical space.
    config : AugmentConfig
    draws : Draws

    Returns
    -------
    values : (B, V, patch) float32
    targets : (B, patch) uint8
        Both mirrored beyond the window.
    """
    if not is_planar(patch, spacing):
        grid = _grid(values.shape[2:], patch, spacing, config, draws, values.device)
        moved, labels = _sample(values, targets[:, None], grid)
        return moved, labels[:, 0]
    # All planes of a volume move alike: they are channels of one picture, and resampling is many times faster.
    first = (values.shape[2] - patch[0]) // 2
    planes = slice(first, first + patch[0])
    grid = _grid(values.shape[3:], patch[1:], spacing[1:], config, draws, values.device)
    moved, labels = _sample(values[:, :, planes].flatten(1, 2), targets[:, planes], grid)
    moved = moved.reshape(*values.shape[:2], *patch)
    if config.flip is True:
        upside_down = draws.whole(2).bool()[:, 0].to(values.device)
        labels = torch.where(upside_down.reshape(-1, 1, 1, 1), labels.flip(1), labels)
        moved = torch.where(upside_down.reshape(-1, 1, 1, 1, 1), moved.flip(2), moved)
    return moved, labels


def _sample(values: Tensor, targets: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Sample values (B, V, ...) linearly and targets (B, L, ...) at the nearest pixel."""
    device = values.device
    if device.type == "mps" and grid.ndim == 5:
        values, targets, grid = values.cpu(), targets.cpu(), grid.cpu()  # Metal can't take the nearest of 3D
    moved = F.grid_sample(values, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labels = F.grid_sample(targets.float(), grid, mode="nearest", padding_mode="reflection", align_corners=False)
    return moved.to(device), labels.to(device, torch.uint8)


def _grid(
    window: Sequence[int],
    patch: Sequence[int],
    spacing: Sequence[float],
    config: AugmentConfig,
    draws: Draws,
    device: torch.device,
) -> Tensor:
    """Return sampling positions (B, patch, axes) in the coordinates of `grid_sample`, which count X first.

    A pixel of the patch is projected, then turned, sheared and scaled, then displaced by the bends.
    """
    matrix = _matrix(patch[::-1], spacing[::-1], config, draws)
    bends = []
    if config.elastic > 0:
        bends.append(stretch(_bends(patch, spacing, config, draws).to(device), patch, "bicubic", align_corners=True))
    tilt = _tilt(len(patch), config, draws) if config.perspective > 0 else None
    if config.piecewise > 0:
        bends.append(stretch(_pieces(patch, spacing, config, draws).to(device), patch, "bilinear", align_corners=True))
    axes = range(len(patch))
    sides, steps, sizes = patch[::-1], spacing[::-1], window[::-1]
    # Positions along each axis from the middle, in units of the finest axis; X has the last place.
    lines = [
        ((torch.arange(sides[j], device=device) - (sides[j] - 1) / 2) * steps[j]).reshape(-1, *[1] * j) for j in axes
    ]

    def along(factors: Tensor) -> Tensor:
        """Return the sum of factor x position over the axes: (B, patch)."""
        each = factors.to(device).reshape(len(factors), -1, *[1] * len(patch))
        return sum((each[:, j] * lines[j] for j in axes), start=torch.zeros((), device=device))

    far = None if tilt is None else 1 + along(tilt * 2 / torch.tensor([sides[j] * steps[j] for j in axes]))
    positions = []
    for i in axes:
        position = along(matrix[:, i])
        if far is not None:
            position = position / far
        for bend in bends:
            position = position + bend[:, i]
        positions.append(position * (2 / (steps[i] * sizes[i])))
    return torch.stack(positions, -1)


def _planes(spacing: Sequence[float]) -> list[tuple[int, int]]:
    """Return the planes in which may be turned: their axes have about the same spacing."""
    axes = range(len(spacing))
    return [(i, j) for i in axes for j in axes[i + 1 :] if 1 / _FLAT <= spacing[i] / spacing[j] <= _FLAT]


def _matrix(patch: Sequence[int], spacing: Sequence[float], config: AugmentConfig, draws: Draws) -> Tensor:
    """Return the linear part (B, axes, axes) of where patches come from; X is the first axis."""
    planes = _planes(spacing)
    angles = [torch.deg2rad(draws.sometimes(-config.rotation, config.rotation)) for _ in planes]
    zoom = draws.sometimes(-config.scale, config.scale).add(1)
    shears = [torch.deg2rad(draws.sometimes(-config.shear, config.shear)) for _ in planes]
    matrix = torch.eye(len(patch)).repeat(draws.patches, 1, 1)
    for plane, angle in zip(planes, angles, strict=True):
        matrix = matrix @ _rotation(len(patch), plane, angle.cos(), angle.sin())
    if config.quarter_turns:
        for plane in planes:
            matrix = matrix @ _quarter_turn(plane, patch, spacing, draws)
    for (i, j), shear in zip(planes, shears, strict=True):
        slope = torch.eye(len(patch)).repeat(draws.patches, 1, 1)
        slope[:, i, j] = shear.tan()
        matrix = matrix @ slope
    if config.flip:
        signs = draws.whole(2, len(patch)) * 2 - 1
        matrix = matrix * signs.where(_mirrored(config.flip, len(patch)), 1)[:, None]
    return matrix * zoom[:, None, None]


def _mirrored(flip: Flip, axes: int) -> Tensor:
    """Return along which axes patches are mirrored: (axes,) bool, X first."""
    only = {"left-right": 0, "up-down": 1}
    return torch.tensor([flip is True or only.get(str(flip)) == axis for axis in range(axes)])


def _rotation(axes: int, plane: tuple[int, int], cos: Tensor, sin: Tensor) -> Tensor:
    i, j = plane
    turn = torch.eye(axes).repeat(len(cos), 1, 1)
    turn[:, i, i], turn[:, i, j] = cos, -sin
    turn[:, j, i], turn[:, j, j] = sin, cos
    return turn


def _quarter_turn(plane: tuple[int, int], patch: Sequence[int], spacing: Sequence[float], draws: Draws) -> Tensor:
    """Return random quarter turns in a plane, half turns where a quarter turn would need other sides."""
    i, j = plane
    square = patch[i] == patch[j] and math.isclose(spacing[i], spacing[j], rel_tol=0.01)
    turns = draws.whole(4)[:, 0] if square else draws.whole(2)[:, 0] * 2
    # Whole numbers: cos(90 degrees) of floats isn't zero.
    return _rotation(len(patch), plane, torch.tensor([1.0, 0, -1, 0])[turns], torch.tensor([0.0, 1, 0, -1])[turns])


def _bends(patch: Sequence[int], spacing: Sequence[float], config: AugmentConfig, draws: Draws) -> Tensor:
    """Return displacements along X, Y[, Z] at the knots of a grid: (B, axes, knots), cubic in between."""
    size = draws.sometimes(0, config.elastic)
    knots = draws.normal(len(patch), *_knots(patch, spacing))
    return knots * size.reshape(-1, *[1] * (knots.ndim - 1))


def _pieces(patch: Sequence[int], spacing: Sequence[float], config: AugmentConfig, draws: Draws) -> Tensor:
    """Return displacements at the knots of a grid, linear in between, that turn no cell inside out."""
    size = draws.sometimes(0, config.piecewise)
    counts = _knots(patch, spacing)
    knots = draws.normal(len(patch), *counts) * size.reshape(-1, *[1] * (len(patch) + 1))
    for axis in range(len(patch)):
        most = _FOLDS * patch[-1 - axis] * spacing[-1 - axis] / (counts[-1 - axis] - 1)
        knots[:, axis].clamp_(-most, most)
    return knots


def _tilt(axes: int, config: AugmentConfig, draws: Draws) -> Tensor:
    """Return how patches are tilted: (B, axes), X first.

    A point p, -1 .. 1 along each axis, is seen at p / (1 + tilt . p). The tilt's entries sum up to at most
    s / (1 + s), so that no corner moves by more than the share s of its distance from the middle.
    """
    size = draws.sometimes(0, config.perspective / (1 + config.perspective))
    return (draws.rand(axes) * 2 - 1) / axes * size[:, None]


def _knots(patch: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """Return the number of knots along each axis: cells are about cubes in physical space."""
    extents = [side * step for side, step in zip(patch, spacing, strict=True)]
    return tuple(1 + max(1, round(_CELLS * extent / max(extents))) for extent in extents)


def stretch(values: Tensor, sizes: Sequence[int], mode: str, *, align_corners: bool) -> Tensor:
    """Interpolate values (B, C, ...) to other sizes along the axes behind the first two.

    As `torch.nn.functional.interpolate` with the mode ``"bilinear"`` or ``"bicubic"``, but in any number of
    dimensions, and faster from few knots: one small matrix an axis.
    """
    for axis, size in enumerate(sizes, start=2):
        length = values.shape[axis]
        one = torch.eye(length, device=values.device)[None, None]
        weights = F.interpolate(one, size=(size, length), mode=mode, align_corners=align_corners)[0, 0]
        values = (values.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return values
