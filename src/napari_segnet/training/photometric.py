"""Random changes of intensities, each patch in its own way; images are about -1 .. 1 a channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.config import AugmentConfig
from napari_segnet.training.clahe import equalize
from napari_segnet.training.draws import Draws
from napari_segnet.training.geometric import stretch

_CLIP_LIMIT = 4.0
"""Largest contrast of a local equalization."""
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Brightness and the two opponent colours of red, green, blue (NTSC 1953)."""


def change_intensities(
    images: Tensor, config: AugmentConfig, draws: Draws, spacing: Sequence[float] | None = None
) -> Tensor:
    """Change the intensities of patches.

    In this order: local equalization, gamma, contrast, brightness, hue and saturation, order of the channels,
    resolution, blur, noise. What is turned off draws nothing from the generator.

    Parameters
    ----------
    images : (B, C, [Z], Y, X) float32
        Normalized patches.
    config : AugmentConfig
    draws : Draws
    spacing : sequence of float, optional
        Relative spacing along [Z], Y, X, 1 for the finest axis; blur and loss of resolution are the same in physical
        space along all axes.

    Returns
    -------
    (B, C, [Z], Y, X) float32
    """
    space = tuple(range(2, images.ndim))
    steps = spacing or (1.0,) * len(space)

    def draw(low: float, high: float) -> Tensor:
        return draws.sometimes(low, high).to(images.device).reshape(-1, *[1] * (images.ndim - 1))

    if config.clahe > 0:
        images = _equalize(images, config, draws)
    if config.gamma > 0:
        gamma = draw(-config.gamma, config.gamma).exp()
        inside = images.clamp(-1, 1)
        # Only what lies between the limits has a gamma; the rest is kept as it is.
        mapped = inside.add(1).mul_(0.5).clamp_min_(1e-6).pow_(gamma).mul_(2).sub_(1)
        images = images - inside + mapped
    if config.contrast > 0:
        mean = images.mean(dim=space, keepdim=True)
        images = (images - mean) * draw(-config.contrast, config.contrast).add(1) + mean
    if config.brightness > 0:
        images = images + 2 * draw(-config.brightness, config.brightness)
    if (config.hue > 0 or config.saturation > 0) and images.shape[1] == 3:
        images = _recolour(images, config, draws)
    if config.channel_shuffle > 0 and images.shape[1] > 1:
        images = _shuffle_channels(images, config, draws)
    if config.low_resolution > 0:
        images = _lower_resolution(images, draws.sometimes(0, config.low_resolution), steps)
    if config.blur > 0:
        images = _blur(images, draw(0, config.blur).flatten(), config.blur, steps)
    if config.noise > 0:
        noise = torch.randn(images.shape, generator=draws.generator).to(images.device)
        images = torch.addcmul(images, noise, 2 * draw(0, config.noise))
    return images


def _equalize(images: Tensor, config: AugmentConfig, draws: Draws) -> Tensor:
    limit = draws.uniform(1, _CLIP_LIMIT)
    chosen = draws.chosen(config.clahe).nonzero()[:, 0]
    if not len(chosen):
        return images
    changed = images.clone()
    changed[chosen.to(images.device)] = equalize(images[chosen.to(images.device)], limit[chosen])
    return changed


def _recolour(images: Tensor, config: AugmentConfig, draws: Draws) -> Tensor:
    """Turn and stretch the plane of the two opponent colours; grey stays grey, and brightness the same.

    Images are normalized channel by channel, so that there is no absolute red, green and blue to reckon hue and
    saturation as HSV does. A linear turn in YIQ needs none: only that equal channels are grey.
    """
    turn = torch.deg2rad(draws.sometimes(-config.hue, config.hue))
    stretched = draws.sometimes(-config.saturation, config.saturation).add(1)
    cos, sin = turn.cos() * stretched, turn.sin() * stretched
    colours = torch.zeros(draws.patches, 3, 3)
    colours[:, 0, 0] = 1
    colours[:, 1, 1], colours[:, 1, 2] = cos, -sin
    colours[:, 2, 1], colours[:, 2, 2] = sin, cos
    yiq = torch.tensor(_YIQ)
    matrix = (yiq.inverse() @ colours @ yiq).to(images.device)
    matrix = matrix.reshape(*matrix.shape, *[1] * (images.ndim - 2))
    # Not a product of matrices: some GPUs would round the images.
    return matrix[:, :, 0] * images[:, :1] + matrix[:, :, 1] * images[:, 1:2] + matrix[:, :, 2] * images[:, 2:]


def _shuffle_channels(images: Tensor, config: AugmentConfig, draws: Draws) -> Tensor:
    channels = images.shape[1]
    order = draws.rand(channels).argsort(dim=1)
    order = torch.where(draws.chosen(config.channel_shuffle)[:, None], order, torch.arange(channels))
    return images[torch.arange(len(images))[:, None].to(images.device), order.to(images.device)]


def _lower_resolution(images: Tensor, loss: Tensor, spacing: Sequence[float]) -> Tensor:
    """Show patches as a coarser camera would: fewer pixels, interpolated again, as nnU-Net does.

    An axis that is coarse already loses less, or nothing.
    """
    shown = []
    for image, lost in zip(images[:, None], loss.tolist(), strict=True):
        sides = [
            max(1, round(side * min(1.0, (1 - lost) * step)))
            for side, step in zip(image.shape[2:], spacing, strict=True)
        ]
        if sides == list(image.shape[2:]):
            shown.append(image)
        else:
            few = F.interpolate(image, size=sides, mode="nearest-exact")
            shown.append(stretch(few, image.shape[2:], "bicubic", align_corners=False))
    return torch.cat(shown)


def _blur(images: Tensor, sigma: Tensor, largest: float, spacing: Sequence[float]) -> Tensor:
    """Blur each patch with its own Gaussian, as one grouped convolution a direction."""
    batch, channels, *sides = images.shape
    axes = range(len(sides))
    radii = [min(math.ceil(3 * largest / step), side - 1) for side, step in zip(sides, spacing, strict=True)]
    flat = images.reshape(1, batch * channels, *sides)
    flat = F.pad(flat, [radius for radius in reversed(radii) for _ in "ab"], mode="reflect")
    convolve = F.conv2d if len(sides) == 2 else F.conv3d
    for axis, radius in enumerate(radii):
        if radius == 0:
            continue
        offsets = torch.arange(-radius, radius + 1, device=images.device)
        kernel = torch.exp(-(offsets**2) / (2 * (sigma[:, None] / spacing[axis]).clamp_min(0.05) ** 2))
        kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, 0)
        flat = convolve(
            flat, kernel.reshape(-1, 1, *[2 * radius + 1 if i == axis else 1 for i in axes]), groups=batch * channels
        )
    return flat.reshape(images.shape)
