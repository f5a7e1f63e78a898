"""Models on their way to other programs: ONNX, TorchScript, torch.export, packages of bioimage.io, model cards.

An exporter is one entry in `EXPORTERS` and one module with ``write(model, out, config, exporter)``. What it writes is
run by its own runtime on several sizes and compared with the model, before it gets its name. This module imports no
torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from napari_segnet.config import put_setting, validated
from napari_segnet.errors import unknown_name
from napari_segnet.models.card import About, Lines

__all__ = ["EXPORTERS", "ExportConfig", "Exporter", "Report", "export_model", "read_options"]


@dataclass(frozen=True)
class Exporter:
    """A format that models can be written in; `module` is one of this room, `suffixes` are those of its file."""

    name: str
    writes: str
    module: str
    suffixes: tuple[str, ...]

    def load(self) -> ModuleType:
        """Import the module, and torch with it."""
        return importlib.import_module(f"napari_segnet.export.{self.module}")


EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Exporter("onnx", "ONNX: for onnxruntime, in many languages", "single", (".onnx",)),
        Exporter("torchscript", "TorchScript: for PyTorch without Python classes", "single", (".pt", ".pth", ".ts")),
        Exporter("torch-export", "torch.export: TorchScript's successor", "single", (".pt2",)),
        Exporter("bioimageio", "A package of bioimage.io: a zip file, or a folder", "bioimageio_package", (".zip",)),
        Exporter("card", "The model card: a Markdown text", "card_file", (".md",)),
    )
}


_LISTS = ("authors", "cite", "tags")


class ExportConfig(About):
    """What a model file doesn't say itself."""

    test_image: Path | None = Field(
        None, description="An image for the test and the cover, which goes into the export; default: a made-up one."
    )
    tags: Lines = Field((), max_length=50, description="Words to find it by, beside those that follow from the model.")
    version: str | None = Field(None, pattern=r"^\d+\.\d+(\.\d+)?$", description="Of the model, such as 1.0.0.")


def read_options(settings: Iterable[str]) -> ExportConfig:
    """Read ``KEY=VALUE`` settings as they are typed: texts may hold colons, and a list is ``[A, B]``, or one text.

    Raises
    ------
    ConfigError
        For a key that doesn't exist, or a value that it can't take.
    """
    said: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or (key in _LISTS and text.startswith("[")):
            put_setting(said, setting)
        else:
            said[key] = text
    return validated(ExportConfig, said)


@dataclass(frozen=True)
class Report:
    """What was exported.

    Attributes
    ----------
    path : Path
    files : tuple of str
        Names of the files that were written.
    differences : dict of str to float
        Largest difference of a probability from the model's, for each kind of weights; empty for a card.
    words : tuple of str
        What was tried, and what the one who uses it has to know, a sentence each.
    """

    path: Path
    files: tuple[str, ...]
    differences: dict[str, float]
    words: tuple[str, ...]


def export_model(model: Path | str, out: Path | str, format: str, config: ExportConfig | None = None) -> Report:  # noqa: A002
    """Write a model so that other programs can use it.

    Parameters
    ----------
    model : Path or str
        A model file, a run folder, or a folder of folds.
    out : Path or str
        With the ending of the format: that file, and others beside it (a JSON, and the test image and answer). With
        ``.zip``: one zip file with all of it. Without an ending: a new folder with all of it.
    format : str
        One of `EXPORTERS`.
    config : ExportConfig, optional
        What the model file doesn't say itself.

    Returns
    -------
    Report

    Raises
    ------
    SegNetError
        If the model can't be read or written so, or what was written doesn't say what the model says. Nothing is left
        behind.
    """
    if format not in EXPORTERS:
        raise unknown_name("format", format, EXPORTERS)
    exporter = EXPORTERS[format]
    report: Report = exporter.load().write(Path(model), Path(out), config or ExportConfig(), exporter)
    return report
