"""Bundles of MONAI: a folder of JSON that describes a network, and its weights.

The bundle's JSON may hold expressions to be executed and names of any class. None of that is done: the arguments of
``network_def`` are read as plain values, and only for networks that we have. MONAI's class is built with them, ours
with the options that they speak of, and both have to print the same layers. MONAI's axes are X, Y, Z, ours Z, Y, X:
kernels are turned round. What a bundle does with images before and behind the network is not taken over.
"""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from napari_segnet.errors import ConfigError, ModelFileError, SegNetError
from napari_segnet.importers import ImportConfig
from napari_segnet.importers.found import Found
from napari_segnet.importers.state import read_weights, without_prefix
from napari_segnet.models.registry import build_network

Options = dict[str, int | float | bool | str]
_CONFIGS = ("inference.json", "inference.yaml", "inference.yml", "train.json", "train.yaml", "train.yml")
_WEIGHTS = Path("models", "model.pt")
_MOST_TEXT, _MOST_NUMBER, _MOST_ITEMS = 5_000_000, 4096, 16
_ALONG_AXES = ("strides", "kernel_size", "upsample_kernel_size")
"""Arguments that hold a number for each axis, in the order X, Y, Z."""
_TRAINING_ONLY = ("deep_supervision_heads.", "skip_layers.")


@dataclass(frozen=True)
class Target:
    """Which of our networks a class of MONAI is, and which options its arguments speak of."""

    network: str
    options: Callable[[Mapping[str, Any]], Options]


def _basic_unet(asked: Mapping[str, Any]) -> Options:
    return {"width": asked["features"][0], "dropout": asked["dropout"]}


def _vnet(asked: Mapping[str, Any]) -> Options:
    return {"dropout": asked["dropout_prob_down"] or 0.0}


def _attention_unet(asked: Mapping[str, Any]) -> Options:
    channels = asked["channels"]
    return {
        "width": channels[0],
        "depth": len(channels) - 1,
        "flat_levels": _flat(asked["strides"]),
        "dropout": asked["dropout"],
    }


def _segresnet(asked: Mapping[str, Any]) -> Options:
    return {"width": asked["init_filters"], "dropout": asked["dropout_prob"] or 0.0}


def _dynunet(asked: Mapping[str, Any]) -> Options:
    width = asked["filters"][0] if asked["filters"] else 32
    strides = asked["strides"]
    return {
        "width": width,
        "depth": len(strides) - 1,
        "flat_levels": _flat(strides[1:]),
        "residual": asked["res_block"],
    }


def _flat(strides: list[Any]) -> int:
    return sum(not isinstance(step, int) and step[0] == 1 for step in strides)


TARGETS: dict[str, Target] = {
    "BasicUNet": Target("unet3d", _basic_unet),
    "VNet": Target("vnet", _vnet),
    "AttentionUnet": Target("attention-unet3d", _attention_unet),
    "SegResNet": Target("segresnet", _segresnet),
    "DynUNet": Target("dynunet", _dynunet),
}


def recognizes(path: Path) -> bool:
    """Say whether a folder is a bundle."""
    return (path / "configs").is_dir() and (path / _WEIGHTS).is_file()


def read(path: Path, config: ImportConfig) -> Found:
    """Read a bundle.

    Raises
    ------
    ModelFileError
        If it is damaged, or its network is none of ours.
    """
    settings = _settings(path / "configs")
    kind, arguments = _definition(settings)
    target = TARGETS.get(kind)
    if target is None or arguments.get("spatial_dims", 3) != 3:
        known = ", ".join(TARGETS)
        raise ModelFileError(
            f"{path} holds a {kind} for {arguments.get('spatial_dims', 3)} dimensions, which is not known here.",
            f"Of MONAI's networks these can be imported, for volumes: {known}.",
        )
    try:
        asked = _with_defaults(kind, arguments)
        channels, outputs = int(asked["in_channels"]), int(asked["out_channels"])
        options = {**target.options(asked), **config.options}
        built = {**arguments, "out_channels": max(outputs, 2)}  # as ours, for one class and the background
        if kind == "DynUNet":
            built["deep_supervision"] = False  # heads for training only
        with torch.device("meta"):
            theirs = _monai(kind)(**built)
            ours = build_network(target.network, channels=channels, outputs=max(outputs, 2), options=options)
    except ConfigError as error:
        raise ModelFileError(f"{path} asks for a network that can't be built. {error}") from error
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(f"{path} describes a {kind} that MONAI can't build: {error}.") from error
    _compare(theirs, ours, target.network)
    _check_classes(path, settings, outputs)
    found, left = without_prefix(read_weights(path / _WEIGHTS), ours.state_dict())
    strange = [name for name in left if not name.startswith(_TRAINING_ONLY)]
    if strange:
        raise ModelFileError(f"{path / _WEIGHTS} holds weights that a {kind} doesn't have, such as {strange[0]!r}.")
    names = _names(path / "configs" / "metadata.json", outputs)
    return Found(
        network=target.network,
        channels=channels,
        options=options,
        weights={name: _turned(value) for name, value in found.items()},
        intensities="raw",
        side=_patch(settings),
        classes=names,
        notes=(_preparation(settings),),
        versions={"monai": str(_json(path / "configs" / "metadata.json").get("monai_version", "unknown"))},
    )


def _settings(folder: Path) -> dict[str, Any]:
    path = next((folder / name for name in _CONFIGS if (folder / name).is_file()), None)
    if path is None:
        raise ModelFileError(f"{folder} holds none of {', '.join(_CONFIGS)}.", "Name the folder of a MONAI bundle.")
    return _json(path)


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_TEXT:
            raise ValueError("it is too long")
        text = path.read_text(encoding="utf-8")
        tree = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        if not isinstance(tree, dict):
            raise TypeError("it holds no settings")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise ModelFileError(f"{path} is no configuration of MONAI, or is damaged: {error}.") from error
    return tree


def _definition(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    for key in ("network_def", "network"):
        found = settings.get(key)
        if isinstance(found, dict) and isinstance(found.get("_target_"), str):
            arguments = {k: _plain(k, v, settings) for k, v in found.items() if not k.startswith("_")}
            turned = {k: [_reversed(item) for item in v] for k, v in arguments.items() if k in _ALONG_AXES}
            return str(found["_target_"]).split(".")[-1], {**arguments, **turned}
    raise ModelFileError("The bundle's configuration doesn't say which network it is (network_def).")


def _plain(name: str, value: Any, settings: Mapping[str, Any]) -> Any:
    """Return an argument that is a plain value, or a reference to one; nothing is executed."""
    if isinstance(value, str) and value.startswith("@") and not isinstance(settings.get(value[1:]), dict):
        value = settings.get(value[1:], value)
    if isinstance(value, list) and len(value) <= _MOST_ITEMS:
        return [_plain(name, item, settings) for item in value]
    if isinstance(value, dict) and len(value) <= _MOST_ITEMS and "_target_" not in value:
        return {key: _plain(name, item, settings) for key, item in value.items()}
    small = isinstance(value, int | float) and abs(value) <= _MOST_NUMBER
    if value is None or small or (isinstance(value, str) and not value.startswith(("$", "@", "%"))):
        return value
    raise ModelFileError(
        f"The bundle's network has {name} = {str(value)[:80]!r}, which would have to be computed.",
        "Write the value itself into network_def, and try again.",
    )


def _reversed(item: Any) -> Any:
    return item[::-1] if isinstance(item, list) else item


def _monai(kind: str) -> Any:
    try:
        from monai.networks import nets
    except ImportError as error:
        raise SegNetError("MONAI is not installed, and its networks are needed here.", "pip install monai") from error
    return getattr(nets, kind)


def _with_defaults(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(_monai(kind)).bind(**arguments)
    bound.apply_defaults()
    return dict(bound.arguments)


def _compare(theirs: nn.Module, ours: nn.Module, name: str) -> None:
    """Refuse a network whose layers aren't ours, one by one, with all their settings."""
    for there, here in itertools.zip_longest(_layers(theirs), _layers(ours), fillvalue="nothing more"):
        if there != here:
            raise ModelFileError(
                f"The bundle's network has {there} where {name} has {here} here.", "It can't be imported."
            )


def _layers(network: nn.Module) -> Iterator[str]:
    """Describe each module; one of ours that refines one of torch or MONAI is called as that one."""
    for name, module in network.named_modules():
        if not name.startswith(_TRAINING_ONLY) and f"{name}." not in _TRAINING_ONLY:
            known = (c.__name__ for c in type(module).__mro__ if c.__module__.startswith(("torch.", "monai.")))
            yield f"{name}: {next(known)}({module.extra_repr()})"


def _turned(value: Tensor) -> Tensor:
    """Turn a kernel (O, I, X, Y, Z) to (O, I, Z, Y, X); leave everything else."""
    return value.permute(0, 1, 4, 3, 2).contiguous() if value.ndim == 5 else value


def _check_classes(path: Path, settings: Mapping[str, Any], outputs: int) -> None:
    for transform in _transforms(settings, "postprocessing"):
        if outputs > 1 and transform.get("_target_") == "Activationsd" and transform.get("sigmoid"):
            raise ModelFileError(
                f"{path} has {outputs} outputs with a sigmoid each, so its classes may overlap.",
                "Only classes that exclude each other can be imported.",
            )


def _transforms(settings: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = settings.get(key)
    listed = found.get("transforms") if isinstance(found, dict) else None
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _preparation(settings: Mapping[str, Any]) -> str:
    named = [str(t.get("_target_")) for t in _transforms(settings, "preprocessing")]
    steps = f" ({', '.join(named)})" if named else ""
    return f"What the bundle does with an image before the network{steps} is not taken over: do it before."


def _patch(settings: Mapping[str, Any]) -> tuple[int, int, int] | None:
    inferer = settings.get("inferer")
    sides = inferer.get("roi_size") if isinstance(inferer, dict) else None
    if isinstance(sides, list) and len(sides) == 3 and all(isinstance(s, int) and 1 <= s <= 1024 for s in sides):
        return sides[2], sides[1], sides[0]
    return None


def _names(metadata: Path, outputs: int) -> tuple[str, ...]:
    """Return the names of the outputs, if the bundle's metadata name them all."""
    tree: Any = _json(metadata)
    for key in ("network_data_format", "outputs", "pred", "channel_def"):
        tree = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(tree, dict):
        return ()
    names = [str(tree.get(str(n), "")).strip()[:80] for n in range(outputs)]
    return tuple(names) if all(names) else ()
