"""The graph of a network for images of any size, which both ONNX and ``.pt2`` are written from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from napari_segnet.errors import ModelFileError

_TALKATIVE = (
    "torch.__trace",
    "torch.onnx",
    "torch.export",
    "torch.fx.experimental.symbolic_shapes",
    "onnxscript",
    "onnx_ir",
)


def program_of(network: nn.Module, example: Tensor, what: str, remedy: str) -> Any:
    """Return the `torch.export.ExportedProgram` of a network, whose batch and sides may vary.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    example : (B, C, [Z], Y, X) float32
        Two images or more, of sides that differ from each other: what is one or the same could be taken for fixed.
    what : str
        What is made, for the error.
    remedy : str
        What to do if it fails.

    Raises
    ------
    ModelFileError
        If what the network does depends on the size of the image in a way that a graph can't hold.
    """
    any_length = getattr(torch.export.Dim, "DYNAMIC", None)
    if any_length is None:
        raise ModelFileError(
            f"{what} of images of any size needs PyTorch 2.6, but {torch.__version__} is installed.",
            f"Update torch. Or: {remedy}",
        )
    sizes = {axis: any_length for axis in range(example.ndim) if axis != 1}
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(network, (example,), dynamic_shapes=(sizes,), strict=False)
    except Exception as error:  # the exporter raises whatever it stumbles over
        raise ModelFileError(f"{what} can't be made of this network for images of any size.", remedy) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters from telling of their inner life; errors still are raised."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
