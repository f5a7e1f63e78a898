"""``torch.export``: a ``.pt2`` file, PyTorch's successor to TorchScript."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_segnet.errors import ModelFileError
from napari_segnet.export.exported_program import program_of, quiet
from napari_segnet.export.parity import Run

WHAT = "A torch.export file"
REMEDY = "Export it as torchscript instead."


def save(network: nn.Module, example: Tensor, path: Path, about: dict[str, Any]) -> None:
    """Write a ``.pt2`` file; parameters as those of `napari_segnet.export.onnx_file.save`.

    `about` becomes extra files inside, a JSON text each.

    Raises
    ------
    ModelFileError
        If the network can't be written as one graph.
    """
    program = program_of(network, example, WHAT, REMEDY)
    try:
        with quiet():
            extra = {f"{key}.json": json.dumps(value) for key, value in about.items()}
            torch.export.save(program, path, extra_files=extra)
    except Exception as error:  # the exporter raises whatever it stumbles over
        raise ModelFileError(f"{WHAT} can't be made of this network.", REMEDY) from error


def runner(path: Path) -> Run:
    """Return what runs a ``.pt2`` file, on the CPU."""
    with quiet():
        module = torch.export.load(path).module()

    def run(image: NDArray[np.float32]) -> NDArray[Any]:
        with quiet(), torch.no_grad():
            return np.asarray(module(torch.from_numpy(image)).numpy())

    return run
