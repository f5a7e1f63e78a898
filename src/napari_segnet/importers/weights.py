"""Weights of a network of our catalogue that is named beside them: of segmentation-models-pytorch, or any other."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.importers import ImportConfig
from napari_segnet.importers.found import Found
from napari_segnet.importers.intensities import Intensities
from napari_segnet.importers.state import SUFFIXES, read_weights, without_prefix
from napari_segnet.models.info import METADATA_KEY, read_header
from napari_segnet.models.registry import build_network, network_spec

Options = dict[str, int | float | bool | str]
_CLASSIFIER = "classification_head."
_REMEDY = "Say the network, the encoder and the options that it was made with, such as --set options.depth=4."


def recognizes(path: Path) -> bool:
    """Say whether a file is called as files of weights are."""
    return path.is_file() and path.suffix in SUFFIXES


def read(path: Path, config: ImportConfig) -> Found:
    """Read weights of the network that `config` names.

    Raises
    ------
    ModelFileError
        If the file is damaged, or its weights are another network's.
    ConfigError
        If no network is named, or one that doesn't exist.
    """
    if path.suffix == ".safetensors" and METADATA_KEY in (read_header(path).get("__metadata__") or {}):
        raise ModelFileError(f"{path} is a model file of napari-segnet already.", "Use it as it is.")
    if config.network is None:
        raise ConfigError(
            f"{path} holds weights alone: which network they belong to isn't in the file.",
            "Say it with --network and --encoder, and its options with --set options.NAME=VALUE.",
        )
    return fit(read_weights(path), config.network, config.encoder, dict(config.options))


def fit(
    weights: dict[str, Tensor],
    network: str,
    encoder: str | None,
    options: Options,
    *,
    intensities: Intensities | None = None,
) -> Found:
    """Bring weights into the order of one of our networks, whose channels and outputs are found from them.

    Parameters
    ----------
    weights : dict of str to Tensor
        By the names of the network's ``state_dict``, with or without a prefix.
    network, encoder, options
        What `build_network` is asked for.
    intensities : {"0..1", "imagenet", "raw"}, optional
        Default: ImageNet's where the image has three channels and the network an encoder.

    Raises
    ------
    ModelFileError
        If they are another network's.
    ConfigError
        For a network, encoder or option that doesn't exist.
    """
    spec = network_spec(network)
    encoder = encoder or (spec.encoder or None)

    @cache
    def own(channels: int, outputs: int) -> dict[str, Tensor]:
        return _without_memory(spec.name, channels, outputs, encoder, options)

    found, left = without_prefix(weights, own(1, 2))
    strange = [name for name in left if not name.startswith(_CLASSIFIER)]
    if strange:
        raise ModelFileError(
            f"The file holds {len(strange)} weights more than {spec.name} has, such as {strange[0]!r}.", _REMEDY
        )
    channels = _channels(found, own(1, 2), own(2, 2))
    last = list(found)[-2:]
    outputs = len(found[last[1]])
    for name, value in own(channels, max(outputs, 2)).items():
        theirs = tuple(found[name].shape)
        expected = (outputs, *value.shape[1:]) if name in last else tuple(value.shape)
        if theirs != expected:
            raise ModelFileError(
                f"The weights are not those of {spec.name}: {name!r} is {theirs} in the file, and {expected} here.",
                _REMEDY,
            )
    return Found(
        network=spec.name,
        encoder=encoder,
        options=options,
        channels=channels,
        weights=found,
        intensities=intensities or ("imagenet" if encoder and channels == 3 else "0..1"),
        notes=("Its second head, which classifies whole images, is left out.",) if left else (),
    )


def _channels(found: dict[str, Tensor], one: dict[str, Tensor], two: dict[str, Tensor]) -> int:
    """Find the channels of the image: where the network for one and that for two channels differ."""
    for name, value in one.items():
        for axis, (length, longer) in enumerate(zip(value.shape, two[name].shape, strict=True)):
            if longer != length and found[name].ndim == value.ndim:
                return max(1, 1 + (found[name].shape[axis] - length) // (longer - length))
    raise ModelFileError("The weights don't say for how many channels they are.", _REMEDY)


def _without_memory(name: str, channels: int, outputs: int, encoder: str | None, options: Options) -> dict[str, Tensor]:
    try:
        with torch.device("meta"):
            network = build_network(name, channels=channels, outputs=outputs, encoder=encoder, options=options)
    except RuntimeError:
        # Some of timm's encoders compute with their weights while they are built.
        network = build_network(name, channels=channels, outputs=outputs, encoder=encoder, options=options)
    return network.state_dict()
