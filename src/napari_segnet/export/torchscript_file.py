"""TorchScript: a traced network that PyTorch runs without Python classes, from C++ too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_segnet.errors import ModelFileError
from napari_segnet.export.exported_program import quiet
from napari_segnet.export.parity import Run

WHAT = "A TorchScript file"
REMEDY = "Keep the model file: napari-segnet predicts with it, also from Python."


def save(network: nn.Module, example: Tensor, path: Path, about: dict[str, Any]) -> None:
    """Write a TorchScript file; parameters as those of `napari_segnet.export.onnx_file.save`.

    `about` becomes extra files inside, a JSON text each.

    Raises
    ------
    ModelFileError
        If the network can't be traced.
    """
    try:
        with quiet(), torch.no_grad():
            # What a trace depends on is found by running it on other sizes.
            traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            extra = {f"{key}.json": json.dumps(value) for key, value in about.items()}
            torch.jit.save(traced, path, _extra_files=extra)
    except Exception as error:  # the tracer raises whatever it stumbles over
        raise ModelFileError(f"{WHAT} can't be made of this network.", REMEDY) from error


def runner(path: Path) -> Run:
    """Return what runs a TorchScript file, on the CPU."""
    with quiet():
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    def run(image: NDArray[np.float32]) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(image)).numpy())

    return run
