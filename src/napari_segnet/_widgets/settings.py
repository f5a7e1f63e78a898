"""What the viewer's user has chosen about learning and predicting, and the configuration that it makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_segnet.config import DataConfig, PresetName, RunConfig, merge, validated
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.request import with_network


@dataclass(frozen=True)
class Advanced:
    """One folded choice of the train section.

    `key` is its place in `RunConfig`; `kind` is int, float, bool, text or choice.
    """

    key: str
    title: str
    kind: str
    tip: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()


ADVANCED: tuple[Advanced, ...] = (
    Advanced(
        "model.network",
        "Network",
        "choice",
        "Which network learns. plain-unet learns fastest from few strokes; unet stands on a pretrained encoder.",
        choices=tuple(NETWORKS),
    ),
    Advanced(
        "model.encoder",
        "Encoder",
        "text",
        "Encoder of the network unet, such as resnet18 or tu-convnext_tiny.",
    ),
    Advanced(
        "model.weights",
        "Encoder weights",
        "choice",
        "imagenet: an encoder that knows photographs already, fetched once from its hub. For the network unet.",
        choices=("none", "imagenet"),
    ),
    Advanced(
        "model.options.width",
        "Width",
        "int",
        "Channels of plain-unet at full resolution. More see finer differences, and are slower.",
        4,
        256,
    ),
    Advanced("model.options.depth", "Depth", "int", "Levels of plain-unet. More see farther.", 1, 6),
    Advanced(
        "train.epochs",
        "Epochs",
        "int",
        "Most epochs; it stops earlier when the minutes are over.",
        1,
        1_000_000,
    ),
    Advanced(
        "train.steps_per_epoch",
        "Steps an epoch",
        "int",
        "Steps between two looks at the validation.",
        1,
        100_000,
    ),
    Advanced("train.batch_size", "Batch size", "int", "Patches in one step. Fewer need less memory.", 1, 4096),
    Advanced(
        "train.patch_size",
        "Patch size",
        "int",
        "Side of a patch in pixels. Larger ones see more around.",
        16,
        4096,
    ),
    Advanced(
        "train.learning_rate",
        "Learning rate",
        "float",
        "Size of the steps. Smaller is slower and steadier.",
        1e-6,
        1,
    ),
    Advanced("train.loss", "Loss", "choice", "What is made small.", choices=("dice+ce", "ce", "dice")),
    Advanced("train.ema", "Averaging", "float", "How slowly the averaged weights follow; 0: not at all.", 0, 0.9999),
    Advanced(
        "data.val_fraction",
        "Validation share",
        "float",
        "Part of the annotation kept to measure Dice on.",
        0,
        0.9,
    ),
    Advanced(
        "train.patience",
        "Patience",
        "int",
        "Epochs without a better validation Dice before it stops.",
        1,
        10_000,
    ),
    Advanced(
        "train.forest_guide",
        "Forest guide",
        "bool",
        "With sparse strokes, start from the answer of a random forest.",
    ),
    Advanced("train.augment.rotation", "Rotation", "float", "Largest random rotation of patches, degrees.", 0, 180),
    Advanced("train.augment.scale", "Scaling", "float", "Largest relative random change of size.", 0, 0.5),
    Advanced(
        "train.device",
        "Device",
        "choice",
        "Where it computes: auto takes a GPU where there is one.",
        choices=("auto", "cpu", "cuda", "mps"),
    ),
    Advanced("train.seed", "Seed", "int", "The same seed on the same CPU gives the same model.", 0, 2**31 - 1),
)


@dataclass
class Settings:
    """Choices of the train and predict sections. `advanced` holds only what was changed from the preset."""

    preset: PresetName = "fast"
    minutes: float | None = None
    advanced: dict[str, Any] = field(default_factory=dict)
    start_from: Path | None = None
    preview_seconds: float = 3.0
    model: Path | None = None
    all_pairs: bool = False
    tta: bool = False
    uncertainty: bool = True
    probabilities: bool = True
    instances: bool = False
    predict_when_finished: bool = True

    def changes(self) -> dict[str, Any]:
        """Return what was changed from the preset, as a nested dictionary in the shape of `RunConfig`."""
        tree: dict[str, Any] = {"train": {"preset": self.preset, "preview_seconds": self.preview_seconds}}
        if self.minutes is not None:
            tree["train"]["minutes"] = self.minutes
        for key, value in self.advanced.items():
            *path, last = key.split(".")
            leaf: dict[str, Any] = {last: value}
            for part in reversed(path):
                leaf = {part: leaf}
            tree = merge(tree, leaf)
        if "model" in tree:
            tree["model"] = with_network(tree["model"])
        if self.start_from is not None:
            tree = merge(tree, {"model": {"weights": str(self.start_from)}})
        return tree

    def run_config(self, data: DataConfig) -> RunConfig:
        """Return the configuration of a run; raises `ConfigError` for values that can't be."""
        tree = merge({"data": data.model_dump()}, self.changes())
        return validated(RunConfig, tree)

    def predict_config(self) -> dict[str, Any]:
        """Return the changed fields of `PredictConfig`."""
        return {"tta": self.tta, "device": self.advanced.get("train.device", "auto")}
