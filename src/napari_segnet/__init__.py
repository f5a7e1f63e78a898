"""napari-segnet: paint a few strokes, train a U-Net, get segmentation layers back.

``train``, ``load``, ``evaluate`` and ``Model`` are imported at their first use: importing this package, as napari
does, must cost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_segnet.api import Model, Result, ensemble, load, pseudo_label, train
    from napari_segnet.errors import SegNetError
    from napari_segnet.evaluation import evaluate

__version__ = "0.1.0"
__all__ = ["Model", "Result", "SegNetError", "__version__", "ensemble", "evaluate", "load", "pseudo_label", "train"]

_HOMES = {
    "Model": "api",
    "Result": "api",
    "ensemble": "api",
    "pseudo_label": "api",
    "load": "api",
    "train": "api",
    "SegNetError": "errors",
    "evaluate": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
