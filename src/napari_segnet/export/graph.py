"""What is exported: one network that maps images to probabilities, and what an image is fed to it as.

Where the limits of the normalization are the same for all images, they are a part of the network: it takes images as
they are. Where each image has limits of its own, the image is scaled before: a network that measured them itself
would measure those of a tile, and tiles would not fit together.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_segnet.data.normalization import Normalization, scale
from napari_segnet.errors import ConfigError
from napari_segnet.export.layers import exportable_layers
from napari_segnet.models.file import Ensemble
from napari_segnet.models.info import ModelInfo

Place = Literal["inside", "outside"]
"""Whether images are scaled by the exported network, or before they are fed to it."""
_FIXED = ("dataset", "none")


class Scaling(nn.Module):
    """Fixed limits become -1 and 1, as `napari_segnet.data.normalization.scale` does it."""

    def __init__(self, normalization: Normalization, channels: int, ndim: int) -> None:
        super().__init__()
        # None of the fixed ones looks at the image but for its number of channels.
        low, high = normalization.limits(np.empty((channels,) + (1,) * ndim, np.float32))
        shape = (1, channels) + (1,) * ndim
        half = np.maximum((high - low) / 2, np.finfo(np.float32).tiny)
        self.register_buffer("centre", torch.from_numpy((high + low) / 2).reshape(shape))
        self.register_buffer("reach", torch.from_numpy(half).reshape(shape))
        self.clip = float(normalization.clip)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, [Z], Y, X) to the same shape."""
        scaled = (image - cast("Tensor", self.centre)) / cast("Tensor", self.reach)
        scaled = torch.where(torch.isnan(scaled), torch.full_like(scaled, -1.0), scaled)
        return scaled.clamp(-self.clip, self.clip)


class Exported(nn.Module):
    """A model, or an ensemble, as one network that gives probabilities.

    Parameters
    ----------
    info : ModelInfo
    network : torch.nn.Module
        As `load_model` returns it; it is copied.
    place : {"inside", "outside"}
        Where images are scaled.
    """

    def __init__(self, info: ModelInfo, network: nn.Module, place: Place) -> None:
        super().__init__()
        members = info.members or (info,)
        networks = list(network.member) if isinstance(network, Ensemble) else [network]
        self.networks = nn.ModuleList(exportable_layers(one) for one in networks)
        self.scalings = nn.ModuleList(
            Scaling(member.normalization, info.channels, len(info.axes)) if place == "inside" else nn.Identity()
            for member in members
        )
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, [Z], Y, X) float32 to probabilities (B, K, [Z], Y, X)."""
        total: Any = None
        for network, scaling in zip(self.networks, self.scalings, strict=True):
            probabilities = network(scaling(image)).softmax(dim=1)
            total = probabilities if total is None else total + probabilities
        mean: Tensor = total / len(self.networks) if len(self.networks) > 1 else total
        return mean


def place_of_normalization(info: ModelInfo) -> Place:
    """Say where the images of a model are scaled.

    Raises
    ------
    ConfigError
        If no single network can say what the model says: members vote, or measure each image in different ways.
    """
    if info.combine == "vote":
        raise ConfigError(
            "The members of this ensemble vote, which an exported network can't say.",
            "Export its members, or make the ensemble with --combine mean.",
        )
    ways = [member.normalization for member in info.members or (info,)]
    if all(way.mode in _FIXED for way in ways):
        return "inside"
    if all(way == ways[0] for way in ways):
        return "outside"
    raise ConfigError(
        "The members of this ensemble scale each image in different ways, which an exported network can't do.",
        "Export its members one by one.",
    )


def output_names(info: ModelInfo) -> list[str]:
    """Return what the channels of the exported network's answer are, in order."""
    if info.task == "semantic":
        return [c.name for c in info.classes]
    return ["background", f"inside of {info.classes[-1].name}", f"boundary of {info.classes[-1].name}"]


def fed(info: ModelInfo, place: Place, image: NDArray[Any]) -> NDArray[np.float32]:
    """Return an image (C, [Z], Y, X) as the exported network takes it, a batch of one."""
    if place == "inside":
        return image.astype(np.float32)[np.newaxis]
    way = (info.members or (info,))[0].normalization
    return scale(image, *way.limits(image), way.clip)[np.newaxis]


def answer(info: ModelInfo, network: nn.Module, image: NDArray[Any]) -> NDArray[np.float32]:
    """Return what the model itself says of an image.

    Parameters
    ----------
    info : ModelInfo
    network : torch.nn.Module
        As it was loaded, in evaluation mode on the CPU.
    image : (C, [Z], Y, X) array
        Its sides are multiples of `info.strides`.

    Returns
    -------
    (1, K, [Z], Y, X) float32
        Probabilities.
    """
    networks = list(network.member) if isinstance(network, Ensemble) else [network]
    found = []
    with torch.inference_mode():
        for member, one in zip(info.members or (info,), networks, strict=True):
            way = member.normalization
            scaled = torch.from_numpy(scale(image, *way.limits(image), way.clip))[None]
            found.append(one(scaled).float().softmax(dim=1).numpy())
    mean: NDArray[np.float32] = np.mean(found, axis=0, dtype=np.float32)
    return mean
