"""The fully connected CRF that DeepLab put behind its network: labels that follow the edges of the image.

Kraehenbuehl and Koltun 2011 (arXiv:1210.5644): each pair of pixels pays for different labels, the more the closer
they lie and the more alike they look. The likeliest labels are found approximately, by mean field: in each iteration
a pixel hears from all others, which is a Gaussian filter of the probabilities. DeepLab (arXiv:1606.00915, section
3.3) used it with two kernels, with the network's probabilities as unary terms:

    k(i, j) = w1 exp(-|p_i - p_j|^2 / (2 sigma_alpha^2) - |I_i - I_j|^2 / (2 sigma_beta^2))
            + w2 exp(-|p_i - p_j|^2 / (2 sigma_gamma^2))

Where we differ from the papers, with the reference implementation: each kernel is normalized symmetrically,
D^-1/2 K D^-1/2 with D the sums of its rows, so that weights mean the same in any image; and a pixel hears itself,
too. The second kernel, which knows positions only, is an exact convolution here, not a lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_segnet.axes import times
from napari_segnet.config import CrfOptions
from napari_segnet.data.normalization import Limits, Normalization, image_limits, scale
from napari_segnet.devices import free_memory
from napari_segnet.errors import DataError
from napari_segnet.predict.permutohedral import PermutohedralLattice

_LEAST = 1e-30
_REACH = 5
"""Standard deviations after which the smoothness kernel is cut off."""

Kernel = Callable[[Tensor], Tensor]
"""Filters (Y * X, K) values."""


def mean_field(probabilities: Tensor, colours: Tensor, options: CrfOptions) -> Iterator[Tensor]:
    """Refine the probabilities of one plane.

    Parameters
    ----------
    probabilities : (K, Y, X) float32
        Of the classes, from the network.
    colours : (C, Y, X) float32
        The image, with intensities of about 0 .. 255; see `colours_of`. Same device: a CPU or CUDA.
    options : CrfOptions

    Yields
    ------
    (K, Y, X) float32
        The refined probabilities after each iteration.
    """
    classes, *shape = probabilities.shape
    # Rows are pixels: filters then read and write whole rows.
    unary = probabilities.reshape(classes, -1).t().clamp_min(_LEAST).log()
    kernels = _kernels(colours, options)
    refined = unary.softmax(1)
    for _ in range(options.iterations):
        energy = unary.clone()
        for weight, kernel in kernels:
            # Paying for all labels but one's own is, but for a constant, being paid for one's own.
            energy.add_(kernel(refined), alpha=weight)
        refined = energy.softmax(1)
        yield refined.t().reshape(classes, *shape)


def _kernels(colours: Tensor, options: CrfOptions) -> list[tuple[float, Kernel]]:
    """Return the kernels that have a weight."""
    kernels: list[tuple[float, Kernel]] = []
    pixels = colours[0].numel()
    if options.w1 > 0:
        lattice = PermutohedralLattice(_features(colours, options))
        kernels.append((options.w1, _normalized(lattice.filter, pixels, colours.device)))
    if options.w2 > 0:
        height, width = colours.shape[1:]
        smooth = _smoothing((height, width), options.sigma_gamma)
        kernels.append((options.w2, _normalized(smooth, pixels, colours.device)))
    return kernels


def _features(colours: Tensor, options: CrfOptions) -> Tensor:
    """Return each pixel's position and colour in standard deviations, (Y * X, 2 + C)."""
    channels, height, width = colours.shape
    features = colours.new_empty((height, width, 2 + channels))
    features[..., 0] = torch.arange(height, device=colours.device)[:, None] / options.sigma_alpha
    features[..., 1] = torch.arange(width, device=colours.device) / options.sigma_alpha
    features[..., 2:] = colours.movedim(0, -1) / options.sigma_beta
    return features.flatten(0, 1)


def _normalized(kernel: Kernel, pixels: int, device: torch.device) -> Kernel:
    sums = kernel(torch.ones((pixels, 1), device=device))
    norm = sums.clamp_min_(_LEAST).rsqrt_()
    return lambda values: kernel(values * norm).mul_(norm)


def _smoothing(shape: tuple[int, int], sigma: float) -> Kernel:
    """Return a Gaussian filter over the plane; beyond its border there is nothing."""
    reach = math.ceil(_REACH * sigma)
    weights = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(reach + 1)]

    def along(values: Tensor, axis: int) -> Tensor:
        # Adding shifted copies is some ten times quicker on a CPU than a convolution of single channels.
        length = values.shape[axis]
        smoothed = values.clone()
        for distance in range(1, min(reach, length - 1) + 1):
            first = (axis, 0, length - distance)
            last = (axis, distance, length - distance)
            smoothed.narrow(*first).add_(values.narrow(*last), alpha=weights[distance])
            smoothed.narrow(*last).add_(values.narrow(*first), alpha=weights[distance])
        return smoothed

    return lambda values: along(along(values.view(*shape, -1), 0), 1).flatten(0, 1)


def colours_of(image: NDArray[np.generic], normalization: Normalization, limits: Limits) -> NDArray[np.float32]:
    """Scale an image as the CRF is to see it: the lower limit becomes 0, the upper 255.

    Parameters
    ----------
    image : (C, Y, X) array
        Any dtype.
    normalization : Normalization
        The model's. Where it leaves images as they are, the image's own limits are taken.
    limits : (low, high)
        From `Normalization.limits`.

    Returns
    -------
    (C, Y, X) float32
        Beyond the limits it goes on as far as the network sees: by default from -255 to 510.
    """
    low, high = image_limits(image) if normalization.mode == "none" else limits
    colours = scale(image, low, high, normalization.clip)
    colours += 1
    colours *= 127.5
    return colours


def bytes_needed(classes: int, channels: int, shape: tuple[int, ...]) -> int:
    """Return how much memory refining a plane can take, bytes: measured on noise; photographs take about half."""
    corners = channels + 3  # of each pixel, none shared with another one
    return math.prod(shape) * (corners * (8 * corners + 12 * classes + 120) + 56 * classes)


def choose_device(device: torch.device, classes: int, channels: int, shape: tuple[int, ...]) -> torch.device:
    """Return where a plane can be refined: on `device`, or else on the CPU.

    Raises
    ------
    DataError
        If there is not memory enough.
    """
    needed = bytes_needed(classes, channels, shape)
    cpu = torch.device("cpu")
    free = free_memory(cpu)
    # Apple's GPUs lack some of the operations on 64-bit integers.
    if device.type == "cuda" and needed < free_memory(device):
        needed = 4 * (2 * classes + 3 * channels) * math.prod(shape)
    else:
        device = cpu
    if needed >= free:
        size = times(shape)
        raise DataError(
            f"Refining {size} pixels with {classes} classes by a CRF can take {needed / 1e9:.2g} GB of memory, "
            f"but {free / 1e9:.2g} GB are free.",
            "Predict without --crf, or cut the image into smaller ones.",
        )
    return device
