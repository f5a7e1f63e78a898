"""ONNX: a graph that onnxruntime, and many other programs and languages, can run."""

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
from napari_segnet.export.libraries import import_extra
from napari_segnet.export.parity import Run
from napari_segnet.models.foreign import open_session

OPSET = 18
"""Version of ONNX's operators: the least that torch's exporter writes without converting."""
WHAT = "An ONNX file"
REMEDY = "Export it as torchscript instead."
_MOST_BYTES = 2**31 - 2**24
"""A protobuf, which an ONNX file is, holds at most 2 GiB."""


def save(network: nn.Module, example: Tensor, path: Path, about: dict[str, Any]) -> None:
    """Write an ONNX file whose batch and sides may vary.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (B, C, [Z], Y, X) to probabilities (B, K, [Z], Y, X).
    example : (B, C, [Z], Y, X) float32
        As for `program_of`.
    path : Path
    about : dict
        Becomes the file's metadata, a JSON text a key.

    Raises
    ------
    SegNetError
        If ``onnx`` or ``onnxscript`` is missing.
    ModelFileError
        If the network can't be written as ONNX.
    """
    for library in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(library)
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    if weights > _MOST_BYTES:
        raise ModelFileError(f"{WHAT} holds at most 2 GiB, but this model has {weights / 2**30:.1f} GiB.", REMEDY)
    program = program_of(network, example, WHAT, REMEDY)
    try:
        with quiet(), torch.no_grad():
            made = torch.onnx.export(
                program,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["probabilities"],
                custom_translation_table=_translations(),
            )
            assert made is not None
            made.model.metadata_props.update({key: json.dumps(value) for key, value in about.items()})
            made.save(str(path), external_data=False)
    except Exception as error:  # the exporter raises whatever it stumbles over
        raise ModelFileError(f"{WHAT} can't be made of this network.", REMEDY) from error


def _translations() -> dict[Any, Any]:
    """Return how arithmetic with a side of the image is written, which the exporter only knows with plain numbers."""
    op = import_extra("onnxscript").opset18

    def remainder(self: Any, other: Any) -> Any:
        return op.Mod(self, op.CastLike(other, self))

    def product(self: Any, other: Any) -> Any:
        return op.Mul(self, op.CastLike(other, self))

    def quotient(self: Any, other: Any) -> Any:
        return op.Div(self, op.CastLike(other, self))

    aten = torch.ops.aten
    return {aten.remainder.Scalar: remainder, aten.mul.Scalar: product, aten.div.Scalar: quotient}


def runner(path: Path) -> Run:
    """Return what runs an ONNX file, on the CPU."""
    session = open_session(path.read_bytes(), path.name)
    name = session.get_inputs()[0].name

    def run(image: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(session.run(None, {name: image})[0])

    return run
