"""From what an importer found to a network with its description, and to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_segnet.axes import per_axis
from napari_segnet.config import validated
from napari_segnet.data.labels import PALETTE
from napari_segnet.errors import ConfigError, ModelFileError, SegNetError
from napari_segnet.importers import ImportConfig
from napari_segnet.importers.found import Found
from napari_segnet.importers.intensities import normalization
from napari_segnet.models.file import build_like, write_model
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.registry import network_spec, strides_of
from napari_segnet.predict.receptive_field import receptive_field
from napari_segnet.predict.tiles import round_up
from napari_segnet.versions import versions

_SIDES = {"YX": 256, "ZYX": 96}
_REACHES = {"YX": (2048, 256), "ZYX": (256, 64)}
"""How far the receptive field is looked for, and the widest halo, pixels: volumes take memory with the third power."""


def assemble(found: Found, config: ImportConfig) -> tuple[ModelInfo, nn.Module, list[str]]:
    """Build the network with its weights, and describe it.

    Returns
    -------
    info : ModelInfo
    network : torch.nn.Module
        In evaluation mode.
    notes : list of str
        What was assumed, a sentence each.

    Raises
    ------
    ModelFileError
        If the weights don't belong to the network, or hold what is no number.
    ConfigError
        If what the user said doesn't fit the model.
    """
    _check_wishes(found, config)
    weights = two_logits(found.weights)
    outputs = len(next(reversed(weights.values())))
    axes = network_spec(found.network).axes
    kind = found.intensities if config.intensities == "auto" else config.intensities
    described = {
        "network": found.network,
        "encoder": found.encoder,
        "options": found.options,
        "channels": found.channels,
        "outputs": outputs,
        "axes": axes,
        "normalization": normalization(kind, config.minimum, config.maximum, found.channels),
        "classes": _classes(outputs, config.classes or found.classes),
        "patch_size": _SIDES[axes],
        "stride": 1,
        "halo": 0,
        "versions": {**versions(), **found.versions},
    }
    info = validated(ModelInfo, described)
    network = build_like(info).eval()
    _load(network, weights)
    strides = strides_of(network, len(axes))
    limit, furthest = _REACHES[axes]
    reach = receptive_field(network, found.channels, strides, limit)
    # Without images to measure on: what lies further away counts less and less.
    halos = [
        furthest // stride * stride if one is None else min(one, furthest // stride * stride)
        for one, stride in zip(
            [None] * len(axes) if reach is None else per_axis(reach, len(axes)), strides, strict=True
        )
    ]
    patch = _patch(config.patch_size or found.side or _SIDES[axes], strides)
    measured = {"patch_size": patch, "stride": _short(strides), "halo": _short(halos), "receptive_field": reach}
    return info.replace(**measured), network, [*found.notes, *_assumed(found, config, kind)]


def _check_wishes(found: Found, config: ImportConfig) -> None:
    for what, asked, there in (("network", config.network, found.network), ("encoder", config.encoder, found.encoder)):
        if asked is not None and asked.lower() != (there or "").lower():
            raise ConfigError(
                f"The file holds the {what} {there!r}, but {asked!r} was asked for.", f"Leave --{what} out."
            )


def _patch(side: int | tuple[int, ...], strides: tuple[int, ...]) -> int | tuple[int, ...]:
    sides = [
        min(round_up(one, step), 4096 // step * step)
        for one, step in zip(per_axis(side, len(strides)), strides, strict=True)
    ]
    return _short(sides)


def _short(lengths: Sequence[int]) -> int | tuple[int, ...]:
    """Return one number where all axes have the same."""
    return lengths[0] if len(set(lengths)) == 1 else tuple(lengths)


def two_logits(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a network of one output a second one, so that softmax says what a sigmoid said.

    The logits become 0 and x: softmax makes 1 / (1 + exp(-x)) of the second, and 0 stands for the background.
    """
    last = list(weights)[-2:]
    if len(weights[last[1]]) != 1:
        return weights
    return {name: torch.cat([torch.zeros_like(v), v]) if name in last else v for name, v in weights.items()}


def write(out: Path, info: ModelInfo, network: nn.Module) -> None:
    """Write the model file, and the folders above it; raises `SegNetError` where that can't be."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_model(out, info, network)
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another place.") from error


def _load(network: nn.Module, weights: dict[str, Tensor]) -> None:
    own = network.state_dict()
    for name in own.keys() ^ weights.keys():
        raise ModelFileError(
            f"The weights are not those of this network: {name!r} is {'missing' if name in own else 'too much'}."
        )
    for name, value in own.items():
        if value.shape != weights[name].shape:
            raise ModelFileError(
                f"The weights are not those of this network: {name!r} is {tuple(weights[name].shape)} in the file, "
                f"and {tuple(value.shape)} here.",
                "Give the options that it was made with, such as --set options.depth=4.",
            )
        if not torch.isfinite(weights[name]).all():
            raise ModelFileError(f"The file holds numbers that are not finite (at {name!r}).", "Its training failed.")
    network.load_state_dict(weights)


def _classes(outputs: int, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Make the class table: values in the model's order, 0 the background."""
    if names and len(names) not in (outputs - 1, outputs):
        raise ConfigError(
            f"{len(names)} names were given for {outputs} classes.",
            f"Name all {outputs} in the model's order, or the {outputs - 1} behind the background.",
        )
    usual = ["background", *(f"class {value}" for value in range(1, outputs))]
    named = [*usual[: outputs - len(names)], *names]
    return [{"value": v, "name": name, "colour": PALETTE[v % len(PALETTE)]} for v, name in enumerate(named)]


def _assumed(found: Found, config: ImportConfig, kind: str) -> list[str]:
    said = []
    if config.intensities == "auto":
        scaled = f"with {config.minimum:g} .. {config.maximum:g} scaled to 0 .. 1"
        what = {"0..1": scaled, "imagenet": f"{scaled} and ImageNet's mean and spread", "raw": "as they are"}[kind]
        said.append(f"Images are fed {what}; --set intensities=..., minimum=... or maximum=... says otherwise.")
    if not config.classes and not found.classes:
        said.append("Class 0 is the background; --classes names the classes.")
    return said
