"""Which weights learn how: the encoder otherwise than the rest, biases without weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from napari_segnet.config import TrainConfig
from napari_segnet.errors import ConfigError
from napari_segnet.training.deep_supervision import plain


def separate_encoder(network: nn.Module, config: TrainConfig) -> nn.Module | None:
    """Return the encoder if it is to learn otherwise than the rest, None if not.

    Raises
    ------
    ConfigError
        If it is, and there is none.
    """
    if config.encoder_rate == 1 and config.freeze_encoder == 0:
        return None
    encoder = getattr(plain(network), "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ConfigError(
            "This network has no encoder that could learn at another rate or be frozen.",
            "Leave out train.encoder_rate and train.freeze_encoder, or use --network unet.",
        )
    return encoder


def parameter_groups(network: nn.Module, encoder: nn.Module | None, config: TrainConfig) -> list[dict[str, Any]]:
    """Sort the weights for the optimizer.

    Parameters
    ----------
    network : torch.nn.Module
    encoder : torch.nn.Module, optional
        What `separate_encoder` returned.
    config : TrainConfig

    Returns
    -------
    list of dict
        Groups as optimizers take them; `scale` is a group's learning rate, relative to the step's. Weight decay is
        for convolutions: biases and the scales of normalization are left alone.
    """
    inside = {id(p) for p in encoder.parameters()} if encoder is not None and config.encoder_rate != 1 else set()
    learning = [p for p in network.parameters() if p.requires_grad]
    groups = []
    for scale, members in (
        (1.0, [p for p in learning if id(p) not in inside]),
        (config.encoder_rate, [p for p in learning if id(p) in inside]),
    ):
        weights, others = [p for p in members if p.dim() > 1], [p for p in members if p.dim() <= 1]
        groups.append({"params": weights, "weight_decay": config.weight_decay, "scale": scale})
        groups.append({"params": others, "weight_decay": 0.0, "scale": scale})
    return groups if inside else groups[:2]
