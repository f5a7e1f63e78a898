"""The U-Net of segmentation-models-pytorch, with any of its encoders or timm's (``tu-NAME``)."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import nn

from napari_segnet._torch import import_smp
from napari_segnet.config import Frozen, validated
from napari_segnet.errors import ConfigError, ModelFileError, SegNetError, unknown_name
from napari_segnet.models.registry import NetworkRequest

DEFAULT_ENCODER = "resnet18"


class Options(Frozen):
    """Options of the U-Net decoder, for ``--set model.options.NAME=VALUE``."""

    depth: int = Field(5, ge=3, le=5, description="Levels of the encoder that are used.")
    decoder_width: int = Field(256, ge=16, le=1024, description="Channels of the decoder's first block.")


def encoder_names() -> list[str]:
    """Return the names of smp's own encoders; timm's are reached as ``tu-NAME``."""
    return sorted(import_smp().encoders.get_encoder_names())


def encoder_table() -> list[tuple[str, str]]:
    """Return the name and the pretrained weights of each encoder."""
    encoders = import_smp().encoders.encoders
    return [(name, ", ".join(entry.get("pretrained_settings", {}))) for name, entry in sorted(encoders.items())]


def build(request: NetworkRequest) -> nn.Module:
    """Build the network, with pretrained encoder weights if they are asked for.

    Raises
    ------
    ConfigError
        For an encoder or option that doesn't exist.
    SegNetError
        If pretrained weights can't be fetched.
    """
    options = validated(Options, dict(request.options))
    encoder = request.encoder or DEFAULT_ENCODER
    _check_name(encoder)
    network = _make(encoder, request, options, weights="imagenet" if request.weights == "imagenet" else None)
    if request.weights not in ("imagenet", "none"):
        _load_encoder(network, Path(request.weights))
    network.stride = 2**options.depth
    return network


def _check_name(encoder: str) -> None:
    if not encoder.startswith("tu-"):
        if encoder not in encoder_names():
            raise unknown_name("encoder", encoder, encoder_names())
        return
    import_smp()  # timm stumbles where torchvision does
    import timm

    name = encoder.removeprefix("tu-")
    # timm also takes addresses of hubs and folders: a model file must never make us fetch or read those.
    if not timm.is_model(name):
        raise unknown_name("encoder", encoder, [f"tu-{known}" for known in timm.list_models()])


def _make(encoder: str, request: NetworkRequest, options: Options, weights: str | None) -> nn.Module:
    smp = import_smp()
    decoder = [max(options.decoder_width // 2**level, 16) for level in range(options.depth)]
    try:
        network: nn.Module = smp.Unet(
            encoder,
            encoder_depth=options.depth,
            encoder_weights=weights,
            decoder_channels=decoder,
            in_channels=request.channels,
            classes=request.outputs,
        )
    except (KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and torch.empty(0).device.type == "meta":
            raise  # some encoders compute with their weights, and can't be built without memory
        if weights and not isinstance(error, ValueError | KeyError):
            raise _no_weights(encoder, error) from error
        raise ConfigError(f"The encoder {encoder!r} can't be used: {error}.", "See napari-segnet encoders.") from error
    except OSError as error:
        # The hub's errors (no connection, no such file, offline mode) are all OSErrors.
        raise _no_weights(encoder, error) from error
    return network


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
        raise TypeError("smp's Unet has no encoder")
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
