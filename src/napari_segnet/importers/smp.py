"""Folders that segmentation-models-pytorch writes with ``save_pretrained``: ``config.json`` and ``model.safetensors``.

The configuration is the arguments of smp's class. Ours build that class too, with fewer options: each argument must
be what our options make of it, or smp's default.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from napari_segnet._torch import import_smp
from napari_segnet.config import validated
from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.importers import ImportConfig
from napari_segnet.importers.found import Found
from napari_segnet.importers.intensities import Intensities
from napari_segnet.importers.state import read_weights
from napari_segnet.importers.weights import Options, fit
from napari_segnet.models.encoders import check_encoder
from napari_segnet.models.smp_networks import OPTIONS

_CONFIG, _WEIGHTS = "config.json", ("model.safetensors", "pytorch_model.bin")
_MOST_JSON = 1_000_000
_ELSEWHERE = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"}
_SOURCES = {
    "depth": ("encoder_depth",),
    "decoder_width": (
        "decoder_pyramid_channels",
        "psp_out_channels",
        "decoder_fusion_channels",
        "decoder_segmentation_channels",
        "decoder_channels",
    ),
    "attention_width": ("decoder_pab_channels",),
    "output_stride": ("encoder_output_stride",),
    "dropout": ("decoder_dropout", "psp_dropout", "decoder_aspp_dropout"),
}
"""From which of smp's arguments our options are read; the first that there is."""


def recognizes(path: Path) -> bool:
    """Say whether a folder is one of smp's."""
    return (path / _CONFIG).is_file() and any((path / name).is_file() for name in _WEIGHTS)


def read(path: Path, config: ImportConfig) -> Found:
    """Read a folder of smp.

    Raises
    ------
    ModelFileError
        If it is damaged, or holds a network, an encoder or an argument that ours can't have.
    """
    described = _describe(path / _CONFIG)
    kind = described.pop("_model_class", None)
    if "decoder_use_batchnorm" in described:  # so called before smp 0.5
        described["decoder_use_norm"] = described.pop("decoder_use_batchnorm")
    name = next((name for name, options in OPTIONS.items() if options.kind == kind), None)
    if name is None:
        kinds = ", ".join(options.kind for options in OPTIONS.values())
        raise ModelFileError(f"{path} holds a {kind} of smp, which is not known here.", f"These are: {kinds}.")
    try:
        options = {**_options(name, described), **config.options}
        check_encoder(str(described.get("encoder_name")))
    except ConfigError as error:
        raise ModelFileError(f"{path} asks for a network that can't be built. {error}") from error
    if described.get("classes", 1) != 1 and described.get("activation") not in (
        None,
        "identity",
        "softmax",
        "softmax2d",
    ):
        raise ModelFileError(
            f"{path} ends with {described['activation']!r} for {described['classes']} classes.",
            "Only classes that exclude each other can be imported.",
        )
    file = next(path / name for name in _WEIGHTS if (path / name).is_file())
    pretrained = described.get("encoder_weights") is not None and described.get("in_channels", 3) == 3
    intensities: Intensities = "imagenet" if pretrained else "0..1"
    return fit(read_weights(file), name, str(described["encoder_name"]), options, intensities=intensities)


def _describe(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError("it is too long")
        described = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(described, dict):
            raise TypeError("it holds no arguments")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{path} is no configuration of smp, or is damaged: {error}.") from error
    return described


def _options(name: str, described: dict[str, Any]) -> Options:
    """Return our options for the arguments of smp's class; raises `ModelFileError` for those that ours can't have."""
    model = OPTIONS[name]
    signature = inspect.signature(getattr(import_smp(), model.kind).__init__).parameters
    defaults = {key: p.default for key, p in signature.items() if p.default is not inspect.Parameter.empty}
    asked = {**defaults, **{key: value for key, value in described.items() if not key.startswith("_")}}
    options = {}
    for option in model.model_fields:
        value = next(asked[source] for source in _SOURCES[option] if source in asked)
        options[option] = value[0] if isinstance(value, list | tuple) else value
    keywords = {**defaults, **validated(model, options).keywords()}
    for key, value in asked.items():
        if key not in _ELSEWHERE and _plain(value) != _plain(keywords.get(key)):
            raise ModelFileError(
                f"It was made with {key} = {value!r}, but {name} has {keywords.get(key)!r} here.",
                "It can't be imported.",
            )
    return options


def _plain(value: Any) -> Any:
    """Return a value as it can be compared: JSON knows no tuples, and smp once said True for batch normalization."""
    if isinstance(value, list):
        return tuple(value)
    return "batchnorm" if value is True else value
