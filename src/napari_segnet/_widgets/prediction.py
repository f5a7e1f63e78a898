"""The prediction that is going on: where its answers go, how far it is, and what is said when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_segnet import events
from napari_segnet._widgets.data_choice import LayerPair
from napari_segnet._widgets.labelling import FilePair
from napari_segnet._widgets.settings import Settings


@dataclass
class Prediction:
    """One job of the worker.

    `out` is a folder of the user's (`keeps` is true), or one that goes when its answers are in the layers. `after`
    is what was said of the training that it follows, `wanted` the pairs, or the files, that are predicted. `told` is
    what the worker was told.
    """

    out: Path
    total: int
    keeps: bool = False
    after: str = ""
    wanted: Sequence[LayerPair | FilePair | Path] = ()
    told: dict[str, Any] = field(default_factory=dict)
    done: int = 0
    begun: set[str] = field(default_factory=set)

    def command(self, model: Path, inputs: Sequence[Any], settings: Settings, instances: bool) -> dict[str, Any]:
        """Return what the worker is told."""
        self.told = {
            "command": "predict-files" if self.keeps else "predict",
            "model": str(model),
            "inputs": list(inputs),
            "out": str(self.out),
            "probabilities": settings.probabilities,
            "uncertainty": settings.uncertainty,
            "instances": instances,
            "config": settings.predict_config(),
        }
        return self.told

    def progress(self, event: events.Progress) -> str:
        """Say how far it is."""
        self.begun.add(event.task)
        share = f"{100 * event.done // max(event.total, 1)} %"
        if not self.keeps:
            return f"Predicting ... {share}"
        return f"Predicting {len(self.begun)} of {self.total}: {Path(event.task).name} ... {share}"

    def end(self, reason: str) -> str:
        """Say how it ended; `reason` is that of `Finished`."""
        if self.keeps:
            of = "" if self.done == self.total else f" of {self.total}"
            words = f"{self.done}{of} image{'s' if self.total != 1 else ''} predicted in {self.out}."
            words = f"Stopped: {words}" if reason == "stopped" else words
        else:
            words = "Stopped." if reason == "stopped" else "The prediction is in the layers."
            if self.after and reason != "stopped":
                words = f"{words} Paint where it is wrong, then press Improve."
        return f"{self.after} {words}".strip()

    def rest(self) -> str:
        """Say after an error what there is all the same; nothing where nothing is."""
        return f"What is done lies in {self.out}." if self.keeps and self.done else ""
