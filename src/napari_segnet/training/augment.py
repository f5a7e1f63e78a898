"""Random changes of training patches: every geometric change in one resampling a batch, on the training device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_segnet.config import AugmentConfig

_ELASTIC_KNOTS = 5
_BLUR_RADIUS = 3


def window_size(patch: int, config: AugmentConfig) -> int:
    """Return the side of the window to read, so that a changed patch finds most of its pixels inside."""
    bends = config.rotation > 0 or config.scale > 0 or config.shear > 0 or config.elastic > 0
    return 2 * math.ceil(patch * (1.3 if bends else 1.0) / 2)


@dataclass(frozen=True)
class Patches:
    """Augmented patches.

    `images` (B, C, P, P) float32; `targets` (B, P, P) uint8; `plain`, the images before their intensities were
    changed; `guide` (B, K, P, P) float32 or None.
    """

    images: Tensor
    targets: Tensor
    plain: Tensor
    guide: Tensor | None = None


def augment(
    images: Tensor,
    targets: Tensor,
    patch: int,
    config: AugmentConfig,
    generator: torch.Generator,
    guide: Tensor | None = None,
) -> Patches:
    """Cut augmented patches out of windows.

    Parameters
    ----------
    images : (B, C, W, W) float32
        Windows, normalized.
    targets : (B, W, W) uint8
        Their targets.
    patch : int
        Side P of the patches, pixels, at most W.
    config : AugmentConfig
    generator : torch.Generator
        On the CPU, so that every device draws the same changes.
    guide : (B, K, W, W) float32, optional
        Soft targets that move with the images.

    Returns
    -------
    Patches
        Images are resampled linearly, targets to the nearest pixel; both are mirrored beyond the window.
    """
    channels = images.shape[1]
    grid = _grid(images.shape[0], images.shape[-1], patch, config, generator).to(images.device)
    together = images if guide is None else torch.cat([images, guide], dim=1)
    moved = F.grid_sample(together, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labels = F.grid_sample(
        targets[:, None].float(), grid, mode="nearest", padding_mode="reflection", align_corners=False
    )
    plain = moved[:, :channels]
    return Patches(
        _photometric(plain, config, generator),
        labels[:, 0].round().to(torch.uint8),
        plain,
        None if guide is None else moved[:, channels:],
    )


def _uniform(generator: torch.Generator, number: int, low: float, high: float) -> Tensor:
    return torch.rand(number, generator=generator) * (high - low) + low


def _sometimes(values: Tensor, neutral: float, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Keep a random change with the configured probability, else put the neutral value."""
    keep = torch.rand(len(values), generator=generator) < config.probability
    return torch.where(keep, values, torch.full_like(values, neutral))


def _grid(batch: int, window: int, patch: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return sampling positions (B, patch, patch, 2) in the coordinates of `grid_sample`."""
    angle = _sometimes(_uniform(generator, batch, -config.rotation, config.rotation), 0, config, generator)
    zoom = _sometimes(_uniform(generator, batch, -config.scale, config.scale), 0, config, generator).add(1)
    shear = _sometimes(_uniform(generator, batch, -config.shear, config.shear), 0, config, generator)
    angle, shear = torch.deg2rad(angle), torch.deg2rad(shear)
    if config.quarter_turns:
        angle = angle + torch.randint(0, 4, (batch,), generator=generator) * (math.pi / 2)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    matrix = torch.stack(
        [torch.stack([cos, -sin + cos * shear.tan()], -1), torch.stack([sin, cos + sin * shear.tan()], -1)],
        -2,
    )
    if config.flip:
        signs = torch.randint(0, 2, (batch, 1, 2), generator=generator) * 2 - 1
        matrix = matrix * signs
    # Positions of the patch's pixels, relative to the centre, in pixels of the window.
    line = torch.arange(patch) - (patch - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    positions = torch.stack([x, y], -1).reshape(-1, 2)
    moved = torch.einsum("bij,nj->bni", matrix, positions).reshape(batch, patch, patch, 2)
    if config.elastic > 0:
        size = _sometimes(_uniform(generator, batch, 0, config.elastic), 0, config, generator)
        knots = torch.randn(batch, 2, _ELASTIC_KNOTS, _ELASTIC_KNOTS, generator=generator) * size[:, None, None, None]
        bend = F.interpolate(knots, size=(patch, patch), mode="bicubic", align_corners=True)
        moved = moved + bend.permute(0, 2, 3, 1)
    return moved * (2 / window)


def _photometric(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Change intensities, a patch at a time its own way; images are about -1 .. 1."""
    batch, shape = images.shape[0], (-1, 1, 1, 1)

    def draw(low: float, high: float, neutral: float) -> Tensor:
        values = _sometimes(_uniform(generator, batch, low, high), neutral, config, generator)
        return values.to(images.device).reshape(shape)

    if config.gamma > 0:
        gamma = draw(-config.gamma, config.gamma, 0).exp()
        inside = images.clamp(-1, 1)
        # Only what lies between the limits has a gamma; the rest is kept as it is.
        images = images - inside + ((inside + 1) / 2).clamp_min(1e-6).pow(gamma) * 2 - 1
    if config.contrast > 0:
        mean = images.mean(dim=(2, 3), keepdim=True)
        images = (images - mean) * draw(-config.contrast, config.contrast, 0).add(1) + mean
    if config.brightness > 0:
        images = images + 2 * draw(-config.brightness, config.brightness, 0)
    if config.blur > 0:
        images = _blur(images, draw(0, config.blur, 0))
    if config.noise > 0:
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        images = images + 2 * noise * draw(0, config.noise, 0)
    return images


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each patch with its own Gaussian, as one grouped convolution a direction."""
    batch, channels, height, width = images.shape
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, device=images.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma.reshape(-1, 1).clamp_min(0.05) ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = images.reshape(1, batch * channels, height, width)
    padded = F.pad(flat, (_BLUR_RADIUS,) * 4, mode="reflect")
    padded = F.conv2d(padded, kernel[..., None], groups=batch * channels)
    return F.conv2d(padded, kernel[:, :, None], groups=batch * channels).reshape(images.shape)
