"""What people ask for, at the shell or from Python, as a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from napari_segnet.config import RunConfig, apply_settings, merge, put_setting, read_config_file, validated
from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import network_spec

AUTO = "auto"
"""The name that leaves the choice of the network to the preset."""
_PLACES = {
    "unlabelled": "data",
    "task": "data",
    "axes": "data",
    "val_fraction": "data",
    "folds": "data",
    "network": "model",
    "encoder": "model",
    "weights": "model",
    "preset": "train",
    "loss": "train",
    "optimizer": "train",
    "schedule": "train",
    "epochs": "train",
    "minutes": "train",
    "device": "train",
    "seed": "train",
}


def build_config(
    options: Mapping[str, Any], settings: Iterable[str] = (), config_file: Path | None = None
) -> RunConfig:
    """Make a configuration: a file first, options over it, ``KEY=VALUE`` settings over both.

    Parameters
    ----------
    options : mapping
        Names as in ``napari-segnet train --help`` without dashes; None stands for "not said".
    settings : iterable of str
        Such as ``"train.batch_size=4"``.
    config_file : Path, optional
        A YAML file with sections data, model and train, or a run's ``config.json``.

    Returns
    -------
    RunConfig
        Only what was said is set; the preset chooses the rest when the run starts.

    Raises
    ------
    ConfigError
        For names and values that can't be.
    """
    tree: dict[str, Any] = {}
    if config_file is not None:
        try:
            tree = read_config_file(config_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The configuration {config_file} can't be read: {error}.") from error
    said: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if value is not None:
            said.setdefault(_PLACES[name], {})[name] = value
    config = apply_settings(validated(RunConfig, merge(tree, said)), settings)
    asked = with_network(config.model.explicit())
    if str(asked.get("network", "")).lower() == AUTO:
        # Nothing said: then the preset chooses when it has seen the data.
        del asked["network"]
        config = RunConfig.model_validate({**config.explicit(), "model": asked})
    if "network" in asked:
        spec = network_spec(asked["network"])
        config = config.replace(model={**asked, "network": spec.name})
        _check_encoder(config, spec.encoders)
    return config


def with_network(model: dict[str, Any]) -> dict[str, Any]:
    """Return settings of the section model with a network, where an encoder or its weights alone were asked for."""
    # An encoder can only be meant for a network that has one.
    meant = model.get("encoder") or model.get("weights") == "imagenet"
    open_ = str(model.get("network", AUTO)).lower() == AUTO
    return {**model, "network": "unet"} if meant and open_ else model


def _check_encoder(config: RunConfig, encoders: bool) -> None:
    model = config.model
    if not encoders and (model.encoder or model.weights == "imagenet"):
        what = f"encoder {model.encoder!r}" if model.encoder else "pretrained encoder weights"
        raise ConfigError(
            f"The network {model.network!r} has no encoder to choose, but {what} was asked for.",
            "Use --network unet.",
        )


def read_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` settings without sections, such as ``tile=512``."""
    tree: dict[str, Any] = {}
    for setting in settings:
        put_setting(tree, setting)
    return tree
