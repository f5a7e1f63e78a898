"""Random changes of training patches, in 2D and 3D, on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_segnet.axes import per_axis
from napari_segnet.config import AugmentConfig
from napari_segnet.training.copy_paste import paste_objects
from napari_segnet.training.draws import Draws, rarities
from napari_segnet.training.geometric import relative_spacing, resample, window_size
from napari_segnet.training.photometric import change_intensities

__all__ = ["Patches", "augment", "window_size"]


@dataclass(frozen=True)
class Patches:
    """Augmented patches of the sides P = [Z], Y, X.

    `images` (B, C, P); `targets` (B, P) uint8; `plain`, the images before their intensities were changed; `guide`
    (B, K, P) or None; `weights` of pixels (B, P) or None.
    """

    images: Tensor
    targets: Tensor
    plain: Tensor
    guide: Tensor | None = None
    weights: Tensor | None = None


def augment(
    images: Tensor,
    targets: Tensor,
    patch: int | tuple[int, ...],
    config: AugmentConfig,
    generator: torch.Generator,
    guide: Tensor | None = None,
    *,
    spacing: Sequence[float] | None = None,
    frequencies: Tensor | None = None,
    instances: bool = False,
    first_class: int = 1,
    weights: Tensor | None = None,
) -> Patches:
    """Cut augmented patches out of windows: moved in one resampling, then pasted into, then recoloured.

    Parameters
    ----------
    images : (B, C, [Z], Y, X) float
        Windows, normalized.
    targets : (B, [Z], Y, X) uint8
        Their targets.
    patch : int or tuple of int
        Side of square patches, or sides ([Z], Y, X); pixels, at most those of the windows.
    config : AugmentConfig
    generator : torch.Generator
        On the CPU, so that every device draws the same.
    guide : (B, K, [Z], Y, X) float, optional
        Soft targets that move with the images.
    spacing : sequence of float, optional
        Distance of pixels along [Z], Y, X in any unit; default: the same along all.
    frequencies : (K,) Tensor, optional
        How frequent each class is, for `AugmentConfig.class_frequency`; default: as in these windows.
    instances : bool
        Whether targets are background, interior and boundary of objects; copy-paste has to know.
    first_class : int
        The first class that copy-paste takes for objects: 1 where class 0 is background.
    weights : (B, [Z], Y, X) float, optional
        Weights of pixels, which move with the images.

    Returns
    -------
    Patches
        Images, guide and weights are resampled linearly, targets to the nearest pixel; all are mirrored beyond the
        window. Images, guide and weights keep their dtype, but are reckoned in float32.
    """
    axes, channels = targets.ndim - 1, images.shape[1]
    sides = per_axis(patch, axes)
    steps = relative_spacing(spacing, axes)
    rarity = rarities(targets, frequencies) if config.class_frequency else None
    draws = Draws(generator, len(images), config.probability, rarity)
    classes = 0 if guide is None else guide.shape[1]
    riders = [guide, None if weights is None else weights[:, None]]
    together = torch.cat([part.float() for part in (images, *riders) if part is not None], dim=1)
    moved, labels = resample(together, targets, sides, steps, config, draws)
    if config.copy_paste > 0:
        moved, labels = paste_objects(
            moved, labels, config.copy_paste, draws, instances=instances, first_class=first_class
        )
    plain = moved[:, :channels]
    return Patches(
        change_intensities(plain, config, draws, steps).to(images.dtype),
        labels,
        plain.to(images.dtype),
        None if guide is None else moved[:, channels : channels + classes].to(guide.dtype),
        None if weights is None else moved[:, channels + classes].to(weights.dtype),
    )
