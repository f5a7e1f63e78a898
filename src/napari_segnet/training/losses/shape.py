"""Losses that look at the shape of a region: the length of its outline, and its centre lines."""

from __future__ import annotations

from functools import reduce

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.training.losses.base import ClasswiseLoss, Comparison
from napari_segnet.training.losses.region import Dice

_FLAT = 1e-8
"""Added below the root of a squared slope: its own slope stays finite where a map is flat."""


class ActiveContour(ClasswiseLoss):
    """Length of the outline plus `region` times the error inside and outside of it, means over the pixels.

    After Chen et al. (2019), "Learning Active Contour Models for Medical Image Segmentation" (CVPR, pages
    11632-11640), with the inside at 1 and the outside at 0. Differences: means, as in the authors' code, where the
    paper writes sums; slopes along both axes are taken at the same pixel; volumes have a third; the length of a flat
    map is zero. A pixel takes part in the length where it and its next neighbours are annotated. A short outline is
    preferred to the true one where `region` is small.
    """

    region: float = Field(1.0, gt=0, le=1e6, description="Weight of the region beside the length (lambda).")

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the loss of each class."""
        p, g = seen.probabilities, seen.truth
        known = seen.known.expand_as(p)
        wrong = p * (1 - g) ** 2 + (1 - p) * g**2
        region = (wrong * known).sum(dim=seen.pixels) / known.sum(dim=seen.pixels).clamp_min(1)
        steepness, valid = _steepness(p, known)
        length = (steepness * valid).sum(dim=seen.pixels) / valid.sum(dim=seen.pixels).clamp_min(1)
        return length + self.region * region


def _steepness(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the length of the gradient of maps (B, K, [Z], Y, X) by forward differences, and where it is known.

    Both lack the last pixel of each axis, which has no next neighbour; an axis of one pixel has no slope.
    """
    axes = [axis for axis in range(2, values.ndim) if values.shape[axis] > 1]

    def inner(tensor: Tensor, moved: int | None = None) -> Tensor:
        for axis in axes:
            tensor = tensor.narrow(axis, int(axis == moved), tensor.shape[axis] - 1)
        return tensor

    here, valid = inner(values), inner(known)
    squared = torch.zeros_like(here)
    for axis in axes:
        squared = squared + (inner(values, axis) - here) ** 2
        valid = valid & inner(known, axis)
    return (squared + _FLAT).sqrt() - _FLAT**0.5, valid


class CenterlineDice(ClasswiseLoss):
    """Dice loss and one minus clDice, which asks that the centre lines of one lie inside the other: nothing is cut.

    After Shit et al. (2021), https://arxiv.org/abs/2003.07311, (1 - alpha) (1 - Dice) + alpha (1 - clDice), with a
    soft skeleton of `iterations` erosions: as many as the radius of the thickest vessel. Class 0 is left out: the
    centre lines of a background mean nothing. Where nothing is annotated both are taken to be empty; the loss is for
    whole annotation, because strokes are lines already.
    """

    background: bool = Field(
        False, description="Whether class 0 counts as the others do; false: it is background and left out."
    )
    alpha: float = Field(0.5, ge=0, le=1, description="Weight of clDice; the rest is that of Dice.")
    iterations: int = Field(3, ge=1, le=100, description="Erosions; the radius of the thickest thing, in pixels.")
    smooth: float = Field(1.0, gt=0, le=1e6, description="Pixels added above and below each fraction.")

    def of_classes(self, seen: Comparison) -> Tensor:
        """Return the loss of each class."""
        first = 0 if self.background or seen.multilabel else 1
        p, g = seen.probabilities[:, first:], seen.truth[:, first:]
        precision = self._inside(soft_skeleton(p, self.iterations), g, seen.pixels)
        sensitivity = self._inside(soft_skeleton(g, self.iterations), p, seen.pixels)
        centre = F.pad(2 * precision * sensitivity / (precision + sensitivity), (first, 0))
        dice = Dice(smooth=self.smooth).score(seen)
        return (1 - self.alpha) * (1 - dice) + self.alpha * (1 - centre)

    def _inside(self, lines: Tensor, region: Tensor, pixels: tuple[int, ...]) -> Tensor:
        """Return the part of the lines that is inside of a region: (K,)."""
        inside = (lines * region).sum(dim=pixels)
        return (inside + self.smooth) / (lines.sum(dim=pixels) + self.smooth)


def soft_skeleton(maps: Tensor, iterations: int) -> Tensor:
    """Return the centre lines of maps (B, K, [Z], Y, X) between 0 and 1: what each erosion leaves and opening loses."""
    lines = torch.zeros_like(maps)
    for _ in range(iterations + 1):
        eroded = _erode(maps)
        rest = F.relu(maps - _dilate(eroded))
        lines = lines + F.relu(rest - lines * rest)
        maps = eroded
    return lines


def _erode(maps: Tensor) -> Tensor:
    """Take the least of a pixel and its neighbours along each axis (a cross)."""
    axes = range(maps.ndim - 2)
    return reduce(torch.minimum, (-_max_pool(-maps, [3 if axis == a else 1 for a in axes]) for axis in axes))


def _dilate(maps: Tensor) -> Tensor:
    """Take the largest of a pixel and all its neighbours (a square, a cube)."""
    return _max_pool(maps, [3] * (maps.ndim - 2))


def _max_pool(maps: Tensor, size: list[int]) -> Tensor:
    pool = F.max_pool2d if maps.ndim == 4 else F.max_pool3d
    result: Tensor = pool(maps, size, stride=1, padding=[s // 2 for s in size])
    return result
