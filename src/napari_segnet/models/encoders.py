"""Encoders by name: those of segmentation-models-pytorch, and timm's as ``tu-NAME``, with or without their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from napari_segnet._torch import import_smp
from napari_segnet.errors import ConfigError, ModelFileError, SegNetError, unknown_name
from napari_segnet.models.registry import NetworkRequest, network_spec


def encoder_names() -> list[str]:
    """Return the names of smp's own encoders; timm's are reached as ``tu-NAME``."""
    return sorted(import_smp().encoders.get_encoder_names())


def encoder_table() -> list[tuple[str, str]]:
    """Return the name and the pretrained weights of each encoder."""
    encoders = import_smp().encoders.encoders
    return [(name, ", ".join(entry.get("pretrained_settings", {}))) for name, entry in sorted(encoders.items())]


def timm_names() -> list[str]:
    """Return ``tu-NAME`` for each model of timm that can be an encoder."""
    import_smp()  # timm stumbles where torchvision does
    import timm

    return [f"tu-{name}" for name in timm.list_models()]


def build_on_encoder(request: NetworkRequest, make: Callable[[str, str | None], nn.Module]) -> nn.Module:
    """Build a network whose attribute ``encoder`` is one of smp's, with the weights that are asked for.

    Parameters
    ----------
    request : NetworkRequest
        Without an encoder the default of the network's registry entry is taken.
    make : callable
        Gets the encoder's name, and ``"imagenet"`` or None; returns the network.

    Raises
    ------
    ConfigError
        For an encoder that doesn't exist, or that this network can't use.
    SegNetError
        If pretrained weights can't be fetched.
    """
    encoder = request.encoder or network_spec(request.name).encoder
    check_encoder(encoder)
    weights = "imagenet" if request.weights == "imagenet" else None
    try:
        network = make(encoder, weights)
    except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        not_refused = isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError)
        if not_refused and torch.empty(0).device.type == "meta":
            raise  # some encoders compute with their weights, and can't be built without memory
        if weights and not_refused:
            raise _no_weights(encoder, error) from error
        why = str(error).splitlines()[0].rstrip(".!")
        raise ConfigError(
            f"The network {request.name!r} can't use the encoder {encoder!r}: {why}.",
            f"Try --encoder {network_spec(request.name).encoder}, or see napari-segnet encoders.",
        ) from error
    except OSError as error:
        # The hub's errors (no connection, no such file, offline mode) are all OSErrors.
        raise _no_weights(encoder, error) from error
    if request.weights not in ("imagenet", "none"):
        _load_encoder(network, Path(request.weights))
    return network


def check_encoder(encoder: str) -> None:
    """Raise `ConfigError`, with near names, for an encoder that doesn't exist."""
    if not encoder.startswith("tu-"):
        if encoder not in encoder_names():
            raise unknown_name("encoder", encoder, encoder_names())
        return
    import_smp()  # timm stumbles where torchvision does
    import timm

    # timm also takes addresses of hubs and folders: a model file must never make us fetch or read those.
    if not timm.is_model(encoder.removeprefix("tu-")):
        raise unknown_name("encoder", encoder, timm_names())


def _no_weights(encoder: str, error: Exception) -> SegNetError:
    return SegNetError(
        f"The pretrained weights of {encoder!r} could not be fetched: {str(error).splitlines()[0][:160]}.",
        "Check the connection, name a file of encoder weights, or train from scratch with --weights none.",
    )


def _load_encoder(network: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"There are no weights {str(path)!r}.", "Use imagenet, none, or the name of a file.")
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises its own kinds, which differ between versions
        raise ModelFileError(f"{path} is not a safetensors file, or is damaged: {error}.") from error
    encoder = network.encoder
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(network).__name__} has no encoder")
    prefix = "encoder." if any(key.startswith("encoder.") for key in tensors) else ""
    own = encoder.state_dict()
    fitting = {
        key: tensors[prefix + key]
        for key, value in own.items()
        if prefix + key in tensors and tensors[prefix + key].shape == value.shape
    }
    # The first convolution differs where the image isn't RGB; anything more means another encoder.
    if len(fitting) < 0.9 * len(own):
        raise ModelFileError(
            f"{path} fits {len(fitting)} of the {len(own)} tensors of this encoder.",
            "Choose the --encoder that the file was made with.",
        )
    with torch.no_grad():
        encoder.load_state_dict(fitting, strict=False)
