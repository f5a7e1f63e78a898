"""napari-segnet: paint a few strokes, train a U-Net, get segmentation layers back.

``train``, ``load``, ``evaluate`` and the others are imported at their first use: importing this package, as napari
does, must cost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_segnet.annotations.convert import import_annotations
    from napari_segnet.api import Model, Result, ensemble, load, pseudo_label, train
    from napari_segnet.datasets import check, prepare
    from napari_segnet.errors import SegNetError
    from napari_segnet.evaluation import evaluate
    from napari_segnet.measure import cover_fractions, cut_out, measure_objects

__version__ = "0.1.0"
__all__ = [
    "Model",
    "Result",
    "SegNetError",
    "__version__",
    "check",
    "cover_fractions",
    "cut_out",
    "ensemble",
    "evaluate",
    "import_annotations",
    "load",
    "measure_objects",
    "prepare",
    "pseudo_label",
    "train",
]

_HOMES = {
    "Model": "api",
    "Result": "api",
    "ensemble": "api",
    "pseudo_label": "api",
    "load": "api",
    "train": "api",
    "SegNetError": "errors",
    "evaluate": "evaluation",
    "import_annotations": "annotations.convert",
    "check": "datasets",
    "prepare": "datasets",
    "measure_objects": "measure",
    "cover_fractions": "measure",
    "cut_out": "measure",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
