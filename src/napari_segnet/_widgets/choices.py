"""The folded choices of the train section: a row a field of the configuration, made from what the field says of itself.

A field that `TrainConfig` or `AugmentConfig` gets shows up here, and so does an entry of the registries.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from napari_segnet.config import AugmentConfig, DataConfig, ModelConfig, PatchSize, TrainConfig
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.training.loss_catalogue import LOSSES
from napari_segnet.training.optimizers import OPTIMIZERS
from napari_segnet.training.schedule import SCHEDULES

Kind = Literal["int", "float", "text", "choice", "patch", "options", "value"]
GROUPS = ("Network", "Learning", "Images", "Augmentation")


@dataclass(frozen=True)
class Item:
    """Something to choose; without a `value` it is the heading of those below it."""

    text: str
    value: str | bool | None = None
    tip: str = ""


@dataclass(frozen=True)
class Advanced:
    """One row.

    `key` is its place in `RunConfig`. `low` and `high` are the limits of numbers, which may be reached unless
    `above` or `below` is true.
    """

    key: str
    title: str
    kind: Kind
    tip: str
    group: str
    low: float = float("-inf")
    high: float = float("inf")
    above: bool = False
    below: bool = False
    items: tuple[Item, ...] = ()


ENCODERS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "se_resnet50", "se_resnext50_32x4d"),
    *("densenet121", "densenet169", "vgg11_bn", "vgg16", "vgg16_bn", "vgg19_bn", "inceptionv4", "inceptionresnetv2"),
    *("xception", "mobilenet_v2", "dpn68", "efficientnet-b0", "efficientnet-b1", "efficientnet-b2", "efficientnet-b3"),
    *("efficientnet-b4", "timm-efficientnet-b0", "timm-efficientnet-b3", "mit_b0", "mit_b1", "mit_b2", "mit_b3"),
    *("mobileone_s0", "mobileone_s2", "tu-convnext_tiny", "tu-convnext_small", "tu-convnextv2_tiny", "tu-resnet50d"),
    *("tu-mobilenetv3_small_100", "tu-mobilenetv3_large_100", "tu-efficientnetv2_rw_s", "tu-regnety_016"),
    *("tu-hrnet_w18", "tu-maxvit_tiny_tf_224", "tu-swin_tiny_patch4_window7_224", "tu-tf_efficientnetv2_s"),
)
"""Encoders that are proposed while one is typed; any other name of smp, or ``tu-`` and any of timm, can be typed."""

_YES_NO = (Item("yes", True), Item("no", False))
_PLANES = tuple(
    Item(spec.name, spec.name, f"{spec.idea} {spec.when}") for spec in NETWORKS.values() if spec.axes == "YX"
)
_VOLUMES = tuple(
    Item(spec.name, spec.name, f"{spec.idea} {spec.when}") for spec in NETWORKS.values() if spec.axes == "ZYX"
)


def _entries(registry: Mapping[str, Any]) -> tuple[Item, ...]:
    return tuple(Item(entry.name, entry.name, f"{entry.idea} ({entry.paper})") for entry in registry.values())


_ITEMS: dict[str, tuple[Item, ...]] = {
    "model.network": (Item("for planes"), *_PLANES, Item("for volumes"), *_VOLUMES),
    "model.weights": (Item("none", "none"), Item("imagenet", "imagenet")),
    "train.loss": _entries(LOSSES),
    "train.optimizer": _entries(OPTIMIZERS),
    "train.schedule": _entries(SCHEDULES),
    "train.device": tuple(Item(name, name) for name in ("auto", "cpu", "cuda", "mps")),
}
_TITLES = {
    "model.weights": "Encoder weights",
    "model.norm": "Normalization layers",
    "model.options": "Network options",
    "train.steps_per_epoch": "Steps an epoch",
    "train.accumulate": "Batches in a step",
    "train.ema": "Averaging decay",
    "train.balanced": "Balanced share",
    "train.repeat_worst": "Repeated share",
    "train.encoder_rate": "Rate of the encoder",
    "train.freeze_encoder": "Frozen encoder",
    "train.swa_start": "Start of SWA",
    "train.augment.scale": "Scaling",
    "train.augment.clahe": "CLAHE",
    "data.val_fraction": "Validation share",
}
_TIPS = {
    "model.weights": "imagenet: an encoder that knows photographs already, fetched once from its hub.",
    "train.epochs": "Most epochs; it stops earlier when the minutes are over.",
}
"""Where the field says more, or less, than its control can."""
_OF_IMAGES = ("normalization", "window", "pixel_size", "zoom")
_ELSEWHERE = {"train.preset", "train.minutes", "train.preview_seconds", "train.augment"}
"""Fields with a control of their own, in the dock or the preferences."""


def _rows() -> tuple[Advanced, ...]:
    fields = [
        *((f"model.{name}", info, "Network") for name, info in ModelConfig.model_fields.items()),
        *((f"train.{name}", info, "Learning") for name, info in TrainConfig.model_fields.items()),
        ("data.val_fraction", DataConfig.model_fields["val_fraction"], "Learning"),
        *((f"data.{name}", DataConfig.model_fields[name], "Images") for name in _OF_IMAGES),
        *((f"train.augment.{name}", info, "Augmentation") for name, info in AugmentConfig.model_fields.items()),
    ]
    return tuple(row_of(key, info, group) for key, info, group in fields if key not in _ELSEWHERE)


def row_of(key: str, info: FieldInfo, group: str = "") -> Advanced:
    """Return the row that shows a field of any configuration; its title is the last part of the key."""
    title = _TITLES.get(key) or key.rpartition(".")[2].replace("_", " ").capitalize()
    kind, items = _kind(info.annotation)
    if key in _ITEMS:
        kind, items = "choice", _ITEMS[key]
    limits = {name: value for part in info.metadata for name, value in _limits_of(part).items()}
    return Advanced(
        key,
        title,
        kind,
        _TIPS.get(key) or info.description or f"{title}.",
        group,
        low=limits.get("ge", limits.get("gt", float("-inf"))),
        high=limits.get("le", limits.get("lt", float("inf"))),
        above="gt" in limits,
        below="lt" in limits,
        items=items,
    )


def _limits_of(limit: Any) -> dict[str, float]:
    """Return what a limit of a field says, such as ``{"ge": 1}``."""
    return {name: getattr(limit, name) for name in ("ge", "gt", "le", "lt") if hasattr(limit, name)}


def _kind(annotation: Any) -> tuple[Kind, tuple[Item, ...]]:
    """Return how a field is shown, and what there is to choose."""
    if annotation == PatchSize:
        return "patch", ()
    if get_origin(annotation) in (Union, types.UnionType):
        # None stands for "as the preset chooses", as the empty field does.
        first, *others = (part for part in get_args(annotation) if part is not type(None))
        if first is bool and others:
            return "choice", (*_YES_NO, *_named(others[0]))
        if others:
            return "value", ()  # numbers or names
        annotation = first
    if annotation is bool:
        return "choice", _YES_NO
    if get_origin(annotation) is Literal:
        return "choice", _named(annotation)
    if get_origin(annotation) is dict:
        return "options", ()
    kinds: dict[Any, Kind] = {int: "int", float: "float"}
    return kinds.get(annotation, "text"), ()


def _named(literal: Any) -> tuple[Item, ...]:
    return tuple(Item(name, name) for name in get_args(literal))


ADVANCED: tuple[Advanced, ...] = _rows()
