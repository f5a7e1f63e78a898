"""A model on its way out, with the images that what is written is tried on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_segnet.errors import ConfigError
from napari_segnet.export import ExportConfig
from napari_segnet.export.graph import Exported, Place, answer, fed, place_of_normalization
from napari_segnet.export.parity import Trial
from napari_segnet.export.sample import images_to_try, larger, least_sides, make_up, read_middle, sides_with_halo
from napari_segnet.models.file import load_model
from napari_segnet.models.foreign import ForeignNetwork
from napari_segnet.models.info import ModelInfo

_OF_ONE_SIZE = {"swinunetr": "how it cuts volumes into windows follows from their size"}
"""Networks that no exporter can write down for images of any size, and why."""


@dataclass(frozen=True)
class Request:
    """A model on its way out.

    Attributes
    ----------
    info : ModelInfo
    network : torch.nn.Module
        As it was loaded, on the CPU.
    config : ExportConfig
    test : (C, [Z], Y, X) float32
        The test image, as a user has it.
    """

    info: ModelInfo
    network: nn.Module
    config: ExportConfig
    test: NDArray[np.float32]

    def exported(self, place: Place) -> Exported:
        """Return the network to write down."""
        return Exported(self.info, self.network, place)

    def example(self, place: Place) -> torch.Tensor:
        """Return a batch to trace with: made up, for traces are kept in files."""
        sides = larger(least_sides(self.info), self.info, 1, 2, 3)
        image = make_up(self.info, sides)
        both = [fed(self.info, place, one) for one in (image, image[..., ::-1])]
        return torch.from_numpy(np.concatenate(both))

    def trial(self, place: Place) -> Trial:
        """Return the test image as the exported network takes it, and the model's answer."""
        return Trial(fed(self.info, place, self.test), answer(self.info, self.network, self.test))

    def trials(self, place: Place) -> list[Trial]:
        """Return batches of several sizes to try an exported file on: the test image, others, and two at once."""
        found = [self.trial(place)]
        images = images_to_try(self.info, self.test)
        found += [Trial(fed(self.info, place, one), answer(self.info, self.network, one)) for one in images]
        pair = [images[0], images[0][..., ::-1]]
        together = (
            np.concatenate([fed(self.info, place, one) for one in pair]),
            np.concatenate([answer(self.info, self.network, one) for one in pair]),
        )
        return [*found, Trial(*together)]


def make_request(model: Path, config: ExportConfig) -> Request:
    """Load a model and its test image.

    Raises
    ------
    SegNetError
        If one of them can't be used.
    """
    info, network = load_model(model)
    if isinstance(network, ForeignNetwork):
        raise ConfigError(f"{model} is a model of another tool's package already.", "Use it as it is.")
    for member in info.members or (info,):
        if member.network in _OF_ONE_SIZE:
            raise ConfigError(
                f"The network {member.network!r} can't be exported: {_OF_ONE_SIZE[member.network]}.",
                "Predict with napari-segnet, at a shell or from Python, or train another network, such as dynunet.",
            )
    place_of_normalization(info)
    info = without_paths(info)
    sides = larger(sides_with_halo(info), info, 1)
    test = make_up(info, sides) if config.test_image is None else read_middle(config.test_image, info, sides)
    return Request(info, network, config, test)


def without_paths(info: ModelInfo) -> ModelInfo:
    """Return a description that names the file a model started from without the folders it lay in."""
    members = tuple(without_paths(member) for member in info.members)
    weights = PurePath(info.config.model.weights.replace("\\", "/")).name
    config = info.config.explicit()
    if "weights" in config.get("model", {}):
        config["model"]["weights"] = weights
    return info.replace(config=config, **({"members": members} if members else {}))
