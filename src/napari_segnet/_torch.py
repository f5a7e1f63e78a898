"""Import of libraries that stumble over a common installation: torchvision beside a CPU-only torch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch

from napari_segnet.errors import SegNetError

# A torch.library.Library takes its declarations back when it is deleted.
_declared: list[torch.library.Library] = []
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_smp() -> Any:
    """Import segmentation_models_pytorch, also where torchvision's operators can't load.

    Returns
    -------
    module

    Raises
    ------
    SegNetError
        If it is missing, or can't be imported beside the installed torch.
    """
    prepare_torchvision()
    try:
        return importlib.import_module("segmentation_models_pytorch")
    except (ImportError, RuntimeError, OSError) as error:
        raise SegNetError(
            f"segmentation_models_pytorch can't be imported: {error}.",
            "Reinstall torch and torchvision together, from one index (see `napari-segnet doctor`).",
        ) from error


def prepare_torchvision() -> bool:
    """Make torchvision importable where its compiled operators don't fit the installed torch.

    The wheel of the package index is built for CUDA and can't load beside a CPU-only torch; its Python code
    then looks for operators that nobody declared, and the import fails. Networks don't need these operators:
    their declarations are enough.

    Returns
    -------
    bool
        True if declarations had to be added.
    """
    if _declared:
        return True
    if "torchvision" in sys.modules or _operators_load():
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        # Another package may have mended it already.
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)
    return True


def _operators_load() -> bool:
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return True
    for folder in found.submodule_search_locations:
        for path in Path(folder).glob("_C*"):
            try:
                torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
            except (OSError, RuntimeError, ImportError):
                return False
            return True
    return False
