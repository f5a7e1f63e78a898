"""What the viewer's user has chosen about learning and predicting, and the configuration that it makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_segnet.config import DataConfig, PresetName, RunConfig, merge, validated
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.request import with_network


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

    @property
    def spatial(self) -> str:
        """What the chosen network sees at once: ``"YX"``, a plane, or ``"ZYX"``, a volume."""
        spec = NETWORKS.get(str(self.advanced.get("model.network", "")).lower())
        return spec.axes if spec is not None else "YX"

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
        tree = merge({"data": data.explicit()}, self.changes())
        return validated(RunConfig, tree)

    def predict_config(self) -> dict[str, Any]:
        """Return the changed fields of `PredictConfig`."""
        return {"tta": self.tta, "device": self.advanced.get("train.device", "auto")}
