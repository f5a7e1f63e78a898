"""The model file: weights and their description in one safetensors file, and nothing that can be executed."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.models.foreign import ForeignNetwork
from napari_segnet.models.info import (
    METADATA_KEY,
    Combine,
    ModelInfo,
    ensemble_info,
    fold_models,
    model_path,
    read_header,
    read_info,
)
from napari_segnet.models.packages import Attached, attached_model, is_package, open_package
from napari_segnet.models.registry import build_network
from napari_segnet.run import write_atomically

_SMALLEST_WITH_ENCODER = 1_000_000


class Ensemble(nn.Module):
    """Networks that answer together, in one file: the weights of the first are called ``member.0.NAME``.

    It can't be called: members may see an image differently normalized and padded. `EnsemblePredictor` asks them.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.member = nn.ModuleList(networks)


def join_models(models: Sequence[tuple[ModelInfo, nn.Module]], combine: Combine = "mean") -> tuple[ModelInfo, Ensemble]:
    """Put models together; ensembles among them give their members.

    Raises
    ------
    ConfigError
        If there are none, or they differ in channels, axes, task or classes.
    """
    info = ensemble_info([info for info, _ in models], combine)
    networks: list[nn.Module] = []
    for _, network in models:
        for one in network.member if isinstance(network, Ensemble) else [network]:
            # A file holds each tensor once: a model that is named twice becomes two.
            networks.append(copy.deepcopy(one) if any(one is other for other in networks) else one)
    return info, Ensemble(networks)


def write_model(path: Path, info: ModelInfo, network: nn.Module) -> None:
    """Write a model file; the previous file of that name stays whole until the new one is complete.

    Raises
    ------
    OSError
        If it can't be written, for example on a full disk.
    ModelFileError
        If the network is that of a package: only what runs it can read it.
    """
    if any(isinstance(part, ForeignNetwork) for part in network.modules()):
        raise ModelFileError(
            "A model of another tool's package can't be written as a model file.", "Use the package itself."
        )
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    metadata = {METADATA_KEY: json.dumps(info.model_dump(mode="json"))}
    write_atomically(path, save(tensors, metadata))


def load_model(path: Path | str, device: torch.device | str = "cpu") -> tuple[ModelInfo, nn.Module]:
    """Load a model file, the best model of a run folder, the models of all folds in a folder, or a package.

    The shapes in the file are compared with those of the network that its description asks for before the weights
    are read or allocated, so a wrong or hostile file costs next to nothing, whatever it asks for.

    Parameters
    ----------
    path : Path or str
        A ``.safetensors`` file, a run folder, a folder of folds, a package of bioimage.io, or an exported file.
    device : torch.device or str
        Where the network goes.

    Returns
    -------
    info : ModelInfo
    network : torch.nn.Module
        In evaluation mode. An `Ensemble` where `info` has members.

    Raises
    ------
    ModelFileError
        If it is damaged, was not written by napari-segnet, or doesn't hold what it says.
    """
    folds = fold_models(path)
    if folds:
        return join_models([load_model(fold, device) for fold in folds])
    if is_package(path):
        return _load_package(path, device)
    path = model_path(path)
    info = read_info(path)
    _compare_shapes(path, info)
    network = build_like(info)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelFileError(f"{path} is damaged: {str(error).splitlines()[0]}.") from error
    return info, network.to(device).eval()


def _load_package(path: Path | str, device: torch.device | str) -> tuple[ModelInfo, nn.Module]:
    package = open_package(path)
    if isinstance(package, Attached):
        with attached_model(package) as model:
            return load_model(model, device)
    return package.info, ForeignNetwork(package).to(device).eval()


def build_like(info: ModelInfo) -> nn.Module:
    """Build the network, or the networks, that `info` describes, with random weights."""
    if info.members:
        return Ensemble([build_like(member) for member in info.members])
    return build_network(
        info.network,
        channels=info.channels,
        outputs=info.outputs,
        encoder=info.encoder,
        options=info.options,
        norm=info.norm,
    )


def _compare_shapes(path: Path, info: ModelInfo) -> None:
    header = {name: entry for name, entry in read_header(path).items() if name != "__metadata__"}
    try:
        expected = {name: tuple(value.shape) for name, value in _build_without_memory(path, info).items()}
        found = {name: tuple(entry["shape"]) for name, entry in header.items()}
    except ConfigError as error:
        raise ModelFileError(f"{path} asks for a network that can't be built. {error}") from error
    except (TypeError, KeyError) as error:
        raise ModelFileError(f"{path} is not a model file, or is damaged.") from error
    if expected != found:
        wrong = min(expected.items() ^ found.items())[0]
        raise ModelFileError(
            f"{path} does not hold the weights of the network {info.network!r} that it describes: "
            f"{wrong!r} is {found.get(wrong, 'missing')} there, and {expected.get(wrong, 'not part of it')} here.",
            "The file is damaged, or was made by another version.",
        )


def _build_without_memory(path: Path, info: ModelInfo) -> dict[str, torch.Tensor]:
    try:
        with torch.device("meta"):
            return build_like(info).state_dict()
    except RuntimeError:
        # Some of timm's encoders compute with their weights while they are built. Their files are never small.
        if path.stat().st_size < _SMALLEST_WITH_ENCODER:
            raise ModelFileError(f"{path} is too small for the encoder {info.encoder!r} that it describes.") from None
        return build_like(info).state_dict()


def transfer(source: nn.Module, target: nn.Module, rows: dict[int, int]) -> None:
    """Copy the weights of a trained network into a new one of the same kind, whose classes may differ.

    Parameters
    ----------
    source, target : torch.nn.Module
        `target` is changed in place.
    rows : dict of int to int
        Output channel of `target` -> output channel of `source` that means the same class. Classes that are new
        keep the random weights of `target`.

    Raises
    ------
    ModelFileError
        If the networks differ in more than their last layer.
    """
    theirs, own = source.state_dict(), target.state_dict()
    last_layer = list(own)[-2:]
    with torch.no_grad():
        for name, value in own.items():
            other = theirs.get(name)
            if name in last_layer and other is not None and other.shape[1:] == value.shape[1:]:
                for new, old in rows.items():
                    value[new] = other[old]
            elif other is None or other.shape != value.shape:
                raise ModelFileError(
                    f"The model to start from has another shape at {name!r}: "
                    f"{None if other is None else tuple(other.shape)} instead of {tuple(value.shape)}.",
                    "Fine-tune with the network, the options and the number of channels that it was made with.",
                )
            else:
                value.copy_(other)
